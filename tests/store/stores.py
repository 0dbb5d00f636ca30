"""Small stores written with the plain writer, without any network."""

from pathlib import Path

import torch

from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import Regions
from seekloop.store.manifest import StoreManifest
from seekloop.store.writer import StoreWriter, create, finish


def manifest(images=5, dim=2, shard=2, grids=((2, 2),), poolable=True, dtype="float32", content=None, tokens=(4, 4)):
    content = {"who": "tests"} if content is None else content
    return StoreManifest(
        Recipe("descriptors", content), images, dim, dtype, shard, grids, poolable, tokens, {"seekloop": "0"}, None
    )


def paths(images):
    return [f"image {i}.jpg" for i in range(images)]


def regions_of(described, offsets=None):
    if offsets is None:
        return Regions(grid_boxes(described.grids), None)
    low = torch.linspace(0, 0.5, int(offsets[-1]))
    return Regions(torch.stack([low, low, low + 0.5, low + 0.5], dim=1), offsets)


def write(folder: Path, described, whole, local, offsets=None, unreadable=(), batch=1, shards=None):
    """Write (some shards of) a store; `local` holds the rows of one image after the other."""
    regions = regions_of(described, offsets)
    described = create(folder, described, regions)
    ends = offsets if offsets is not None else torch.arange(described.images + 1) * described.cells
    writer = StoreWriter(folder, described, offsets, paths(described.images))
    for shard in range(described.shards) if shards is None else shards:
        start, stop = described.span(shard)
        for first in range(start, stop, batch):
            image = torch.arange(first, min(first + batch, stop))
            readable = torch.tensor([i not in unreadable for i in image.tolist()])
            rows = local[int(ends[image[0]]) : int(ends[image[-1] + 1])]
            writer.add(image, whole[image], rows, readable, ["broken"] * int((~readable).sum()))
    return described


def complete(folder: Path, described, *args, **kwargs):
    described = write(folder, described, *args, **kwargs)
    return finish(folder, described, paths(described.images))
