"""Extraction in growing parts: a few images of all folders first, so that a search can begin; then the others."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seekloop.artifacts import files
from seekloop.artifacts.folder import BusyError
from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.extraction.describe import ensure
from seekloop.extraction.plan import Extraction
from seekloop.images.files import FileCollection
from seekloop.images.part import part
from seekloop.store import growth, manifest

BLOCKS = 8  # batches of the first part
GROWTH = 4  # times the images of the part before
MARK = "growing.json"  # in stores made here: the folder of pictures. They go when a later one takes their place


@dataclass(frozen=True)
class GrownStore:
    """A finished store of some images of a collection.

    Attributes:
        folder: of the store.
        paths: of its images, in the order of the store.
        whole: whether these are all images of the collection.
        superseded: stores that this one has taken the place of; nobody needs them once this one is open.
    """

    folder: Path
    paths: tuple[str, ...]
    whole: bool
    superseded: tuple[Path, ...]


@dataclass(frozen=True)
class Growing:
    """A stage divided into parts, each of which holds the one before.

    Attributes:
        parts: stages of the parts; the last is the whole one.
        known: number of images that a store holds already, as far as that can be told without reading files.
        root: the folder of pictures; empty where the collection is none of files.
    """

    parts: tuple[Extraction, ...]
    known: int
    root: str

    def stores(self, say: Callable[[str], None]) -> Iterator[GrownStore]:
        """The finished store of each part in turn; whatever of it is missing is computed first.

        Raises:
            ConfigError: if the choices do not fit together.
            StoreError: if the disk is full, or the network gives values that are not finite.
        """
        for stage in self.parts:
            folder, whole = stage.plan.folder, stage is self.parts[-1]
            if self.root and not folder.exists():
                files.make_folder(folder, manifest.KEY)
                files.write_json(folder / MARK, {"root": self.root}, manifest.KEY)
            ensure(stage, say)
            superseded = tuple(_superseded(stage, self.root, whole)) if self.root else ()
            yield GrownStore(folder, tuple(stage.collection.paths), whole, superseded)


def divided(stage: Extraction, searched: int = 0) -> Growing:
    """Divide a stage into growing parts.

    A collection that is none of files, or whose regions differ between images, has one part: of the others, rows of
    one store are taken over into the next, batch for batch, so that no image is described twice.

    Args:
        stage: of the whole collection.
        searched: number of images that are searched already; parts that are no larger are left out.
    """
    collection = stage.collection
    if not isinstance(collection, FileCollection):
        return Growing((stage,), 0, "")
    block, root = stage.trainer.batch_size, str(collection.root)
    first = replace(stage, collection=part(collection, spread(len(collection.paths), block, ())[:block]))
    if first.plan.parts.regions is None or first.plan.parts.grids is None:
        return Growing((stage,), 0, root)
    known = _known(collection, first)
    *some, _ = steps(len(collection.paths), known, block)
    parts = [replace(stage, collection=part(collection, positions)) for positions in some if len(positions) > searched]
    return Growing((*parts, stage), len(known), root)


def steps(images: int, known: Sequence[int], block: int) -> list[list[int]]:
    """Positions of the images of each part, ascending; the last part has all.

    Args:
        images: of the collection.
        known: positions of those that a store holds already; they are in every part, and are one by themselves.
        block: images of a batch.

    Example:
        >>> [len(one) for one in steps(100_000, (), 32)]
        [256, 1024, 4096, 16384, 65536, 100000]
        >>> [len(one) for one in steps(100_000, range(9000), 32)]
        [9000, 65536, 100000]
    """
    sizes, size = [], BLOCKS * block
    while GROWTH * size <= (GROWTH - 1) * images:  # a last part of a few images would not be worth its while
        sizes.append(size)
        size *= GROWTH
    sizes = [size for size in sizes if size >= 2 * len(known)]
    if 0 < len(known) < images:
        sizes.insert(0, len(known))
    order = spread(images, block, known)
    return [sorted(order[:size]) for size in (*sizes, images)]


def spread(images: int, block: int, known: Sequence[int]) -> list[int]:
    """Order positions so that any number of first ones is spread evenly: known ones first, then block by block.

    Blocks follow each other by their numbers' bits in reverse: half, quarters, eighths. Whole blocks are the very
    batches in which all images would be described.

    Example:
        >>> spread(9, 2, ())
        [0, 1, 8, 4, 5, 2, 3, 6, 7]
    """
    blocks = -(-images // block)
    width = max(1, (blocks - 1).bit_length())
    by_bits = sorted(range(blocks), key=lambda number: int(f"{number:0{width}b}"[::-1], 2))
    taken = set(known)
    every = (image for one in by_bits for image in range(one * block, min(images, (one + 1) * block)))
    return [*sorted(taken), *(image for image in every if image not in taken)]


def remove(folders: Sequence[Path]) -> None:
    """Remove stores that others have taken the place of; those that a process is writing into stay."""
    for folder in folders:
        with contextlib.suppress(BusyError, OSError):
            manifest.store_folder(folder).remove()


def _known(collection: FileCollection, stage: Extraction) -> list[int]:
    """Positions of the images that the fullest finished store of a stage's recipe holds; no file is read."""
    contents = [known or f"not read {image}" for image, known in enumerate(collection.remembered_contents())]
    plan = stage.plan
    beside = plan.folder.with_name("none of them")
    found = growth.earlier(beside, manifest.MANIFEST, plan.manifest.recipe, contents, lambda _: lambda row, image: True)
    return [] if found is None else [int(image) for image in (found.row >= 0).nonzero()[:, 0]]


def _superseded(stage: Extraction, root: str, whole: bool) -> Iterator[Path]:
    """Stores that were made here of the same pictures and otherwise the same recipe, and of no more images.

    Once there is one of all images, the others are neither needed if they are larger, nor if they are unfinished.
    """
    plan = stage.plan
    for path in sorted(plan.folder.parent.glob(f"*/{MARK}")):
        other = path.parent
        with contextlib.suppress(OSError, ValueError, StoreError):
            described = manifest.read_manifest(other)
            same = _but_images(described.recipe) == _but_images(plan.manifest.recipe)
            mine = other != plan.folder and files.read_json(path) == {"root": root} and same
            smaller = manifest.store_folder(other).finished and described.images <= plan.manifest.images
            if mine and (whole or smaller):
                yield other


def _but_images(recipe: Recipe) -> Recipe:
    return recipe.without(growth.ANY)
