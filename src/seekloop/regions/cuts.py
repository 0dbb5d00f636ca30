"""A set of tokens that may be cut in two, by k-sums (`ksums.py`) or by the normalised cut."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, no_type_check, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Generator

from seekloop.contracts.compiled import compiled
from seekloop.contracts.declared import component
from seekloop.regions.graph import Solver, above_mean, cut_vector, peak_positive

Array = NDArray[Any]


@dataclass(frozen=True)
class Variant:
    """Differences between CLAID's paper and the code released with it; those of thresholds: conf/detector/claid.yaml.

    Attributes:
        released: whether a token changes sides only for a gain above its own squared length (equal to it is enough
            from the second side to the first), and nearness to the two seeds at the start is that of thresholded
            affinities, where ties go to the first. In the paper any gain is enough, and nearness is the cosine's.
        diagonal: whether a token's likeness to itself counts among the likenesses inside a component, though not in
            the number of pairs that they are divided by.
        cuts_root: whether the whole image is cut however alike its tokens are.
    """

    released: bool
    diagonal: bool
    cuts_root: bool


VARIANTS = {
    "paper": Variant(released=False, diagonal=False, cuts_root=False),
    "released": Variant(released=True, diagonal=True, cuts_root=True),
}


@dataclass(frozen=True)
class Node:
    """Some of an image's tokens, and how alike they are.

    Attributes:
        members: their positions in the map of tokens, row by row, ascending.
        cosines: of each with each.
        alike: how many of them are alike to each, that is have a cosine above alpha; itself included.
        alpha: that threshold.
    """

    members: Int[np.ndarray, " s"]
    cosines: Float[np.ndarray, "s s"]
    alike: Int[np.ndarray, " s"]
    alpha: float

    def part(self, members: Int[np.ndarray, " t"], within: Int[np.ndarray, " t"]) -> "Node":
        """Those at the positions `within` this node."""
        cosines, alike = _restricted(self.cosines, within, self.alpha)
        return Node(members, cosines, alike, self.alpha)

    @property
    def pairs(self) -> int:
        """Of two different tokens, in order."""
        return len(self.members) * (len(self.members) - 1)

    @property
    def alike_pairs(self) -> int:
        """Those of them that are alike."""
        return int(self.alike.sum()) - self.alike_to_themselves

    @property
    def alike_to_themselves(self) -> int:
        """All tokens but those of length 0."""
        return int((self.cosines.diagonal() > self.alpha).sum())


@runtime_checkable
class Bisect(Protocol):
    """A way of cutting a node in two."""

    def __call__(self, node: Node, variant: Variant, rng: Generator) -> Bool[np.ndarray, " s"]:
        """Mask of the second side; all tokens on one side where there is nothing to cut."""
        ...


@component
class NormalisedCut:
    r"""Cut a node in two where the relaxed normalised cut of its thresholded graph is above its mean.

    .. math:: (D - A) v = \lambda D v, \qquad A_{ij} = 1 \text{ where alike, else } 10^{-5}

    v belongs to the second smallest eigenvalue. Its sign is such that the entry farthest from 0 is above; entries that
    are equal up to rounding are equal, here as in `TokenCut`. Where all
    pairs of different tokens have the same weight, no vector comes second, and there is no cut.

    Args:
        solver: dense, as TokenCut's authors do, or lanczos; see `graph.later_vectors`.

    Reference:
        Shi & Malik, "Normalized Cuts and Image Segmentation", PAMI 2000; the weights are those of TokenCut.
    """

    revision: ClassVar[int] = 2

    solver: Solver = "lanczos"

    def __call__(self, node: Node, variant: Variant, rng: Generator) -> Bool[np.ndarray, " s"]:
        """The second side; both variants cut alike, and only a starting point is drawn."""
        vector = cut_vector(node.cosines > node.alpha, self.solver, rng)
        if vector is None:
            return np.zeros(len(node.members), dtype=bool)
        return above_mean(peak_positive(vector))


# `no_type_check` keeps the shape hook of the tests away from functions that numba must see as they are written.
@compiled(False)
@no_type_check
def _restricted(cosines: Array, within: Array, alpha: float) -> tuple[Array, Array]:
    """Rows and columns of a part, and how many of each row are above alpha."""
    size = within.shape[0]
    part = np.empty((size, size), cosines.dtype)
    alike = np.empty(size, np.int64)
    for i in range(size):
        row = cosines[within[i]]
        count = 0
        for j in range(size):
            value = row[within[j]]
            part[i, j] = value
            count += value > alpha
        alike[i] = count
    return part, alike
