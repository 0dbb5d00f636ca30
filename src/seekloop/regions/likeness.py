"""How alike the tokens of one map are: what TokenCut, MaskCut, LOST and deep spectral segmentation begin with."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seekloop.regions.claid import gram


def rows_of(tokens: Float[Tensor, "h w d"]) -> Float[Tensor, "n d"]:
    """The map's tokens row by row, in float64 on the CPU.

    Raises:
        ValueError: if a token is not finite.
    """
    rows = tokens.detach().cpu().double().flatten(0, 1)
    if not bool(rows.isfinite().all()):
        raise ValueError("tokens are not finite: the network or its input is at fault, not this image's regions")
    return rows


def cosines_of(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Cosine of each token with each, itself included, in float32; symmetric. A token of length 0 has 0 with all."""
    longest = rows.abs().amax(dim=1, keepdim=True)  # first to the same size: squares of huge tokens overflow
    return gram(torch.nn.functional.normalize(rows / longest.where(longest > 0, 1.0), dim=1).float())


def products_of(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Inner product of each token with each, up to one factor for the whole map, in float32; symmetric."""
    largest = rows.abs().max()
    return gram((rows / largest.where(largest > 0, 1.0)).float())


def share_of_pairs(alike: Bool[Tensor, "n n"]) -> float | None:
    """Share of the pairs of two different tokens that are alike; None where there is only one token.

    Example:
        >>> share_of_pairs(torch.tensor([[True, True, False], [True, True, False], [False, False, False]]))
        0.3333333333333333
    """
    tokens = len(alike)
    if tokens < 2:
        return None
    return int(alike.sum() - alike.diagonal().sum()) / (tokens * (tokens - 1))
