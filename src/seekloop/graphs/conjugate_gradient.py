r"""Conjugate gradient on :math:`(I - \alpha \mathcal{W}) Z = Y` for many columns of Y, compiled with numba.

Every column follows its own iteration: sums run over the images in their order, so a column's result does not depend on
which others are solved beside it, nor on the number of threads.
"""

from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from seekloop.contracts.compiled import compiled

Array = NDArray[Any]


# `no_type_check` keeps the shape hook of the tests away from functions that numba must see as they are written.
@compiled(False)
@no_type_check
def _apply(start: Array, index: Array, data: Array, alpha: float, x: Array, out: Array, products: Array) -> None:
    """Out becomes (I - alpha W) x; products the inner products of the columns of x and out."""
    products[:] = 0.0
    row = np.empty(x.shape[1], x.dtype)
    for i in range(x.shape[0]):
        row[:] = 0.0
        for k in range(start[i], start[i + 1]):
            weight = data[k]
            other = x[index[k]]
            for c in range(row.shape[0]):
                row[c] += weight * other[c]
        for c in range(row.shape[0]):
            value = x[i, c] - alpha * row[c]
            out[i, c] = value
            products[c] += x[i, c] * value


@compiled(False)
@no_type_check
def _descend(residual: Array, z: Array, direction: Array, applied: Array, step: Array, squares: Array) -> None:
    """One step of every column along its direction; squares become those of the new residuals."""
    squares[:] = 0.0
    for i in range(z.shape[0]):
        for c in range(z.shape[1]):
            z[i, c] += step[c] * direction[i, c]
            value = residual[i, c] - step[c] * applied[i, c]
            residual[i, c] = value
            squares[c] += value * value


@compiled(False)
@no_type_check
def _turn(residual: Array, direction: Array, factor: Array) -> None:
    for i in range(direction.shape[0]):
        for c in range(direction.shape[1]):
            direction[i, c] = residual[i, c] + factor[c] * direction[i, c]


@compiled(False)
@no_type_check
def conjugate_gradient(
    start: Array, index: Array, data: Array, alpha: float, y: Array, iterations: int, tolerance: float
) -> Array:
    r"""Solve for all columns of y, from 0, in at most so many iterations.

    Args:
        start: (n + 1), where each row of the matrix begins in `index` and `data`.
        index: columns of the entries.
        data: the entries, of the same type as y.
        alpha: :math:`\alpha`.
        y: (n, c), C-contiguous; overwritten.
        iterations: most iterations.
        tolerance: a column is left alone once its residual is at most so much of its right side, in length.

    Returns:
        Z, (n, c).
    """
    z, applied, direction = np.zeros_like(y), np.empty_like(y), y.copy()
    width = y.shape[1]
    squares, products, step = np.zeros(width), np.empty(width), np.empty(width, y.dtype)
    for i in range(y.shape[0]):
        for c in range(width):
            squares[c] += y[i, c] * y[i, c]
    enough, before = tolerance * tolerance * squares, squares.copy()
    for _ in range(iterations):
        if not np.any(squares > enough):
            break
        _apply(start, index, data, alpha, direction, applied, products)
        for c in range(width):
            open_ = squares[c] > enough[c] and products[c] != 0.0
            step[c] = squares[c] / products[c] if open_ else 0.0
        before[:] = squares
        _descend(y, z, direction, applied, step, squares)
        for c in range(width):
            step[c] = squares[c] / before[c] if before[c] > 0.0 else 0.0
        _turn(y, direction, step)
    return z
