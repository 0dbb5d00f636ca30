"""Box geometry. A box is (x0, y0, x1, y1) as fractions of the image's width and height, x to the right, y down."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)


def area(boxes: Float[Tensor, "*k 4"]) -> Float[Tensor, "*k"]:
    """Share of the image that each box covers; 0 for a degenerate box."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(a: Float[Tensor, "i 4"], b: Float[Tensor, "j 4"]) -> Float[Tensor, "i j"]:
    """Area common to every box of `a` and every box of `b`.

    Example:
        >>> intersection(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), torch.tensor([[0.25, 0.25, 1.0, 1.0]]))
        tensor([[0.0625]])
    """
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    return (high - low).clamp(min=0).prod(dim=-1)


def iou(a: Float[Tensor, "i 4"], b: Float[Tensor, "j 4"]) -> Float[Tensor, "i j"]:
    """Intersection over union; 0 where both boxes are degenerate."""
    common = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - common
    return torch.where(union > 0, common / union.clamp(min=torch.finfo(union.dtype).tiny), torch.zeros_like(common))


def pixels(
    x0: int | float, y0: int | float, x1: int | float, y1: int | float, *, width: int, height: int
) -> tuple[float, float, float, float]:
    """A box drawn in pixels of an image of this size, as fractions.

    Example:
        >>> pixels(10, 20, 50, 80, width=100, height=200)
        (0.1, 0.1, 0.5, 0.4)
    """
    return x0 / width, y0 / height, x1 / width, y1 / height


def clip(boxes: Float[Tensor, "k 4"]) -> Float[Tensor, "k 4"]:
    """Cut the parts outside the image off."""
    return boxes.clamp(0.0, 1.0)


def degenerate(boxes: Float[Tensor, "k 4"]) -> Bool[Tensor, " k"]:
    """Which boxes have no area, or are not numbers."""
    return ~(area(boxes) > 0)


STRATA = ("small", "medium", "large")
SMALL, LARGE = 1 / 16, 1 / 4  # shares of the image where medium and large begin


def stratum(boxes: Float[Tensor, "k 4"]) -> list[str]:
    """Size class of each box: small below 1/16 of the image, large from 1/4 on, medium between.

    Reference:
        Zaher, Buisson & Joly, arXiv 2604.00809, Table 3.
    """
    return ["small" if a < SMALL else "medium" if a < LARGE else "large" for a in area(boxes).tolist()]
