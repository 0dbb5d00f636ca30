"""Regions of one image: masks on its map of tokens, the boxes around them, and their connected components."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import label  # type: ignore[attr-defined]
from torch import Generator, Tensor

Connectivity = Literal[4, 8]
"""Connectivity of tokens: 4 connects those that share an edge, 8 also those that share a corner."""
TOUCHING = {4: np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]), 8: np.ones((3, 3), dtype=int)}


@dataclass(frozen=True)
class Segments:
    """The regions found in one image; there may be none.

    Attributes:
        masks: which tokens each region consists of; no mask is empty.
        level: depth in a hierarchy: 1 for parts of the image, 2 for parts of those, ...; 0 where a method has none.
        score: how much the method takes each region for an object; only the order within an image has a meaning.
        affine: share of the pairs of tokens, each with itself left out, that the method's threshold calls alike; None
            where it has no threshold. Near 0 or 1 the graph says nothing about the image.
    """

    masks: Bool[Tensor, "m h w"]
    level: Int[Tensor, " m"]
    score: Float[Tensor, " m"]
    affine: float | None
    other_boxes: Float[Tensor, "m 4"] | None = None
    """Of a method that is to repeat published code, which has them otherwise; None: the boxes around the masks."""
    saliency: Float[Tensor, "h w"] | None = None
    """The saliency map that the regions were found in; None of a method that has none."""

    @cached_property
    def boxes(self) -> Float[Tensor, "m 4"]:
        """The box around each mask, edges of tokens included, in fractions of the image."""
        return mask_boxes(self.masks) if self.other_boxes is None else self.other_boxes

    @staticmethod
    def ranked(masks: Sequence[Bool[np.ndarray, "h w"]], size: tuple[int, int], affine: float | None) -> "Segments":
        """Regions without a hierarchy, the first ones being the most likely objects; empty masks are left out."""
        kept = torch.from_numpy(np.array([mask for mask in masks if mask.any()], dtype=bool).reshape(-1, *size))
        score = 1 / torch.arange(1.0, len(kept) + 1, dtype=torch.float32)
        return Segments(kept, torch.zeros(len(kept), dtype=torch.long), score, affine)


@runtime_checkable
class Detector(Protocol):
    """A region method, `conf/detector/*.yaml`: one image's map of tokens (or keys) in, its regions out."""

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """Find regions. `rng` is the image's own generator, on the CPU."""
        ...


@runtime_checkable
class KnowsImage(Protocol):
    """A detector whose regions depend on which image of the collection it is, not on its map alone."""

    def of_image(self, image: int) -> Detector:
        """The detector for the image at this position."""
        ...


def mask_boxes(masks: Bool[Tensor, "m h w"]) -> Float[Tensor, "m 4"]:
    """(x0, y0, x1, y1) in [0, 1] from the first token's near edge to the last token's far edge.

    Raises:
        ValueError: if a mask is empty: it has no box.

    Example:
        >>> mask = torch.zeros(1, 4, 5, dtype=torch.bool)
        >>> mask[0, 1, 2:4] = True
        >>> mask_boxes(mask)
        tensor([[0.4000, 0.2500, 0.8000, 0.5000]])
    """
    if not bool(masks.flatten(1).any(dim=1).all()):
        raise ValueError("an empty mask has no box")
    edges = []
    for inside in (masks.any(dim=1).int(), masks.any(dim=2).int()):  # along x, then along y
        tokens = inside.shape[1]
        edges.append((inside.argmax(dim=1).float() / tokens, (tokens - inside.flip(1).argmax(dim=1)).float() / tokens))
    (x0, x1), (y0, y1) = edges
    return torch.stack([x0, y0, x1, y1], dim=1)


def components(mask: Bool[np.ndarray, "h w"], connectivity: Connectivity, smallest: int) -> list[Int[np.ndarray, " s"]]:
    """Connected components of a mask.

    Args:
        mask: True is inside.
        connectivity: see `Connectivity`.
        smallest: components of fewer tokens are left out.

    Returns:
        Positions of each one's tokens, row by row, ascending; components by their first position.

    Example:
        >>> components(np.eye(2, dtype=bool), 8, 1)
        [array([0, 3])]
        >>> components(np.eye(2, dtype=bool), 4, 1)
        [array([0]), array([3])]
    """
    labels, _ = label(mask, TOUCHING[connectivity])
    inside = np.flatnonzero(labels)
    numbers = labels.reshape(-1)[inside]
    parts = np.split(inside[np.argsort(numbers, kind="stable")], np.bincount(numbers)[1:].cumsum())[:-1]
    return [part for part in parts if len(part) >= smallest]


def piece_of(mask: Bool[np.ndarray, "h w"], seed: int, connectivity: Connectivity) -> Bool[np.ndarray, "h w"]:
    """The component of a mask that holds a token, counted row by row; empty where the token is outside.

    Example:
        >>> piece_of(np.array([[True, False, True], [True, False, True]]), 5, 4).tolist()
        [[False, False, True], [False, False, True]]
    """
    labels, _ = label(mask, TOUCHING[connectivity])
    return mask & (labels == labels.reshape(-1)[seed])


def largest_piece(mask: Bool[np.ndarray, "h w"], connectivity: Connectivity) -> Bool[np.ndarray, "h w"]:
    """The component of most tokens, the first of equals; empty where the mask is.

    Example:
        >>> largest_piece(np.array([[True, False, True], [False, False, True]]), 4).tolist()
        [[False, False, True], [False, False, True]]
    """
    labels, _ = label(mask, TOUCHING[connectivity])
    return mask & (labels == np.bincount(labels[mask], minlength=2).argmax())
