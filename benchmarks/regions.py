"""CLAID in one thread: seconds of an image by k-sums, against normalised cuts of the same maps of tokens.

    python -m benchmarks.regions [--images 10] [--checkpoint <DINOv2 ViT-S/14 weights> --root <JPEGImages>]

Maps are synthetic (areas of one direction in areas of another, with noise), or a network's of real photographs. The
network's time is not counted. Normalised cuts come twice: by the dense solver that TokenCut's authors use, and by
Lanczos. Published for CLAID: 2.4 s an image, 29 cuts, one thread of another machine.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from jaxtyping import Bool, Float
from omegaconf import OmegaConf
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor
from torch.nn import functional as F

from benchmarks import facts
from benchmarks.searches import table_of
from seekloop.backbones.vit import VisionTransformer
from seekloop.commands.configs import load_entry
from seekloop.images.decoding import read_rgb
from seekloop.images.transforms import to_pixels
from seekloop.regions.claid import Claid
from seekloop.regions.cuts import Bisect, Node, Variant

PUBLISHED_SECONDS = 2.4
PATCH = 14
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "k-sums": ("claid", {}),
    "k-sums, released": ("claid", {"variant": "released"}),
    "normalised cut, lanczos": ("claid_ncut", {"bisect": {"solver": "lanczos"}}),
    "normalised cut, dense": ("claid_ncut", {"bisect": {"solver": "dense"}}),
}


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--rows", type=int, default=60)
    found.add_argument("--columns", type=int, default=45)
    found.add_argument("--dim", type=int, default=768, help="of synthetic tokens")
    found.add_argument("--images", type=int, default=10)
    found.add_argument("--alpha", type=float, default=0.2, help="cosine above which tokens are alike")
    found.add_argument("--checkpoint", type=Path, help="weights of a DINOv2 ViT-S/14, for real tokens")
    found.add_argument("--root", type=Path, help="folder of photographs, for real tokens")
    return found


def blocks(rows: int, columns: int, dim: int, seed: int) -> Float[Tensor, "{rows} {columns} {dim}"]:
    """Forty areas around random points, whose looks lie in eight dimensions, so that some are alike; and noise."""
    rng = torch.Generator().manual_seed(seed)
    cells = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    points = torch.rand(40, 2, generator=rng) * torch.tensor([rows, columns])
    area = torch.cdist(cells, points).argmin(dim=1)
    looks = F.normalize(torch.randn(40, 8, generator=rng), dim=1) @ torch.randn(8, dim, generator=rng) / dim**0.5
    noise = torch.randn(rows * columns, dim, generator=rng) / dim**0.5
    strength = 1 + torch.rand(40, 1, generator=rng)
    return (strength[area] * (looks[area] + 0.7 * noise)).reshape(rows, columns, dim)


def photographs(asked: argparse.Namespace) -> Iterator[Float[Tensor, "rows columns d"]]:
    """Tokens of the first photographs of a folder, each squashed to the asked size."""
    names = {"none": "vit_small_patch14_dinov2.lvd142m"}
    size = (PATCH * asked.rows, PATCH * asked.columns)
    network = VisionTransformer(names, "none", str(asked.checkpoint), size, None)
    for path in sorted(asked.root.glob("*.jpg"))[: asked.images]:
        pixels = to_pixels(read_rgb(path), size, network.mean, network.std, network.interpolation)
        yield network(pixels[None]).patches[0]


class Timed:
    """A way of cutting, with how often and how long it cut."""

    def __init__(self, cut: Bisect) -> None:
        self.cut, self.cuts, self.seconds = cut, 0, 0.0

    def __call__(self, node: Node, variant: Variant, rng: Generator) -> Bool[np.ndarray, " s"]:
        started = time.perf_counter()
        side = self.cut(node, variant, rng)
        self.seconds += time.perf_counter() - started
        self.cuts += 1
        return side


def detector(entry: str, changed: dict[str, Any]) -> Claid:
    path = facts.ROOT / "conf" / "detector" / f"{entry}.yaml"
    return instantiate(OmegaConf.merge(load_entry(path), changed))


def measured(claid: Claid, maps: list[Tensor]) -> dict[str, float]:
    """Means of an image; nothing is compiled within."""
    claid(torch.randn(20, 20, 8), torch.Generator().manual_seed(0))
    bisect, seconds, regions, affine = Timed(claid.bisect), [], 0, 0.0
    before = time.process_time()
    watched = replace(claid, bisect=bisect)
    for tokens in maps:
        started = time.perf_counter()
        found = watched(tokens, torch.Generator().manual_seed(0))
        seconds.append(time.perf_counter() - started)
        regions += len(found.masks)
        affine += found.affine or 0.0
    return {
        "seconds": float(np.mean(seconds)),
        "core_seconds": (time.process_time() - before) / len(maps),  # what other work on the machine does not add to
        "cuts": bisect.cuts / len(maps),
        "cut_seconds": bisect.seconds / bisect.cuts,
        "seconds_per_cut": sum(seconds) / bisect.cuts,  # all else included, as published: 0.083
        "regions": regions / len(maps),
        "affine": affine / len(maps),
    }


def main() -> None:
    asked = parser().parse_args()
    real = asked.checkpoint is not None and asked.root is not None
    if real:
        maps = list(photographs(asked))
    else:
        maps = [blocks(asked.rows, asked.columns, asked.dim, seed) for seed in range(asked.images)]
    torch.set_num_threads(1)
    with threadpool_limits(1):
        ways = {
            name: measured(detector(entry, {"alpha": asked.alpha} | changed), maps)
            for name, (entry, changed) in WAYS.items()
        }
    settings = {
        "tokens": "dinov2_vits14 weights, photographs" if real else "synthetic",
        "shape": list(maps[0].shape),
        "images": len(maps),
        "alpha": asked.alpha,
        "threads": 1,
    }
    ours = ways["k-sums"]["core_seconds"]
    ratios = {name: way["core_seconds"] / ours for name, way in ways.items()}
    figures = {"ways": ways, "ratios": ratios, "published_seconds": PUBLISHED_SECONDS}
    facts.write(asked.results, "regions", settings, figures)
    columns = ("seconds", "core_seconds", "cuts", "cut_seconds", "seconds_per_cut", "regions", "affine")
    lines = [(name, *(way[column] for column in columns), ratios[name]) for name, way in ways.items()]
    print(table_of(lines, ["how", *(column.replace("_", " ") for column in columns), "times k-sums, core seconds"]))


if __name__ == "__main__":
    main()
