"""PCA-whitening: directions in which descriptors vary much and little come to count alike."""

import torch
from jaxtyping import Float
from torch import Tensor


def whitened(rows: Float[Tensor, "n d"], dims: int) -> Float[Tensor, "n p"]:
    r"""Rows along their principal directions, each divided by its standard deviation.

    .. math:: y = \Lambda_p^{-1/2} U_p^\top (x - \bar x), \qquad \mathrm{cov}(x) = U \Lambda U^\top

    so that the covariance of what comes out is the identity (with 1/n). It is not brought to unit length here.
    Directions without variance are left out: fewer than `dims` columns may come out, but at least one.

    Args:
        rows: descriptors, at least one.
        dims: p, most directions kept.

    Reference:
        Jégou & Chum, "Negative evidences and co-occurences in image retrieval", ECCV 2012.
    """
    centred = rows.double() - rows.double().mean(dim=0)
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
    variance, directions = variance.flip(0), directions.flip(1)
    noise = variance[0] * len(variance) * torch.finfo(rows.dtype).eps
    kept = max(1, min(dims, int((variance > noise).sum())))
    scale = variance[:kept].clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
    return (centred @ directions[:, :kept] * scale).to(rows.dtype)
