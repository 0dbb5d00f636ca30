"""The regions that a choice of regions gives for one collection."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.grids import Grid
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import KINDS, Regions

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


def ragged(
    image: Int[Tensor, " o"], box: Float[Tensor, "o 4"], level: Int[Tensor, " o"], kind: Int[Tensor, " o"], images: int
) -> Regions:
    """Regions sorted by image, otherwise in this order; an image that has none has itself as its region, at level 0.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 1.0]])
        >>> found = ragged(torch.tensor([2, 2]), boxes, torch.tensor([1, 1]), torch.tensor([2, 2]), 3)
        >>> found.offsets, found.level
        (tensor([0, 1, 2, 4]), tensor([0, 0, 1, 1]))
    """
    alone = torch.ones(images, dtype=torch.bool).index_fill(0, image, False).nonzero()[:, 0]
    owner = torch.cat([image, alone])
    order = owner.argsort(stable=True)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(owner, minlength=images).cumsum(0)])
    whole = torch.tensor(WHOLE_IMAGE, dtype=box.dtype).expand(len(alone), 4)
    fill = torch.zeros_like(alone)
    return Regions(
        torch.cat([box, whole])[order].contiguous(),
        offsets,
        torch.cat([level, fill])[order],
        torch.cat([kind, fill + KINDS.index("whole")])[order],
    )
