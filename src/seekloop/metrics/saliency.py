"""Saliency precision: the share of a saliency map that lies on annotated objects."""

import torch
from jaxtyping import Float
from torch import Tensor


def saliency_precision(saliency: Float[Tensor, "h w"], boxes: Float[Tensor, "t 4"]) -> float:
    r"""Sum of a map inside boxes, divided by its sum over the image.

    .. math:: \frac{\sum_p |p \cap B|\, S_p}{\sum_p S_p}

    where :math:`|p \cap B|` is the share of a cell that the union of the boxes covers. NaN for a map of zeros, which
    has no precision, and for an image without boxes, where nothing is known to be right.

    Args:
        saliency: S, not negative, as it is: neither cut nor raised to a power.
        boxes: in fractions of the image.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, section 5.4.2.

    Example:
        >>> saliency_precision(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.25, 0.0, 1.0, 1.0]]))  # (1 / 2 + 2) / 3
        0.8333333333333334
    """
    total = float(saliency.double().sum())
    if not total > 0 or len(boxes) == 0:
        return float("nan")
    return float((saliency.double() * covered(boxes, *saliency.shape)).sum()) / total


def covered(boxes: Float[Tensor, "t 4"], rows: int, columns: int) -> Float[Tensor, "{rows} {columns}"]:
    """Share of each cell of a map that the union of some boxes covers.

    Example:
        >>> covered(torch.tensor([[0.0, 0.0, 0.25, 1.0], [0.0, 0.0, 0.5, 0.5]]), 1, 2)  # .5 + .25
        tensor([[0.7500, 0.0000]], dtype=torch.float64)
    """
    cut = boxes.double().clamp(0, 1)
    x, y = _edges(cut[:, 0::2], columns), _edges(cut[:, 1::2], rows)
    middle_x, middle_y = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
    across = (cut[:, 0, None] <= middle_x) & (middle_x <= cut[:, 2, None])  # pieces of the plane, in each box or not
    down = (cut[:, 1, None] <= middle_y) & (middle_y <= cut[:, 3, None])
    area = (down[:, :, None] & across[:, None, :]).any(dim=0) * y.diff()[:, None] * x.diff()
    cells = torch.zeros(rows, len(middle_x), dtype=torch.float64)
    cells.index_add_(0, (middle_y * rows).long(), area)
    shares = torch.zeros(rows, columns, dtype=torch.float64)
    return shares.index_add_(1, (middle_x * columns).long(), cells) * (rows * columns)


def _edges(ends: Float[Tensor, "t 2"], cells: int) -> Float[Tensor, " e"]:
    """Edges of equal cells along one axis, and of boxes, in ascending order."""
    return torch.unique(torch.cat([torch.arange(cells + 1, dtype=torch.float64) / cells, ends.flatten()]))
