"""The regions that a choice of regions gives for one collection."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seekloop.contracts.grids import Grid
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import Regions

Say = Callable[[str], None]


@dataclass(frozen=True)
class Parts:
    """The regions whose descriptors a store holds.

    Attributes:
        regions: their boxes; None where `find` has still to look for them.
        grids: the grids whose cells they are; None for ragged regions.
        asked: the grids that will be read from them; empty for ragged regions.
        poolable: whether coarser cells may be averaged from them: only where they are means of tokens.
        recipe: of the regions, an input of the descriptors' recipe.
        find: looks for them, which is long work the first time; takes where messages for people go.
        truth: whether they tell where annotated objects are, which no method may know.
    """

    regions: Regions | None
    grids: tuple[Grid, ...] | None
    asked: tuple[Grid, ...]
    poolable: bool
    recipe: Recipe
    find: Callable[[Say], Regions] | None = None
    truth: bool = False

    def located(self, say: Say) -> Regions:
        """The regions, looked for if they have to be."""
        if self.regions is not None:
            return self.regions
        if self.find is None:
            raise ValueError("parts need regions, or a way to find them")
        return self.find(say)


@runtime_checkable
class PartsOfImages(Protocol):
    """A choice of regions, `conf/regions/*.yaml`."""

    def parts(self, collection: Collection, poolable: bool) -> Parts:
        """The regions to store for a collection.

        Args:
            collection: the images; their annotations are for upper bounds only.
            poolable: whether descriptors are means of tokens.
        """
        ...
