"""Some images of a collection of files, as a collection of their own."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.files import FileCollection


def within(source: FileCollection) -> FileCollection:
    """The images whose files lie in the collection's folder, without those to which links lead out of it.

    Those left out are counted among its problems.

    Raises:
        ConfigError: if none is left.
    """
    root, folders = os.path.realpath(source.root), dict[Path, bool]()

    def lies_inside(file: Path) -> bool:
        if file.is_symlink():
            return is_below(os.path.realpath(file))
        if file.parent not in folders:
            folders[file.parent] = is_below(os.path.realpath(file.parent))
        return folders[file.parent]

    def is_below(real: str) -> bool:
        return os.path.commonpath([root, real]) == root

    kept = [image for image in range(len(source.paths)) if lies_inside(source.file(image))]
    if len(kept) == len(source.paths):
        return source
    out = len(source.paths) - len(kept)
    first = next(path for image, path in enumerate(source.paths) if image not in set(kept[: image + 1]))
    why = f"{many(out, 'photograph lies', 'photographs lie')} outside the folder, behind links, and not served"
    problem = Problem(first, f"{why}; serve.links=true serves them", ProblemKind.FILE, out)
    if not kept:
        raise ConfigError("collection.root", str(source.root), problem.what, "Point it at the folder itself.")
    inside = part(source, kept)
    inside.problems = (*source.problems, problem)
    return inside


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
