"""TokenCut: the one object of an image, by a normalised cut of the graph of its attention keys."""

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from seekloop.contracts.declared import component
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


@component
class TokenCut:
    r"""The side of the relaxed normalised cut that holds its most decided token: the connected component of that token.

    .. math:: (D - A) v = \lambda_2 D v, \qquad A_{ij} = 1 \text{ if } \cos(x_i, x_j) > \tau, \text{ else } 10^{-5}

    The tokens are parted where v is above its mean. The seed is the token where :math:`|v|` is largest; if it is not
    above the mean, the sides change places: that is, v is taken with the sign that makes the seed's entry positive.
    Of entries that are equal up to rounding the first is the seed, so that all solvers find the same.
    One region, or none where all pairs of tokens are alike, or none is. Meant for keys of the last block's attention.

    Args:
        tau: cosine above which two tokens are alike.
        connectivity: 4 neighbours of a token, or 8.
        centre: whether to take the mean token off first; the authors do not.
        solver: of the eigenvector: lanczos, or dense as the authors; see `later_vectors`.

    Raises:
        ConfigError: if a setting is out of its range.

    Reference:
        Wang et al., "Self-supervised Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR 2022.
    """

    revision: ClassVar[int] = 2

    tau: Cosine = 0.2
    connectivity: Connectivity = 4
    centre: bool = False
    solver: Solver = "lanczos"

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """The object, if there is one; `affine` is the share of pairs above tau.

        Raises:
            ValueError: if a token is not finite.
        """
        h, w, _ = tokens.shape
        alike = (cosines_of(rows_of(tokens, self.centre)) > self.tau).numpy()
        affine = share_of_pairs(alike)
        vector = cut_vector(alike, self.solver, rng)
        if vector is None:
            return Segments.ranked([], (h, w), affine)
        side, seed = foreground(vector)
        return Segments.ranked([piece_of(side.reshape(h, w), seed, self.connectivity)], (h, w), affine)


def foreground(vector: Float[np.ndarray, " n"]) -> tuple[Bool[np.ndarray, " n"], int]:
    """The side of the entry farthest from 0, and which entry it is; the vector's sign makes no difference.

    Example:
        >>> foreground(np.array([1.0, -3.0, 2.0, -1.0]))
        (array([False,  True, False,  True]), 1)
    """
    vector = peak_positive(vector)
    return above_mean(vector), first_peak(vector)
