r"""k-sums with two sides: tokens change sides, one at a time, as long as that lowers the sum over pairs on one side.

The objective is

.. math:: J = \sum_{r \in \{0, 1\}} n_r \sum_{i \in S_r} \lVert x_i - \mu_r \rVert^2
            = \sum_r \sum_{i < j \in S_r} \lVert x_i - x_j \rVert^2

With :math:`d(x, S) = n_S \lVert x \rVert^2 - 2 x \cdot \sum_{j \in S} x_j + \sum_{j \in S} \lVert x_j \rVert^2`,
a move from side w to side v lowers it by the gain :math:`d(x, S_w) - d(x, S_v)`. Written with :math:`\sigma_i = \pm 1`
for the sides and the inner products :math:`G` that the affinities need anyway,

.. math:: \text{gain}_i = \sigma_i \bigl(m G_{ii} - 2 t_i + p\bigr), \qquad
          m = \sum_j \sigma_j, \quad t_i = \sum_j \sigma_j G_{ij}, \quad p = \sum_j \sigma_j G_{jj},

so that looking at a token takes no product at all, and a move one pass over a row of G. (W.-L. Zhao et al., k-sums.)
"""

from typing import Any, ClassVar, Literal, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Generator

from seekloop.contracts.compiled import REORDER, compiled
from seekloop.contracts.declared import Count, component
from seekloop.regions.cuts import Node, Variant

Array = NDArray[Any]
# Of the gain per token of the node: what rounding of products in single precision can feign.
_ROUNDING = 1e-6


@component
class KSums:
    """Cut a node in two by k-sums.

    Args:
        start: the sides to start from. degree: the tokens nearer to either of two seeds, those alike to the fewest and
            to the most tokens of the node (of several, the first and the last); random: any half of the tokens, and the
            other half, as k-sums has it without a prior (Table VII).
        epochs: most passes over all tokens of the node.
    """

    revision: ClassVar[int] = 2

    start: Literal["degree", "random"] = "degree"
    epochs: Count = 500

    def __call__(self, node: Node, variant: Variant, rng: Generator) -> Bool[np.ndarray, " s"]:
        """Tokens of the node on the second side. Every pass visits them in the same order, drawn from `rng`."""
        if self.start == "random":
            side = (torch.randperm(len(node.members), generator=rng) < len(node.members) // 2).numpy()
        else:
            side = nearer(node.cosines[list(by_degree(node.alike))], node.alpha if variant.released else None)
        order = torch.randperm(len(side), generator=rng).numpy()
        return k_sums(node.cosines, side, order, self.epochs, variant.released)


def by_degree(alike: Int[np.ndarray, " s"]) -> tuple[int, int]:
    """The first of the tokens that are alike to the fewest, the last of those alike to the most.

    Example:
        >>> by_degree(np.array([2, 1, 3, 1, 3]))
        (1, 4)
    """
    return int(alike.argmin()), len(alike) - 1 - int(alike[::-1].argmax())


def nearer(cosines: Float[np.ndarray, "2 s"], alpha: float | None) -> Bool[np.ndarray, " s"]:
    """Mask of the tokens that are nearer to the second of two seeds than to the first.

    Args:
        cosines: of all tokens with each of the two.
        alpha: where given, only whether a cosine is above it counts.

    Example:
        >>> cosines = np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.4]])
        >>> nearer(cosines, None).tolist(), nearer(cosines, 0.35).tolist()
        ([True, True, False], [False, True, False])
    """
    compared = cosines if alpha is None else cosines > alpha
    return compared[1] > compared[0]


def k_sums(
    products: Float[np.ndarray, "s s"],
    side: Bool[np.ndarray, " s"],
    order: Int[np.ndarray, " s"],
    epochs: int,
    released: bool,
) -> Bool[np.ndarray, " s"]:
    """Move tokens until no single move lowers the objective of this module.

    Args:
        products: G, symmetric, float32.
        side: where they start: on the first (False) or the second side.
        order: in which they are visited.
        epochs: most passes over them.
        released: whether a move needs a gain above the token's squared length (from the second side to the first: at
            least that), as in the released code; else any that is more than rounding.

    Returns:
        Which tokens are on the second side in the end.
    """
    sign = np.where(side, 1.0, -1.0)
    _settle(products, sign, order, epochs, released, _ROUNDING * len(sign))
    return sign > 0


# `no_type_check` keeps the shape hook of the tests away from functions that numba must see as they are written.
@compiled(REORDER)
@no_type_check
def _signed_sum(row: Array, sign: Array) -> float:
    total = 0.0
    for k in range(row.shape[0]):
        total += sign[k] * row[k]
    return total


@compiled(REORDER)
@no_type_check
def _subtract(step: float, row: Array, sums: Array) -> None:
    for k in range(row.shape[0]):
        sums[k] -= step * row[k]


@compiled(False)
@no_type_check
def _settle(products: Array, sign: Array, order: Array, epochs: int, released: bool, rounding: float) -> None:
    """Pass over the tokens, in place, until none moves; sums in float64 do not drift."""
    size = sign.shape[0]
    sums = np.empty(size)
    balance, lengths = 0.0, 0.0
    for i in range(size):
        sums[i] = _signed_sum(products[i], sign)
        balance += sign[i]
        lengths += sign[i] * products[i, i]
    for _ in range(epochs):
        moved = False
        for p in range(size):
            i = order[p]
            square = np.float64(products[i, i])
            gain = sign[i] * (balance * square - 2.0 * sums[i] + lengths)
            enough = square if released else rounding
            if gain > enough or (released and gain == enough and sign[i] > 0.0):
                step = 2.0 * sign[i]
                sign[i] = -sign[i]
                _subtract(step, products[i], sums)
                balance -= step
                lengths -= step * square
                moved = True
        if not moved:
            return
