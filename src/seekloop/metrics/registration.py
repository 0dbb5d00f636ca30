"""Error of an affine map between two pictures against the true one."""

import numpy as np
from jaxtyping import Float


def transfer_errors(
    map: Float[np.ndarray, "2 3"], truth: Float[np.ndarray, "2 3"], points: Float[np.ndarray, "p 2"]
) -> Float[np.ndarray, " p"]:
    r"""Distance, at some points of the first picture, between where a map and the true map bring them.

    .. math:: e_i = \lVert M x_i - M^\star x_i \rVert_2

    Args:
        map: (x, y) goes to (m00 x + m01 y + m02, m10 x + m11 y + m12), in pixels or in fractions.
        truth: likewise.
        points: (x, y) in the first picture.

    Example:
        >>> shift = np.array([[1.0, 0, 3], [0, 1, 4]])
        >>> transfer_errors(shift, np.eye(2, 3), np.array([[0.0, 0], [7, 9]]))
        array([5., 5.])
    """
    difference = map - truth
    return np.linalg.norm(points @ difference[:, :2].T + difference[:, 2], axis=1)


def median_transfer_error(
    map: Float[np.ndarray, "2 3"] | None, truth: Float[np.ndarray, "2 3"], points: Float[np.ndarray, "p 2"]
) -> float:
    """Median of `transfer_errors`; infinity where no map was found.

    Raises:
        ValueError: without points.
    """
    if not len(points):
        raise ValueError("the error of a map is measured at points, and there are none")
    return float("inf") if map is None else float(np.median(transfer_errors(map, truth, points)))


def inverse(map: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """The affine map that undoes another one.

    Example:
        >>> inverse(np.array([[2.0, 0, 4], [0, 1, 3]])).tolist()
        [[0.5, 0.0, -2.0], [0.0, 1.0, -3.0]]
    """
    linear = np.linalg.inv(map[:, :2])
    return np.column_stack([linear, -linear @ map[:, 2]])


def after(second: Float[np.ndarray, "2 3"], first: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """The affine map that is `first`, then `second`.

    Example:
        >>> after(np.array([[2.0, 0, 0], [0, 2, 0]]), np.array([[1.0, 0, 4], [0, 1, 3]])).tolist()
        [[2.0, 0.0, 8.0], [0.0, 2.0, 6.0]]
    """
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])
