"""Local strategies: which descriptors of a labelled image become training rows, and which of an image are scored.

Source of all of them: Zaher, Buisson & Joly, arXiv 2604.00809, Sec. 3; docs/methods.md has them in one table.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.declared import component

GLOBAL = -1  # stands for the global descriptor where a region is expected
PROTOTYPE = -2  # stands for the mean of the image's local descriptors
ROUNDING = 1e-6  # differences of overlap below this are rounding
TOUCHING = 1e-6  # overlaps below this share of the image are rounding of a common edge


@dataclass(frozen=True)
class RowChoice:
    """Training rows that one image gives: regions (or GLOBAL, PROTOTYPE) and the label, +1 or -1, of each."""

    region: Int[Tensor, " k"]
    label: Float[Tensor, " k"]


def _rows(region: Int[Tensor, " k"], label: float) -> RowChoice:
    return RowChoice(region, torch.full((len(region),), label))


def _one(region: int, label: float) -> RowChoice:
    return _rows(torch.tensor([region]), label)


def best_overlap(regions: Float[Tensor, "m 4"], box: Float[Tensor, " 4"]) -> int:
    """M*: the region that overlaps the box most, by intersection over union; ties go to the lowest index.

    Among cells of one size that is the one that shares most area with the box. Among cells of several sizes, area alone
    would always choose the largest.
    """
    overlap = box_geometry.iou(regions, box[None])[:, 0]
    return int((overlap / ROUNDING).round().argmax())  # equal overlaps may differ in their last bits


@runtime_checkable
class Local(Protocol):
    """Chooses the regions of a labelled image that become training rows.

    Attributes:
        uses_regions: False where only the global descriptor is ever read.
        uses_boxes: whether a box from the user changes anything (if not, none is asked for).
        scores_prototype: whether the prototype competes in the maximum over an image's regions.
        renorm: whether prototypes are brought back to unit length.
    """

    uses_regions: bool
    uses_boxes: bool
    scores_prototype: bool
    renorm: bool

    def positive(self, regions: Float[Tensor, "m 4"], box: Float[Tensor, " 4"] | None) -> RowChoice:
        """Rows of a relevant image; `box` is that of the object, None if nobody knows it (then the whole image)."""
        ...

    def negative(self, regions: Float[Tensor, "m 4"], rng: Generator) -> RowChoice:
        """Rows of an irrelevant image."""
        ...


@component
class GlobalOnly:
    """GO: one row per image, its global descriptor."""

    uses_regions = False
    uses_boxes = False
    scores_prototype = False
    renorm = False

    def positive(self, regions: Float[Tensor, "m 4"], box: Float[Tensor, " 4"] | None) -> RowChoice:
        return _one(GLOBAL, 1.0)

    def negative(self, regions: Float[Tensor, "m 4"], rng: Generator) -> RowChoice:
        return _one(GLOBAL, -1.0)


@component
class OneRand:
    """LO-One-Rand: the region M* of a relevant image against one random region of an irrelevant one.

    The region is drawn once, when the image is labelled, and kept.
    """

    uses_regions = True
    uses_boxes = True
    scores_prototype = False
    renorm = False

    def positive(self, regions: Float[Tensor, "m 4"], box: Float[Tensor, " 4"] | None) -> RowChoice:
        """M*, or the prototype where there is no box."""
        return _one(PROTOTYPE if box is None else best_overlap(regions, box), 1.0)

    def negative(self, regions: Float[Tensor, "m 4"], rng: Generator) -> RowChoice:
        return _one(int(torch.randint(len(regions), (1,), generator=rng)), -1.0)


@component
class OneProto:
    """LO-One-Proto: the region M* of a relevant image against the prototype (mean region) of an irrelevant one.

    Args:
        renorm: bring prototypes back to unit length; the paper does not say.
    """

    renorm: bool = False
    uses_regions = True
    uses_boxes = True
    scores_prototype = True

    def positive(self, regions: Float[Tensor, "m 4"], box: Float[Tensor, " 4"] | None) -> RowChoice:
        """M*, or the prototype where there is no box."""
        return _one(PROTOTYPE if box is None else best_overlap(regions, box), 1.0)

    def negative(self, regions: Float[Tensor, "m 4"], rng: Generator) -> RowChoice:
        return _one(PROTOTYPE, -1.0)


@component
class All:
    """LO-All: regions that overlap the box against all others, of relevant and irrelevant images alike."""

    uses_regions = True
    uses_boxes = True
    scores_prototype = False
    renorm = False

    def positive(self, regions: Float[Tensor, "m 4"], box: Float[Tensor, " 4"] | None) -> RowChoice:
        """Every region: +1 where it shares area with the box, -1 elsewhere; without a box all are +1."""
        if box is None:
            return _rows(torch.arange(len(regions)), 1.0)
        overlap = box_geometry.intersection(regions, box[None])[:, 0]
        inside = overlap > TOUCHING
        inside[overlap.argmax()] = True  # a box thinner than the threshold still lies somewhere
        return RowChoice(torch.arange(len(regions)), inside.float() * 2 - 1)

    def negative(self, regions: Float[Tensor, "m 4"], rng: Generator) -> RowChoice:
        return _rows(torch.arange(len(regions)), -1.0)


@component
class Box:
    """Upper bound, not a method: regions are the annotated boxes themselves (`regions=boxes`).

    The positive row is the annotated box nearest to the user's, negative rows are all boxes of irrelevant images.
    """

    uses_regions = True
    uses_boxes = True
    scores_prototype = False
    renorm = False

    def positive(self, regions: Float[Tensor, "m 4"], box: Float[Tensor, " 4"] | None) -> RowChoice:
        """The region with the highest intersection over union; without a box all regions."""
        if box is None:
            return _rows(torch.arange(len(regions)), 1.0)
        return _one(best_overlap(regions, box), 1.0)

    def negative(self, regions: Float[Tensor, "m 4"], rng: Generator) -> RowChoice:
        return _rows(torch.arange(len(regions)), -1.0)
