"""LOST: the one object of an image, grown from the token that the fewest others resemble."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, component
from seekloop.regions.graph import products_of, rows_of, share_of_pairs
from seekloop.regions.segments import Connectivity, Segments, piece_of


@component
class Lost:
    r"""One region around a seed: its connected component in all that the seed and its like resemble.

    Objects cover less of an image than background does, and resemble themselves: the seed is the token of lowest
    degree,

    .. math:: p^* = \arg\min_p d_p, \qquad d_p = |\{q \ne p : x_p \cdot x_q > 0\}|

    and the seeds S are the k tokens of lowest degree, as far as they correlate positively with it. The mask is where

    .. math:: \sum_{s \in S} a_{qs} > 0

    and the region its piece with the seed. Equal degrees go by position. No region where all pairs of tokens correlate
    positively, or none does, or where the seed has length 0. Tokens are taken as long as they are, meant for keys of
    the last block's attention.

    Args:
        k: most seeds.
        affinity: what a is: real, the product itself, as released, by which the mask is what resembles the seeds on the
            whole; or binary, as the paper's equations 1 to 3 write it, 1 where the product is positive and else 0, by
            which it is all that resembles any of them.
        connectivity: 4 neighbours of a token, or 8.
        centre: whether to take the mean token off first; the authors do not.

    Raises:
        ConfigError: if a setting is out of its range.

    Reference:
        Siméoni et al., "Localizing Objects with Self-Supervised Transformers and no Labels", BMVC 2021.
    """

    k: Count = 100
    affinity: Literal["real", "binary"] = "real"
    connectivity: Connectivity = 4
    centre: bool = False

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """The object, if there is one; `affine` is the share of pairs that correlate positively.

        Raises:
            ValueError: if a token is not finite.
        """
        h, w, _ = tokens.shape
        products = products_of(rows_of(tokens, self.centre)).numpy()
        affine = share_of_pairs(products > 0)
        if affine is None or affine in (0.0, 1.0):
            return Segments.ranked([], (h, w), affine)
        seeds = seeds_of(products, self.k)
        weights = products[seeds] if self.affinity == "real" else products[seeds] > 0
        mask = weights.sum(axis=0, dtype=np.float64) > 0
        return Segments.ranked([piece_of(mask.reshape(h, w), int(seeds[0]), self.connectivity)], (h, w), affine)


def degrees(products: Float[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """With how many other tokens each correlates positively.

    Example:
        >>> degrees(np.array([[2.0, 1.0, -1.0], [1.0, 2.0, 0.0], [-1.0, 0.0, 2.0]]))
        array([1, 1, 0])
    """
    positive = products > 0
    return positive.sum(axis=1) - positive.diagonal()


def seeds_of(products: Float[np.ndarray, "n n"], k: int) -> Int[np.ndarray, " s"]:
    """The token of lowest degree, then those of the k lowest that correlate positively with it."""
    lowest = np.argsort(degrees(products), kind="stable")[:k]
    seed = lowest[0]
    kept = (products[seed, lowest] > 0) | (lowest == seed)
    return lowest[kept]
