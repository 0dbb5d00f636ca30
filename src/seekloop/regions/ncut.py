"""Normalised cut of a node, in place of k-sums."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import eigh
from torch import Generator

from seekloop.regions.cuts import UNLIKE, Node, Variant


@dataclass(frozen=True)
class NormalisedCut:
    """Cut a node in two where the relaxed normalised cut of its thresholded graph is above its mean.

    Time grows with the cube of the number of tokens.
    """

    def __call__(self, node: Node, variant: Variant, rng: Generator) -> Bool[np.ndarray, " s"]:
        """The second side; nothing is drawn, and both variants cut alike."""
        return second_side(node.cosines > node.alpha)


def second_side(alike: Bool[np.ndarray, "s s"]) -> Bool[np.ndarray, " s"]:
    r"""Tokens whose value in the second eigenvector is above the mean of all.

    .. math:: (D - A) v = \lambda D v, \qquad A_{ij} = 1 \text{ where alike, else } 10^{-5}

    The sign is that of the entry farthest from 0, which is taken to be above. Where all pairs of different tokens have
    the same weight, no vector comes second, and all tokens stay on the first side.

    Reference:
        Shi & Malik, "Normalized Cuts and Image Segmentation", PAMI 2000; the weights are those of TokenCut.
    """
    others = alike[~np.eye(len(alike), dtype=bool)]
    if others.all() or not others.any():
        return np.zeros(len(alike), dtype=bool)
    vector = second_eigenvector(np.where(alike, 1.0, UNLIKE))
    return vector > vector.mean()


def second_eigenvector(weights: Float[np.ndarray, "s s"]) -> Float[np.ndarray, " s"]:
    """Of the generalised problem, for the second smallest eigenvalue; the entry farthest from 0 is positive."""
    degree = weights.sum(axis=1)
    _, vectors = eigh(np.diag(degree) - weights, np.diag(degree), subset_by_index=[1, 1])
    vector = vectors[:, 0]
    return vector * np.sign(vector[np.abs(vector).argmax()])
