"""A set of tokens that may be cut in two, and what a way of cutting must do."""

from dataclasses import dataclass
from typing import Any, Protocol, no_type_check, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Generator

from seekloop.contracts.compiled import compiled

Array = NDArray[Any]
UNLIKE = 1e-5  # weight of an edge between tokens that are not alike; those that are have 1


@dataclass(frozen=True)
class Variant:
    """Where CLAID's paper and the code released with it part; thresholds that differ stand in conf/detector/claid.yaml.

    Attributes:
        released: whether a token changes sides only for a gain above its own squared length (equal to it is enough
            from the second side to the first), and nearness to the two seeds at the start is that of thresholded
            affinities, where ties go to the first. In the paper any gain is enough, and nearness is the cosine's.
        diagonal: whether a token's likeness to itself counts among the likenesses inside a component, though not in
            the number of pairs that they are divided by.
    """

    released: bool
    diagonal: bool


VARIANTS = {"paper": Variant(released=False, diagonal=False), "parity": Variant(released=True, diagonal=True)}


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
        """Which tokens are on the second side; all on one side where there is nothing to cut."""
        ...


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
