"""MaskCut: several objects of an image, each by a normalised cut of what the earlier ones have left."""

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_fill_holes  # type: ignore[attr-defined]
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, component
from seekloop.regions.graph import (
    Cosine,
    Solver,
    above_mean,
    cosines_of,
    cut_vector,
    first_peak,
    peak_positive,
    rows_of,
    share_of_pairs,
)
from seekloop.regions.segments import Connectivity, Segments, piece_of

Mask = Bool[np.ndarray, "h w"]

SMALLEST = 0.01  # share of the image that a mask after the first must exceed
OVERLAP = 0.5  # IoU with the one before it that it must not exceed


@component
class MaskCut:
    r"""A cut as TokenCut's, again and again, each time with the tokens found so far set to zero.

    Zero tokens are like none, so that the next cut is about the others. In each round the seed is the token where
    :math:`|v|` is largest, and its side of the mean the foreground; if three or four of the map's corners are on that
    side, it is taken for background: the other side is the foreground, and where v is farthest out there the seed. The
    piece that holds the seed is the round's mask. From the second round on it is nothing if its IoU with the mask
    before it is above 0.5 or its area not above 1 % of the map. What earlier masks hold is taken out of later ones:
    masks are disjoint; a later one may fall into pieces by that.

    What differs from the code released with the paper: maps need not be square; v has the sign that makes its seed
    positive, where theirs has the solver's arbitrary one and the corners count only for one of the two; and there is
    no conditional random field that fits masks to the picture, for no picture comes here.

    Args:
        tau: cosine above which two tokens are alike.
        rounds: N, most masks.
        connectivity: 4 neighbours of a token, or 8.
        centre: whether to take the mean token off first; the authors do not.
        released: what follows a round that gives nothing. False: the end, for the next one would cut the same. True, as
            released: it cuts the same, and with no mask before it that overlaps takes what was refused.
        fill_holes: whether a mask also has the tokens that it surrounds, other than those of other masks.
        solver: of the eigenvector: lanczos, or dense as the authors; see `later_vectors`.

    Raises:
        ConfigError: if a setting is out of its range.

    Reference:
        Wang et al., "Cut and Learn for Unsupervised Object Detection and Instance Segmentation" (CutLER), CVPR 2023.
    """

    revision: ClassVar[int] = 2

    tau: Cosine = 0.15
    rounds: Count = 3
    connectivity: Connectivity = 4
    centre: bool = False
    released: bool = False
    fill_holes: bool = False
    solver: Solver = "lanczos"

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """The masks in the order found, scores falling; `affine` is the share of pairs above tau in the first round.

        Raises:
            ValueError: if a token is not finite.
        """
        h, w, _ = tokens.shape
        alike = (cosines_of(rows_of(tokens, self.centre)) > self.tau).numpy()
        taken = before = np.zeros((h, w), dtype=bool)
        masks: list[Mask] = []
        for number in range(self.rounds):
            left = ~taken.reshape(-1)
            vector, mask = cut_vector(alike & left[:, None] & left, self.solver, rng), np.zeros((h, w), dtype=bool)
            if vector is not None:
                side, seed = foreground(vector.reshape(h, w))
                mask = piece_of(side, seed, self.connectivity)
            if number > 0 and (overlap(mask, before) > OVERLAP or mask.mean() <= SMALLEST):
                if not self.released:
                    break
                mask = np.zeros_like(mask)
            masks.append(mask & ~taken)
            taken, before = taken | mask, mask
        if self.fill_holes:
            masks = [filled(mask, masks) for mask in masks]
        return Segments.ranked(masks, (h, w), share_of_pairs(alike))


def foreground(vector: Float[np.ndarray, "h w"]) -> tuple[Mask, int]:
    """The side of the mean with the entry farthest from 0, or the other one if this one has three corners of the map.

    Which sign the vector has makes no difference; of entries equal up to rounding, the first counts. In a map of one
    row each end is two corners.

    Returns:
        The side, and where on it the vector is farthest out, counted row by row.

    Example:
        >>> foreground(np.array([[3.0, 3.0], [4.0, -2.0]]))
        (array([[False, False],
               [False,  True]]), 3)
    """
    vector = peak_positive(vector)
    side = above_mean(vector)
    if side[[0, 0, -1, -1], [0, -1, 0, -1]].sum() >= 3:
        return ~side, first_peak(-vector)
    return side, first_peak(vector)


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union; 0 where both are empty."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def filled(mask: Mask, masks: list[Mask]) -> Mask:
    """With its holes, as far as they are not in any of the masks."""
    return mask | (binary_fill_holes(mask) & ~np.logical_or.reduce(masks))
