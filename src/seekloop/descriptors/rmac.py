"""R-MAC: global descriptor from the maxima over square regions of a map, at three scales."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.records import Tokens

LEVELS = 3
OVERLAP = 0.4  # of neighbouring regions, aimed at
STEPS = torch.arange(2, 8)  # candidates for the number of regions along the longer side
Window = tuple[int, int, int]  # first row, first column, side


def windows(height: int, width: int) -> list[Window]:
    r"""List the square regions of a map, largest first; the whole map, which counts besides, is not among them.

    At level l their side is :math:`\lfloor 2 \min(h, w) / (l + 1) \rfloor`; l of them lie along the shorter side, and
    along the longer one as many more as bring the overlap of neighbours at level 1 nearest to 0.4.

    Reference:
        Tolias, Sicre & Jégou, Particular object retrieval with integral max-pooling of CNN activations, ICLR 2016.

    Example:
        >>> windows(2, 2)[:2]
        [(0, 0, 2), (0, 0, 1)]
    """
    short, long = min(height, width), max(height, width)
    gap = (long - short) / (STEPS - 1)
    extra = 0 if long == short else int((((short**2 - short * gap) / short**2 - OVERLAP).abs()).argmin()) + 1
    more_down, more_across = (extra, 0) if height > width else (0, extra)

    def starts(length: int, side: int, count: int) -> list[int]:
        """First tokens of so many windows spread evenly along an axis."""
        gap = (length - side) / (count - 1) if count > 1 else 0.0
        return [int(position * gap) for position in range(count)]

    squares = []
    for level in range(1, LEVELS + 1):
        if side := 2 * short // (level + 1):
            rows, columns = starts(height, side, level + more_down), starts(width, side, level + more_across)
            squares += [(row, column, side) for row in rows for column in columns]
    return squares


@dataclass(frozen=True)
class RMac:
    r"""Maxima over the whole map and over square regions, each of unit length, summed.

    .. math:: g = \frac{m(X)}{\lVert m(X) \rVert} + \sum_R \frac{m(X_R)}{\lVert m(X_R) \rVert}, \qquad
              m_k(X) = \max_{x \in X} x_k

    Square maps have 15 terms: the whole map counts twice, since it is the region of level 1 too.

    Reference:
        Tolias, Sicre & Jégou, ICLR 2016; regions as in Radenovic's code for CNN image retrieval.
    """

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Sum the maxima."""
        patches = tokens.patches.float()
        parts = [patches, *(patches[:, r : r + side, c : c + side] for r, c, side in windows(*patches.shape[1:3]))]
        return torch.stack([F.normalize(part.amax(dim=(1, 2)), dim=1, eps=1e-6) for part in parts]).sum(dim=0)


@dataclass(frozen=True)
class Max:
    """MAC: the maximum of each channel over the map.

    Reference:
        Azizpour et al., From generic to specific deep representations for visual recognition, CVPRW 2015.
    """

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Take it."""
        return tokens.patches.float().amax(dim=(1, 2))
