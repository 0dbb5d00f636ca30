"""TokenCut: the one object of an image, by a normalised cut of the graph of its attention keys."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.regions.cuts import UNLIKE
from seekloop.regions.flood import check_connectivity, piece_of, segments_of
from seekloop.regions.likeness import cosines_of, rows_of, share_of_pairs
from seekloop.regions.segments import Segments
from seekloop.regions.spectral import check_solver, later_vectors, peak_positive, says_nothing


@dataclass(frozen=True)
class TokenCut:
    r"""The side of the relaxed normalised cut that holds its most decided token, as far as it hangs together there.

    .. math:: (D - A) v = \lambda_2 D v, \qquad A_{ij} = 1 \text{ if } \cos(x_i, x_j) > \tau, \text{ else } 10^{-5}

    The tokens are parted where v is above its mean. The seed is the token where :math:`|v|` is largest; if it is not
    above the mean, the sides change places: that is, v is taken with the sign that makes the seed's entry positive.
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

    tau: float
    connectivity: int
    centre: bool
    solver: str

    def __post_init__(self) -> None:
        check_tau(self.tau)
        check_connectivity(self.connectivity)
        check_solver(self.solver)

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
            return segments_of([], (h, w), affine)
        side, seed = foreground(vector)
        return segments_of([piece_of(side.reshape(h, w), seed, self.connectivity)], (h, w), affine)


def check_tau(tau: float) -> None:
    """Refuse what separates nothing.

    Raises:
        ConfigError: if no cosine is above it, or all are.
    """
    if not -1 < tau < 1:
        raise ConfigError("detector.tau", tau, "it is a cosine that some pairs exceed", "Usual: 0.2.")


def cut_vector(alike: Bool[np.ndarray, "n n"], solver: str, rng: Generator) -> Float[np.ndarray, " n"] | None:
    """The second eigenvector of the thresholded graph; None where all pairs of different tokens weigh the same."""
    weights = np.where(alike, 1.0, UNLIKE)
    return None if says_nothing(weights) else later_vectors(weights, 1, solver, rng)[:, 0]


def foreground(vector: Float[np.ndarray, " n"]) -> tuple[Bool[np.ndarray, " n"], int]:
    """The side of the entry farthest from 0, and which entry it is; the vector's sign makes no difference.

    Example:
        >>> foreground(np.array([1.0, -3.0, 2.0, -1.0]))
        (array([False,  True, False,  True]), 1)
    """
    vector = peak_positive(vector)
    return vector > vector.mean(), int(vector.argmax())
