"""Connected components of a mask."""

import numpy as np
from jaxtyping import Bool, Int
from scipy.ndimage import label  # type: ignore[attr-defined]

TOUCHING = {4: np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]), 8: np.ones((3, 3), dtype=int)}


def components(mask: Bool[np.ndarray, "h w"], neighbours: int, smallest: int) -> list[Int[np.ndarray, " s"]]:
    """Parts of a mask that hang together.

    Args:
        mask: True is inside.
        neighbours: 4: cells that share an edge hang together; 8: those that share a corner too.
        smallest: parts of fewer cells are left out.

    Returns:
        Positions of each part, row by row, ascending; parts by their first position.

    Raises:
        ValueError: if `neighbours` is neither 4 nor 8.

    Example:
        >>> components(np.eye(2, dtype=bool), 8, 1)
        [array([0, 3])]
        >>> components(np.eye(2, dtype=bool), 4, 1)
        [array([0]), array([3])]
    """
    if neighbours not in TOUCHING:
        raise ValueError(f"neighbours={neighbours}: a cell has 4, or 8 with its corners")
    labels, _ = label(mask, TOUCHING[neighbours])
    inside = np.flatnonzero(labels)
    numbers = labels.reshape(-1)[inside]
    parts = np.split(inside[np.argsort(numbers, kind="stable")], np.bincount(numbers)[1:].cumsum())[:-1]
    return [part for part in parts if len(part) >= smallest]
