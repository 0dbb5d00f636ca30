"""Regions that hang together: the piece of a mask that holds a seed, or the largest one."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy.ndimage import label  # type: ignore[attr-defined]

from seekloop.contracts.errors import ConfigError
from seekloop.regions.components import TOUCHING
from seekloop.regions.segments import Segments


def piece_of(mask: Bool[np.ndarray, "h w"], seed: int, connectivity: int) -> Bool[np.ndarray, "h w"]:
    """The connected part of a mask that holds a token; empty where the token is outside.

    Args:
        mask: True is inside.
        seed: the token, counted row by row.
        connectivity: 4: tokens that share an edge hang together; 8: those that share a corner too.

    Example:
        >>> piece_of(np.array([[True, False, True], [True, False, True]]), 5, 4).tolist()
        [[False, False, True], [False, False, True]]
    """
    labels = _labels(mask, connectivity)
    return mask & (labels == labels.reshape(-1)[seed])


def largest_piece(mask: Bool[np.ndarray, "h w"], connectivity: int) -> Bool[np.ndarray, "h w"]:
    """The connected part of most tokens, the first of equals; empty where the mask is.

    Example:
        >>> largest_piece(np.array([[True, False, True], [False, False, True]]), 4).tolist()
        [[False, False, True], [False, False, True]]
    """
    labels = _labels(mask, connectivity)
    sizes = np.bincount(labels[mask], minlength=2)
    return mask & (labels == sizes.argmax())


def _labels(mask: Bool[np.ndarray, "h w"], connectivity: int) -> Int[np.ndarray, "h w"]:
    labels, _ = label(mask, TOUCHING[connectivity])
    return labels


def check_connectivity(connectivity: int) -> None:
    """Refuse what is no neighbourhood.

    Raises:
        ConfigError: if it is neither 4 nor 8.
    """
    if connectivity not in TOUCHING:
        why = "a token has 4 neighbours, or 8 with its corners"
        raise ConfigError("detector.connectivity", connectivity, why, "Choose 4 or 8.")


def segments_of(masks: Sequence[Bool[np.ndarray, "h w"]], size: tuple[int, int], affine: float | None) -> Segments:
    """Regions without a hierarchy, the first ones being the most likely objects; masks that are empty are left out."""
    kept = np.array([mask for mask in masks if mask.any()], dtype=bool).reshape(-1, *size)
    return Segments(
        torch.from_numpy(kept),
        torch.zeros(len(kept), dtype=torch.long),
        1 / torch.arange(1.0, len(kept) + 1, dtype=torch.float32),
        affine,
    )
