"""What a choice of regions comes down to for one collection."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seekloop.contracts.grids import Grid
from seekloop.contracts.records import Annotations, Regions


@dataclass(frozen=True)
class Parts:
    """The regions whose descriptors a store holds.

    Attributes:
        regions: their boxes.
        grids: the grids whose cells they are; None for ragged regions.
        asked: the grids that will be read from them; empty for ragged regions.
        poolable: whether coarser cells may be averaged from them: only where they are means of tokens.
        identity: what they depend on, as plain values: a part of the store's key.
    """

    regions: Regions
    grids: tuple[Grid, ...] | None
    asked: tuple[Grid, ...]
    poolable: bool
    identity: dict[str, str]


@runtime_checkable
class PartsOfImages(Protocol):
    """A choice of regions, `conf/regions/*.yaml`."""

    def parts(self, annotations: Annotations, images: int, poolable: bool) -> Parts:
        """The regions to store for a collection of so many images.

        Args:
            annotations: for upper bounds only.
            images: n.
            poolable: whether descriptors are means of tokens.
        """
        ...
