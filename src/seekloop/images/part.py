"""Some images of a collection of files, as a collection of their own."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from seekloop.images.files import FileCollection


def part(source: FileCollection, positions: Sequence[int]) -> FileCollection:
    """Take some images of a collection, with their paths, contents and annotations; only their files are ever read.

    A part with all of the images, in their order, has the fingerprint of the collection.

    Args:
        source: the collection.
        positions: of the images, each once, in the order that they get.
    """
    known = source.annotations
    place = torch.full((len(source.paths),), -1)
    place[list(positions)] = torch.arange(len(positions))
    rows = place[known.image] >= 0
    kept = known.keep(rows)
    annotations = replace(kept, image=place[kept.image])
    paths = [source.paths[position] for position in positions]
    return FileCollection(source.name, source.root, paths, annotations, (), source.cache, source.renamed, source.white)
