"""Small images moved and mirrored, many at once, on whatever device they are."""

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


def moved(
    images: UInt8[Tensor, "b 3 h w"], shift: Int[Tensor, "b 2"], mirrored: Bool[Tensor, " b"]
) -> UInt8[Tensor, "b 3 h w"]:
    """Each image mirrored, then translated; what comes in from outside is its reflection, the edge not repeated.

    Args:
        images: pixels.
        shift: rows down and columns to the right, each less than the image's side.
        mirrored: whether to turn left to right.
    """
    height, width = images.shape[-2:]
    rows = _reflected(torch.arange(height, device=images.device) - shift[:, :1], height)
    columns = _reflected(torch.arange(width, device=images.device) - shift[:, 1:], width)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    each = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(3, device=images.device)[None, :, None, None]
    return images[each, channel, rows[:, None, :, None], columns[:, None, None, :]]


def normalised(
    images: UInt8[Tensor, "b 3 h w"], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Float[Tensor, "b 3 h w"]:
    """Pixels in [0, 1], less the mean of their channel, over its deviation."""
    centre = images.new_tensor(mean, dtype=torch.float32)[:, None, None]
    spread = images.new_tensor(std, dtype=torch.float32)[:, None, None]
    return (images.float() / 255 - centre) / spread


def _reflected(index: Int[Tensor, "b k"], size: int) -> Int[Tensor, "b k"]:
    """Positions outside folded back, such as -1 to 1 and `size` to `size - 2`."""
    return size - 1 - (size - 1 - index.abs()).abs()
