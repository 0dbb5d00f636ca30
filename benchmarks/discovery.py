"""Object discovery in one thread on generated maps: seconds of each step, and the memory of the graph.

    OMP_NUM_THREADS=1 python -m benchmarks.discovery [--images 10000 --rows 24 --columns 32 --dim 128]

Every map shows one of some recurring objects, one of its own, and noise. Steps: feature saliency and regions of every
image; the graph of all regions and Katz' centrality; object saliency and regions of a sample of images.
Published, on 16 cores: 0.02 s an image for feature saliency, 0.23 s for object saliency, 36 s for INSTRE's graph.
"""

import argparse
import resource
import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from benchmarks import facts
from seekloop.contracts.discovery import RegionGraph
from seekloop.descriptors.saliency import ObjectSaliency
from seekloop.descriptors.whitening import learn_whitening
from seekloop.extraction.discover import Vertices, region_vectors
from seekloop.extraction.salient import FeatureSalient
from seekloop.graphs.affinity import Graph
from seekloop.graphs.centrality import centrality
from seekloop.regions.egm import Egm

OBJECTS = 200  # that recur


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--images", type=int, default=10_000)
    found.add_argument("--rows", type=int, default=24)
    found.add_argument("--columns", type=int, default=32)
    found.add_argument("--dim", type=int, default=128)
    found.add_argument("--sample", type=int, default=200, help="images whose object saliency is timed")
    return found


def pictures(asked: argparse.Namespace) -> Any:  # noqa: ANN401 - a function of the image's number
    """Makes the map of an image: a recurring object, one of its own, each of a few channels, and sparse noise."""
    rng = torch.Generator().manual_seed(0)
    looks = F.relu(torch.randn(OBJECTS, asked.dim, generator=rng) - 1)
    down, across = torch.meshgrid(torch.arange(asked.rows), torch.arange(asked.columns), indexing="ij")

    def made(image: int) -> Float[Tensor, "h w d"]:
        own = torch.Generator().manual_seed(image + 1)
        tokens = F.relu(torch.randn(asked.rows, asked.columns, asked.dim, generator=own) - 1.5) / 2
        alone = F.relu(torch.randn(asked.dim, generator=own) - 1)
        for look in (looks[int(torch.randint(OBJECTS, (1,), generator=own))], alone):
            middle = torch.rand(2, generator=own) * torch.tensor([asked.rows, asked.columns])
            side = 2 + 2 * torch.rand(2, generator=own)
            bump = torch.exp(-(((down - middle[0]) / side[0]) ** 2 + ((across - middle[1]) / side[1]) ** 2) / 2)
            tokens += 2 * bump[..., None] * look
        return tokens

    return made


def timed(work: Any, *given: Any) -> tuple[Any, float]:  # noqa: ANN401 - any function
    started = time.perf_counter()
    found = work(*given)
    return found, time.perf_counter() - started


def measured(asked: argparse.Namespace) -> dict[str, float]:
    """Seconds of each step, an image where it says so, and sizes."""
    made, feature, objects, mixture = pictures(asked), FeatureSalient(), ObjectSaliency(), Egm(power=2.0)
    rows, saliency, image, boxes, seconds = [], [], [], [], {"first": 0.0, "vectors": 0.0, "second": 0.0}
    rng = torch.Generator()
    for number in range(asked.images):
        tokens = made(number)
        found, spent = timed(feature, tokens, rng)
        seconds["first"] += spent / asked.images
        vectors, spent = timed(region_vectors, tokens, found.masks, objects.p)
        seconds["vectors"] += spent / asked.images
        rows.append(vectors)
        saliency.append(found.score)
        boxes.append(found.boxes)
        image.append(torch.full((len(vectors),), number))
    every = Vertices(torch.cat(rows), torch.cat(saliency), torch.cat(image), torch.cat(boxes))
    unit = F.normalize(every.pooled, dim=1)
    whitening, seconds["whitening"] = timed(learn_whitening, unit)
    white = whitening.unit(unit)
    weights, seconds["graph"] = timed(Graph().weights, white)
    u, seconds["katz"] = timed(centrality, weights)
    graph = RegionGraph(white, every.saliency, u, every.image, every.box, whitening.mean, whitening.axes)
    for number in range(asked.sample):
        tokens = made(number)
        map_, spent = timed(lambda seen: objects(seen, feature.saliency(seen), graph), tokens)
        _, more = timed(mixture.regions_of, map_)
        seconds["second"] += (spent + more) / asked.sample
    held = (white, every.saliency, u, every.image, every.box)
    edges = (weights.data, weights.indices, weights.indptr)
    return {
        **{f"{name}_seconds": value for name, value in seconds.items()},
        "regions": len(white),
        "edges": weights.nnz // 2,
        "graph_mib": (sum(one.nbytes for one in held) + sum(one.nbytes for one in edges)) / 2**20,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


def main() -> None:
    asked = parser().parse_args()
    torch.set_num_threads(1)
    settings = {"images": asked.images, "shape": [asked.rows, asked.columns, asked.dim], "threads": 1}
    figures = measured(asked)
    facts.write(asked.results, "discovery", settings, figures)
    for name, value in figures.items():
        print(f"{name:20} {value:12,.4f}")


if __name__ == "__main__":
    main()
