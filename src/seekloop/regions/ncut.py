"""Normalised cut of a node, in place of k-sums."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Generator

from seekloop.regions.cuts import UNLIKE, Node, Variant
from seekloop.regions.spectral import check_solver, later_vectors, peak_positive, says_nothing


@dataclass(frozen=True)
class NormalisedCut:
    r"""Cut a node in two where the relaxed normalised cut of its thresholded graph is above its mean.

    .. math:: (D - A) v = \lambda D v, \qquad A_{ij} = 1 \text{ where alike, else } 10^{-5}

    v belongs to the second smallest eigenvalue. Its sign is such that the entry farthest from 0 is above. Where all
    pairs of different tokens have the same weight, no vector comes second, and there is no cut.

    Args:
        solver: dense, as TokenCut's authors do, or lanczos; see `later_vectors`.

    Reference:
        Shi & Malik, "Normalized Cuts and Image Segmentation", PAMI 2000; the weights are those of TokenCut.
    """

    solver: str

    def __post_init__(self) -> None:
        check_solver(self.solver, "detector.bisect.solver")

    def __call__(self, node: Node, variant: Variant, rng: Generator) -> Bool[np.ndarray, " s"]:
        """The second side; both variants cut alike, and only a starting point is drawn."""
        weights = np.where(node.cosines > node.alpha, 1.0, UNLIKE)
        if says_nothing(weights):
            return np.zeros(len(weights), dtype=bool)
        return above_mean(later_vectors(weights, 1, self.solver, rng)[:, 0])


def above_mean(vector: Float[np.ndarray, " s"]) -> Bool[np.ndarray, " s"]:
    """Where a vector is above its mean, with the sign that makes the entry farthest from 0 positive.

    Example:
        >>> above_mean(np.array([-3.0, 1.0, 2.0, -1.0]))
        array([ True, False, False,  True])
    """
    signed = peak_positive(vector)
    return signed > signed.mean()
