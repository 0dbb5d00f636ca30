r"""Dual coordinate descent for the linear SVM with squared hinge, compiled with numba.

The dual of the objective (see `objective`), with the constant feature written into :math:`\tilde x_i = (x_i, 1)`, is

.. math:: \min_{\alpha \ge 0} \; \tfrac12 \|\tilde w\|^2 + \sum_i \frac{\alpha_i^2}{4 C s_i} - \sum_i \alpha_i,
          \qquad \tilde w = \tilde w_0 + \sum_i y_i \alpha_i \tilde x_i

where :math:`w_0` is the point that w is pulled to: 0 for the plain machine. One coordinate at a time is minimised in
closed form, in an order shuffled anew for every pass; coordinates that rest at 0 are set aside until the others are
done (Hsieh, Chang, Lin, Keerthi, Sundararajan: A dual coordinate descent method for large-scale linear SVM, ICML 2008).
"""

from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from seekloop.contracts.compiled import REORDER, compiled

Array = NDArray[Any]

_SMALLEST_STEP = 1e-14
_FIRST_STATE = 0x9E3779B97F4A7C15


# `no_type_check` keeps the shape hook of the tests away from functions that numba must see as they are written.
@compiled(REORDER)
@no_type_check
def _dot(row: Array, weights: Array) -> float:
    total = weights.dtype.type(0)
    for k in range(row.shape[0]):
        total += row[k] * weights[k]
    return total


@compiled(REORDER)
@no_type_check
def _add(step: float, row: Array, weights: Array) -> None:
    factor = weights.dtype.type(step)
    for k in range(row.shape[0]):
        weights[k] += factor * row[k]


@compiled(False)
@no_type_check
def _start(
    table: Array, index: Array, labels: Array, ridge: Array, duals: Array, weights: Array
) -> tuple[Array, float]:
    """Curvature of every coordinate (infinite for rows without weight); the intercept of the starting point.

    The intercept is NaN where a row has values that are not finite.
    """
    curvature = np.empty(index.shape[0])
    intercept = 0.0
    for i in range(index.shape[0]):
        row = table[index[i]]
        square = _dot(row, row)
        if not np.isfinite(square):
            return curvature, np.nan
        curvature[i] = square + 1.0 + ridge[i]
        if not np.isfinite(ridge[i]):
            duals[i] = 0.0
        elif duals[i] > 0.0:
            _add(labels[i] * duals[i], row, weights)
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
def descend(
    table: Array, index: Array, labels: Array, ridge: Array, duals: Array, weights: Array, tol: float, max_iter: int
) -> tuple[float, int]:
    """Solve one SVM in place: `duals` and `weights` are overwritten.

    The interpreter lock is released, so problems can be solved side by side in threads.

    Args:
        table: (t, d), C-contiguous, float32 or float64.
        index: (r), int64, the rows of the table that this problem is about.
        labels: (r), float64, +1 or -1.
        ridge: (r), float64, :math:`1 / (2 C s_i)`; infinity where a row has no weight.
        duals: (r), float64, the starting point, at least 0; holds the solution afterwards.
        weights: (d), the point that w is pulled to; holds w afterwards. Sums are made in its precision.
        tol: a whole pass in which no projected gradient exceeds this in absolute value is the last.
        max_iter: most passes.

    Returns:
        the intercept, NaN where a row is not finite, and the passes made: `max_iter + 1` where they did not suffice.
    """
    curvature, intercept = _start(table, index, labels, ridge, duals, weights)
    if np.isnan(intercept):
        return intercept, 0
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
            row = table[index[i]]
            gradient = labels[i] * (_dot(row, weights) + intercept) - 1.0 + ridge[i] * duals[i]
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
                _add(step, row, weights)
                intercept += step
            p += 1
        if worst < tol and active == usable:
            return intercept, iteration + 1
        if worst < tol:  # the coordinates in play are done: look at all of them again
            active, rest_above = usable, np.inf
        else:
            rest_above = highest if highest > 0.0 else np.inf
    return intercept, max_iter + 1
