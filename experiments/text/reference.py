"""Text-to-image search with the cells of all maps of a network: all of them, and aggregated by k-means, image by image.

Photographs keep their proportions: the longer side is brought to the network's, the rest is grey and its cells are left
out. Stores squash photographs, and hold one map; this is the setting of the reference figures that these are held to.

    python experiments/text/reference.py collection=coco2017 collection.root=<coco> \
        backbone=torchscript backbone.checkpoint=<file> backbone.image_size=288 \
        text=vocabulary text.file=<npz> text.names=coco_names text.vectors=coco clusters=1,5,10,25,50,100
"""

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import seekloop
from seekloop.backbones.torchscript import TorchScript
from seekloop.contracts.randomness import generator
from seekloop.images.class_names import class_names
from seekloop.metrics.ranked import finite_sum_average_precision
from seekloop.metrics.ranks import ranks_of_positives
from seekloop.regions.clusters import Clusters

GREY = 114 / 255


def cells_of(backbone: TorchScript, picture: Image.Image) -> list[Float[Tensor, "t d"]]:
    """Vectors of unit length of the cells that the photograph covers, of every map."""
    side = backbone.image_size[0]
    scale = side / max(picture.size)
    width, height = (max(1, round(one * scale)) for one in picture.size)
    small = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
    pixels = torch.full((1, 3, side, side), GREY)
    pixels[0, :, :height, :width] = torch.from_numpy(small).permute(2, 0, 1) / 255
    found = []
    for one in backbone.all_maps(pixels):
        rows, columns = (
            -(-length * cells // side) for length, cells in zip((height, width), one.shape[2:], strict=True)
        )
        found.append(F.normalize(one[0, :, :rows, :columns].flatten(1).T, dim=1))
    return found


def aggregated(cells: Float[Tensor, "t d"], clusters: int, image: int) -> Float[Tensor, "k d"]:
    """Means of clusters of cells, of unit length."""
    masks = Clusters(clusters)(cells[:, None], generator(0, "reference", image)).masks.flatten(1)
    return F.normalize(masks.float() @ cells, dim=1)


def measured(scores: Float[Tensor, "c n"], right: Bool[Tensor, "c n"]) -> float:
    """Mean average precision over the classes."""
    ranks = ranks_of_positives(scores, right, torch.zeros_like(right))
    return float(finite_sum_average_precision(ranks).nanmean())


def sets_of(maps: Sequence[Tensor], clusters: Sequence[int], image: int) -> Iterator[tuple[str, Tensor]]:
    """Sets of vectors that may stand for an image, by name."""
    yield from ((f"map {number}", one) for number, one in enumerate(maps))
    cells = torch.cat(list(maps))
    yield "all cells", cells
    yield from ((f"K = {most}", aggregated(cells, most, image)) for most in clusters)


def main() -> None:
    """Print mAP of every set of vectors."""
    given = dict(word.partition("=")[::2] for word in sys.argv[1:])
    clusters = [int(one) for one in given.pop("clusters", "").split(",") if one]
    parts = {}
    for part in ("collection", "backbone", "text"):
        words = [f"{key}={value}" for key, value in given.items() if key.partition(".")[0] == part]
        parts[part] = seekloop.build(*words)
    search = class_names(parts["collection"])
    texts = parts["text"](search.texts)
    scores: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for image in range(len(search.database.paths)):
            maps = cells_of(parts["backbone"], search.database.read(image))
            for name, vectors in sets_of(maps, clusters, image):
                scores.setdefault(name, []).append((texts @ vectors.T).amax(dim=1))
    for name, columns in scores.items():
        print(f"{name:>10}: mAP {measured(torch.stack(columns, dim=1), search.relevant('all')):.4f}")


if __name__ == "__main__":
    main()
