"""Means of patch tokens over boxes; a token on an edge counts by the area it has inside."""

import torch
from jaxtyping import Float
from torch import Tensor

THIN = 1e-6  # of a token: narrower boxes are widened to this, so that they give the token they lie in


def spans(low: Float[Tensor, " m"], high: Float[Tensor, " m"], tokens: int) -> Float[Tensor, "m {tokens}"]:
    """Measure how much of each token, along one axis of so many, lies between two fractions of the axis.

    Example:
        >>> spans(torch.tensor([0.0]), torch.tensor([0.5]), 3)
        tensor([[1.0000, 0.5000, 0.0000]], dtype=torch.float64)
    """
    ends = torch.stack([low, high], dim=1).double().clamp(0, 1) * tokens
    middle = ends.mean(dim=1, keepdim=True)
    thin = (ends[:, 1:] - ends[:, :1]) < THIN
    reach = torch.tensor([[-THIN / 2, THIN / 2]], dtype=torch.float64)
    ends = torch.where(thin, middle + reach, ends)
    edges = torch.arange(tokens + 1, dtype=torch.float64)
    return (torch.minimum(ends[:, 1:], edges[1:]) - torch.maximum(ends[:, :1], edges[:-1])).clamp(min=0)


def area_weights(boxes: Float[Tensor, "m 4"], rows: int, columns: int) -> Float[Tensor, "m t"]:
    """Weigh each token of a map, row by row, by its share in each box; every row sums to one."""
    boxes = boxes.cpu()
    across, down = spans(boxes[:, 0], boxes[:, 2], columns), spans(boxes[:, 1], boxes[:, 3], rows)
    areas = (down[:, :, None] * across[:, None, :]).flatten(1)
    return areas / areas.sum(dim=1, keepdim=True)


def region_means(patches: Float[Tensor, "b h w d"], boxes: Float[Tensor, "m 4"]) -> Float[Tensor, "b m d"]:
    r"""Average the tokens of every box in every image.

    .. math:: l^m = \frac{1}{|B_m|} \int_{B_m} x(u)\, du

    where x is constant over each token. Not normalised, so that means of cells can be averaged further. A box thinner
    than a token gives the tokens it lies in, even without any area.
    """
    weights = area_weights(boxes, *patches.shape[1:3]).to(patches.device, torch.float32)
    return weights @ patches.float().flatten(1, 2)


def box_means(patches: Float[Tensor, "h w d"], boxes: Float[Tensor, "m 4"]) -> Float[Tensor, "m d"]:
    """Average the tokens of one image in each box, as `region_means` does."""
    return region_means(patches[None], boxes)[0]
