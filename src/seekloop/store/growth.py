"""Rows that a new store takes over from an earlier one, image by image, by what the pictures hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seekloop.artifacts import files
from seekloop.artifacts.shards import Span
from seekloop.contracts.errors import StoreError
from seekloop.contracts.records import Regions
from seekloop.store.manifest import KEY, MANIFEST, StoreManifest, read_manifest
from seekloop.store.reader import Store, open_store
from seekloop.store.writer import StoreWriter

CONTENTS = "contents.json"  # what determines each picture of a store
ANY = "collection"  # the setting that may differ between a store and an earlier one


@dataclass(frozen=True)
class Earlier:
    """A finished store of otherwise the same recipe.

    Attributes:
        store: it.
        row: for each image of the new store, its position in the earlier one; -1 where it has to be described.
    """

    store: Store
    row: Int[Tensor, " n"]

    @property
    def images(self) -> int:
        """How many images are taken over."""
        return int((self.row >= 0).sum())

    def copy(self, span: Span, into: StoreWriter) -> None:
        """Bring the rows of images that follow each other into the new store."""
        image = torch.arange(*span)
        whole, local = self.store.stored_rows(self.row[image])
        readable = torch.ones(len(image), dtype=torch.bool)
        into.add(image, whole.float(), local.float().flatten(0, -2), readable, [])


def note_contents(folder: Path, contents: Sequence[str]) -> None:
    """Write down what determines each picture, so that a later store can take rows over."""
    if not (folder / CONTENTS).exists():
        files.write_json(folder / CONTENTS, list(contents), KEY)


def earlier_store(folder: Path, described: StoreManifest, regions: Regions, contents: Sequence[str]) -> Earlier | None:
    """The finished store beside a new one with the most of its pictures; None where no picture is found again.

    The recipe must be the same but for the collection. Where regions differ between images, a picture is found again
    only if its regions are the same, too. Unreadable images are tried anew.

    Args:
        folder: of the new store.
        described: its manifest.
        regions: its regions.
        contents: what determines each of its pictures.
    """
    best: Earlier | None = None
    for place in sorted(folder.parent.glob(f"*/{MANIFEST}")):
        if place.parent == folder or (found := _opened(place.parent, described)) is None:
            continue
        earlier = Earlier(found[0], _matched(found[0], found[1], regions, contents))
        if earlier.images > (best.images if best else 0):
            best = earlier
    return best


def _opened(folder: Path, described: StoreManifest) -> tuple[Store, list[str]] | None:
    """A finished store of otherwise the same recipe, with what determines its pictures."""
    try:
        other = read_manifest(folder)
        if other.recipe.without(ANY) != described.recipe.without(ANY) or other.dtype != described.dtype:
            return None
        contents = files.read_json(folder / CONTENTS)
        return (open_store(folder, None), contents) if len(contents) == other.images else None
    except (StoreError, OSError, ValueError):  # an unfinished or damaged store has nothing to give
        return None


def _matched(store: Store, known: Sequence[str], regions: Regions, contents: Sequence[str]) -> Int[Tensor, " n"]:
    position = {content: image for image, content in reversed(list(enumerate(known))) if store.readable[image]}
    rows = [position.get(content, -1) for content in contents]
    if regions.offsets is not None:
        rows = [row if row >= 0 and _same_regions(store, row, regions, image) else -1 for image, row in enumerate(rows)]
    return torch.tensor(rows, dtype=torch.long)


def _same_regions(store: Store, row: int, regions: Regions, image: int) -> bool:
    return torch.equal(store.regions.of(row), regions.of(image))


def spans_of(start: int, stop: int, step: int, known: Bool[Tensor, " n"] | None) -> tuple[list[Span], list[Span]]:
    """Batches of a shard: those to be described, and those to be taken over; each of images that follow each other.

    Args:
        start: first image of the shard.
        stop: the one after its last.
        step: most images described at once.
        known: which images are taken over; None: every image is described.
    """
    if known is None:
        return [(first, min(first + step, stop)) for first in range(start, stop, step)], []
    here = known[start:stop].tolist()
    edges = [start, *(start + i for i in range(1, stop - start) if here[i] != here[i - 1]), stop]
    fresh: list[Span] = []
    copied: list[Span] = []
    for first, end in pairwise(edges):
        if here[first - start]:
            copied.append((first, end))
        else:
            fresh += [(at, min(at + step, end)) for at in range(first, end, step)]
    return fresh, copied
