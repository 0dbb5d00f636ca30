"""Deep spectral segmentation: objects as eigenvectors of the graph of an image's attention keys."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, component
from seekloop.regions.graph import Solver, cosines_of, later_vectors, peak_positive, rows_of, says_nothing
from seekloop.regions.segments import Connectivity, Segments, largest_piece

ROUNDING = 1e-9  # of an eigenvector's largest entry: smaller entries are 0


@component
class DeepSpectral:
    r"""The largest piece of where the second eigenvector is positive; and, if asked for, of later ones.

    .. math:: (D - W) v = \lambda D v, \qquad W_{ij} = \max(\cos(x_i, x_j), 0) / \max_{kl} W_{kl}

    v has the sign by which fewer of its entries are positive: objects are smaller than what is around them. The
    authors turn v where more than half of it is positive, the same unless entries are 0. They say little of how one
    object is cut out of v; here it is all of the largest connected piece of v > 0. There is no term for colour, as
    in their localisation. No region where all pairs of tokens are equally alike. Meant for keys of the last block's
    attention; there is no threshold on likeness.

    Args:
        vectors: how many eigenvectors give a region each, from the second on, where there are so many; regions of
            different vectors may overlap, equal ones are kept once. 1 is the authors' localisation.
        connectivity: 4 neighbours of a token, or 8.
        centre: whether to take the mean token off first; the authors do not.
        solver: of the eigenvectors: lanczos, or dense as the authors; see `later_vectors`.

    Raises:
        ConfigError: if a setting is out of its range.

    Reference:
        Melas-Kyriazi et al., "Deep Spectral Methods: A Surprisingly Strong Baseline for Unsupervised Semantic
        Segmentation and Localization", CVPR 2022.
    """

    revision: ClassVar[int] = 2

    vectors: Count = 1
    connectivity: Connectivity = 4
    centre: bool = False
    solver: Solver = "lanczos"

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """Regions in the order of their eigenvalues, scores falling.

        Raises:
            ValueError: if a token is not finite.
        """
        h, w, _ = tokens.shape
        weights = cosines_of(rows_of(tokens, self.centre)).clamp(min=0).double().numpy()
        if says_nothing(weights):
            return Segments.ranked([], (h, w), None)
        weights /= weights.max()
        vectors = later_vectors(weights, self.vectors, self.solver, rng)
        sides = [(minority_positive(vector) > 0).reshape(h, w) for vector in vectors.T]
        pieces = {piece.tobytes(): piece for piece in (largest_piece(side, self.connectivity) for side in sides)}
        return Segments.ranked(list(pieces.values()), (h, w), None)


def minority_positive(vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """With the sign by which fewer entries are positive; if both give as many, the one farthest from 0 is positive.

    Entries that are 0 up to rounding become 0.

    Example:
        >>> minority_positive(np.array([1.0, 2.0, -3.0])).tolist()
        [-1.0, -2.0, 3.0]
    """
    vector = peak_positive(np.where(np.abs(vector) > ROUNDING * np.abs(vector).max(), vector, 0.0))
    return -vector if (vector > 0).sum() > (vector < 0).sum() else vector
