"""Growing collections: what an artifact takes over from an earlier one, image by image, by what the pictures hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seekloop.artifacts import files
from seekloop.artifacts.shards import Span
from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.store.manifest import KEY, store_folder

CONTENTS = "contents.json"  # what determines each picture of an artifact
ANY = "collection"  # the setting that may differ between an artifact and an earlier one

Usable = Callable[[int, int], bool]
"""Whether an earlier image at one position may serve as the new one at another."""


@dataclass(frozen=True)
class Earlier:
    """A finished artifact whose recipe differs in the collection alone.

    Attributes:
        folder: where it lies.
        row: for each image of the new one, its position in the earlier one; -1 where it has to be computed.
    """

    folder: Path
    row: Int[Tensor, " n"]

    @property
    def images(self) -> int:
        """Number of images that are taken over."""
        return int((self.row >= 0).sum())


def note_contents(folder: Path, contents: Sequence[str]) -> None:
    """Write down what determines each picture, so that a later artifact can take it over."""
    if not (folder / CONTENTS).exists():
        files.write_json(folder / CONTENTS, list(contents), KEY)


def earlier(
    folder: Path,
    description: str,
    recipe: Recipe,
    contents: Sequence[str],
    usable: Callable[[Path], Usable],
) -> Earlier | None:
    """The finished artifact beside a new one with the most of its pictures; None where no picture is found again.

    The recipe must be the same but for the collection. Of pictures that hold the same, the one at the same position
    counts before the first one.

    Args:
        folder: of the new artifact.
        description: name of the file that holds the recipe.
        recipe: of the new artifact.
        contents: what determines each of its pictures.
        usable: opens an earlier one, and tells which of its images may serve.
    """
    wanted, best = recipe.without(ANY), None
    for path in sorted(folder.parent.glob(f"*/{description}")):
        other = path.parent
        try:
            if other == folder or Recipe.from_plain(files.read_json(path)["recipe"]).without(ANY) != wanted:
                continue
            known = files.read_json(other / CONTENTS)
            may = usable(other) if store_folder(other).finished else None
        except (StoreError, OSError, ValueError, KeyError):  # an unfinished or damaged one has nothing to give
            continue
        if may is not None:
            found = Earlier(other, _matched(known, contents, may))
            best = found if found.images > (best.images if best else 0) else best
    return best


def _matched(known: Sequence[str], contents: Sequence[str], usable: Usable) -> Int[Tensor, " n"]:
    first = {content: row for row, content in reversed(list(enumerate(known)))}
    rows = []
    for image, content in enumerate(contents):
        there = [image] if image < len(known) and known[image] == content else []
        there += [first[content]] if content in first else []
        rows.append(next((row for row in there if usable(row, image)), -1))
    return torch.tensor(rows, dtype=torch.long)


def spans_of(start: int, stop: int, step: int, known: Bool[Tensor, " n"] | None) -> tuple[list[Span], list[Span]]:
    """Batches of a shard: those to be computed, and those to be taken over; each of images that follow each other.

    Args:
        start: first image of the shard.
        stop: the one after its last.
        step: most images computed at once.
        known: which images are taken over; None: no image is.
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
