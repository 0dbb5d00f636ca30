"""How alike the tokens of one map are: what TokenCut, MaskCut, LOST and deep spectral segmentation begin with."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seekloop.regions.claid import gram

ROUNDING = 1e-12  # of the largest entry: tokens no farther than this from their mean are the mean


def rows_of(tokens: Float[Tensor, "h w d"], centre: bool) -> Float[Tensor, "n d"]:
    """The map's tokens row by row, in float64 on the CPU.

    Args:
        tokens: of one image.
        centre: whether to take their mean off. Keys of some networks (DINOv2's) have so much in common, such as the
            bias of the layer that makes them, that every pair would pass for alike.

    Raises:
        ValueError: if a token is not finite.

    Example:
        >>> rows_of(torch.tensor([[[1.0, 5.0], [3.0, 5.0]]]), centre=True).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    rows = tokens.detach().cpu().double().flatten(0, 1)
    if not bool(rows.isfinite().all()):
        raise ValueError("tokens are not finite: the network or its input is at fault, not this image's regions")
    if not centre:
        return rows
    centred = rows - rows.mean(dim=0)
    differs = centred.abs() > ROUNDING * rows.abs().max()
    return centred.where(differs.any(dim=1, keepdim=True), 0.0)


def cosines_of(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Cosine of each token with each, itself included, in float32; symmetric. A token of length 0 has 0 with all."""
    longest = rows.abs().amax(dim=1, keepdim=True)  # first to the same size: squares of huge tokens overflow
    return gram(torch.nn.functional.normalize(rows / longest.where(longest > 0, 1.0), dim=1).float())


def products_of(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Inner product of each token with each, up to a power of two for the whole map, in float32; symmetric."""
    _, exponent = math.frexp(float(rows.abs().max()))
    return gram((rows * 2.0 ** min(-exponent, 1000)).float())


def share_of_pairs(alike: Bool[np.ndarray, "n n"]) -> float | None:
    """Share of the pairs of two different tokens that are alike; None where there is only one token.

    Example:
        >>> share_of_pairs(np.array([[True, True, False], [True, True, False], [False, False, False]]))
        0.3333333333333333
    """
    tokens = len(alike)
    if tokens < 2:
        return None
    return int(alike.sum() - alike.trace()) / (tokens * (tokens - 1))
