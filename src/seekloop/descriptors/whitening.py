"""PCA-whitening: directions in which descriptors vary much and little come to count alike."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Whitening:
    """A map of descriptors, learnt from some of them.

    Attributes:
        mean: what is taken off.
        axes: what the rest is multiplied by; None: descriptors are only centred.
    """

    mean: Float[Tensor, " d"]
    axes: Float[Tensor, "d p"] | None

    def __call__(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """The mapped descriptors, not of unit length."""
        centred = rows.double() - self.mean.to(rows.device)
        return (centred if self.axes is None else centred @ self.axes.to(rows.device)).to(rows.dtype)

    def unit(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """The mapped descriptors, of unit length."""
        return F.normalize(self(rows), dim=1)


def learn_centring(rows: Float[Tensor, "n d"]) -> Whitening:
    """The map that takes the mean of these descriptors off."""
    return Whitening(rows.double().mean(dim=0), None)


def learn_whitening(rows: Float[Tensor, "n d"], dims: int | None = None) -> Whitening:
    r"""The map to these descriptors' principal directions, each divided by its standard deviation.

    .. math:: y = \Lambda_p^{-1/2} U_p^\top (x - \bar x), \qquad \mathrm{cov}(x) = U \Lambda U^\top

    so that the covariance of the descriptors becomes the identity (with 1/n). Directions without variance are left
    out: fewer than `dims` columns may come out, but at least one.

    Args:
        rows: descriptors, at least one.
        dims: p, most directions kept; None: all.

    Reference:
        Jégou & Chum, "Negative evidences and co-occurences in image retrieval", ECCV 2012.
    """
    mean = rows.double().mean(dim=0)
    centred = rows.double() - mean
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
    variance, directions = variance.flip(0), directions.flip(1)
    noise = variance[0] * len(variance) * torch.finfo(rows.dtype).eps
    kept = max(1, min(dims or len(variance), int((variance > noise).sum())))
    scale = variance[:kept].clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
    return Whitening(mean, directions[:, :kept] * scale)


def whitened(rows: Float[Tensor, "n d"], dims: int) -> Float[Tensor, "n p"]:
    """Descriptors by the whitening that they teach; not brought to unit length."""
    return learn_whitening(rows, dims)(rows)
