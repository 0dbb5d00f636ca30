"""Size strata: an image belongs, for a class, to the size of the largest object of that class in it."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seekloop.contracts import boxes
from seekloop.contracts.records import Annotations

STRATA = boxes.STRATA


def strata(annotations: Annotations, images: int) -> Int[Tensor, "c n"]:
    """Size of the largest object of each class in each image: a position in `STRATA`, -1 where there is none.

    Limits as in `seekloop.contracts.boxes.stratum`: 1/16 and 1/4 of the image.

    Args:
        annotations: those that count; drop crowds first if they do not.
        images: size of the collection.
    """
    cell = annotations.label * images + annotations.image
    area = torch.full((len(annotations.classes) * images,), -1.0)
    area.scatter_reduce_(0, cell.long(), boxes.area(annotations.box).float(), "amax")
    level = (area >= boxes.SMALL).char() + (area >= boxes.LARGE)
    return torch.where(area < 0, -1, level).char().reshape(len(annotations.classes), images)


def level_of_chance(strata: Int[Tensor, "c n"], level: int) -> tuple[int, float]:
    """Number of images of one stratum, and the average precision of a ranking that cannot tell them apart.

    The latter is their share of the ranked images, relevant ones of other strata left out: the mean over the classes
    that have any, not a number where none has. An image counts once for each class.
    """
    counts, others = (strata == level).sum(dim=1), outside(strata, level).sum(dim=1)
    shares = counts.double() / (strata.shape[1] - others)
    return int(counts.sum()), float(shares[counts > 0].mean())


def outside(strata: Int[Tensor, "*q n"], level: int) -> Bool[Tensor, "*q n"]:
    """Relevant images of another stratum than `level`: what average precision within `level` ignores."""
    return (strata >= 0) & (strata != level)
