r"""Dual coordinate descent for the linear SVM with squared hinge, compiled with numba.

The dual of the objective (see `objective`), with the constant feature written into :math:`\tilde x_i = (x_i, 1)`, is

.. math:: \min_{\alpha \ge 0} \; \tfrac12 \|\tilde w\|^2 + \sum_i \frac{\alpha_i^2}{4 C s_i} - \sum_i \alpha_i,
          \qquad \tilde w = \tilde w_0 + \sum_i y_i \alpha_i \tilde x_i

where :math:`w_0` is the point that w is pulled to: 0 for the plain machine. One coordinate at a time is minimised in
closed form, in an order shuffled anew for every pass; coordinates that rest at 0 are set aside until the others are
done (Hsieh, Chang, Lin, Keerthi, Sundararajan: A dual coordinate descent method for large-scale linear SVM, ICML 2008).
"""

from collections.abc import Callable
from typing import Any, no_type_check

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Sums may be reordered (that is what makes them vector instructions), but NaN and infinity keep their meaning.
_REORDER = {"reassoc", "contract", "nsz", "arcp"}
_SMALLEST_STEP = 1e-14
_FIRST_STATE = 0x9E3779B97F4A7C15


def compiled(fastmath: bool | set[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit` with the machine code kept on disk, or without where no folder can be written."""

    def compile_one(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            return numba.njit(nogil=True, fastmath=fastmath)(function)

    return compile_one


# `no_type_check` keeps the shape hook of the tests away from functions that numba must see as they are written.
@compiled(_REORDER)
@no_type_check
def _dot(row: Array, weights: Array) -> float:
    total = 0.0
    for k in range(row.shape[0]):
        total += row[k] * weights[k]
    return total


@compiled(_REORDER)
@no_type_check
def _add(step: float, row: Array, weights: Array) -> None:
    for k in range(row.shape[0]):
        weights[k] += step * row[k]


@compiled(False)
@no_type_check
def _start(rows: Array, labels: Array, ridge: Array, duals: Array, weights: Array) -> tuple[Array, float]:
    """Curvature of every coordinate (infinite for rows without weight); the intercept of the starting point."""
    curvature = np.empty(rows.shape[0])
    intercept = 0.0
    for i in range(rows.shape[0]):
        curvature[i] = _dot(rows[i], rows[i]) + 1.0 + ridge[i]
        if not np.isfinite(ridge[i]):
            duals[i] = 0.0
        elif duals[i] > 0.0:
            _add(labels[i] * duals[i], rows[i], weights)
            intercept += labels[i] * duals[i]
    return curvature, intercept


@compiled(False)
@no_type_check
def _shuffle(order: Array, active: int, state: np.uint64) -> np.uint64:
    """Shuffle the first `active` entries by a xorshift generator, whose next state is returned."""
    for p in range(active - 1):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        other = p + np.int64(state % np.uint64(active - p))
        order[p], order[other] = order[other], order[p]
    return state


@compiled(False)
@no_type_check
def _descend(
    rows: Array, labels: Array, ridge: Array, duals: Array, weights: Array, tol: float, max_iter: int
) -> tuple[float, int]:
    """Minimise in place; returns the intercept and the passes made, max_iter + 1 where they did not suffice."""
    curvature, intercept = _start(rows, labels, ridge, duals, weights)
    order = np.flatnonzero(np.isfinite(ridge))
    usable = order.shape[0]
    active = usable
    rest_above = np.inf  # a coordinate at 0 whose gradient is above this is set aside
    state = np.uint64(_FIRST_STATE)
    for iteration in range(max_iter):
        state = _shuffle(order, active, state)
        worst, highest = 0.0, 0.0
        p = 0
        while p < active:
            i = order[p]
            gradient = labels[i] * (_dot(rows[i], weights) + intercept) - 1.0 + ridge[i] * duals[i]
            if duals[i] == 0.0 and gradient > rest_above:
                active -= 1
                order[p], order[active] = order[active], order[p]
                continue
            projected = min(gradient, 0.0) if duals[i] == 0.0 else gradient
            worst, highest = max(worst, abs(projected)), max(highest, projected)
            if abs(projected) > _SMALLEST_STEP:
                updated = max(duals[i] - gradient / curvature[i], 0.0)
                step = labels[i] * (updated - duals[i])
                duals[i] = updated
                _add(step, rows[i], weights)
                intercept += step
            p += 1
        if worst < tol and active == usable:
            return intercept, iteration + 1
        if worst < tol:  # the coordinates in play are done: look at all of them again
            active, rest_above = usable, np.inf
        else:
            rest_above = highest if highest > 0.0 else np.inf
    return intercept, max_iter + 1


def descend(
    rows: Array,
    labels: NDArray[np.float64],
    ridge: NDArray[np.float64],
    duals: NDArray[np.float64],
    weights: NDArray[np.float64],
    tol: float,
    max_iter: int,
) -> tuple[float, int]:
    """Solve one problem. The interpreter lock is released, so problems can be solved side by side in threads.

    Args:
        rows: (r, d), C-contiguous, float32 or float64.
        labels: (r), +1 or -1.
        ridge: (r), :math:`1 / (2 C s_i)`; infinity where a row has no weight.
        duals: (r), the starting point, at least 0; holds the solution afterwards.
        weights: (d), the point that w is pulled to; holds w afterwards.
        tol: largest projected gradient of any coordinate in a whole pass at which to stop.
        max_iter: most passes.

    Returns:
        the intercept, and the passes made: `max_iter + 1` where they did not suffice.
    """
    intercept, passes = _descend(rows, labels, ridge, duals, weights, tol, max_iter)
    return float(intercept), int(passes)
