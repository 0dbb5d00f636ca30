"""What a region method finds in one image: masks on the map of tokens, and the boxes around them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor


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

    @cached_property
    def boxes(self) -> Float[Tensor, "m 4"]:
        """The box around each mask, edges of tokens included, in fractions of the image."""
        return mask_boxes(self.masks) if self.other_boxes is None else self.other_boxes


@runtime_checkable
class Detector(Protocol):
    """A region method, `conf/detector/*.yaml`: one image's map of tokens (or keys) in, its regions out."""

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """Find regions. `rng` is the image's own generator, on the CPU."""
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
    _, h, w = masks.shape
    columns, rows = masks.any(dim=1), masks.any(dim=2)
    if not bool(columns.any(dim=1).all()):
        raise ValueError("an empty mask has no box")
    x0, x1 = _ends(columns)
    y0, y1 = _ends(rows)
    return torch.stack([x0 / w, y0 / h, x1 / w, y1 / h], dim=1)


def _ends(inside: Bool[Tensor, "m t"]) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Position of the first True of each row, and the one after its last."""
    first = inside.int().argmax(dim=1)
    last = inside.shape[1] - inside.flip(1).int().argmax(dim=1)
    return first.float(), last.float()
