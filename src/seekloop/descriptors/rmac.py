"""R-MAC and R-GeM: global descriptors from square regions of a map at three scales, each pooled for itself."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Positive, component
from seekloop.contracts.recipe import Json, settings
from seekloop.contracts.records import Tokens
from seekloop.descriptors.pooling import generalised_mean
from seekloop.descriptors.whitening import Whitening

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


@component
class RMac:
    r"""Maxima over the whole map and over square regions, each of unit length, summed.

    .. math:: g = [\text{whole}]\, w\Big(\frac{m(X)}{\lVert m(X) \rVert}\Big)
              + \sum_R w\Big(\frac{m(X_R)}{\lVert m(X_R) \rVert}\Big), \qquad m_k(X) = \max_{x \in X} x_k

    where w brings a region's vector to the whitening's axes and to unit length again; without a whitening it changes
    nothing. Square maps have 15 terms with `whole`: the map counts twice, since it is the region of level 1 too.

    Args:
        whitening: of the vectors of regions, as in the paper; None: they are summed as they are, as in the code.
        whole: whether the whole map is a region besides those of the grid, as in the code; the paper has the grid only.

    Reference:
        Tolias, Sicre & Jégou, ICLR 2016, section 4; regions and the whole map as in Radenovic's code for CNN image
        retrieval.
    """

    whitening: Whitening | None = None
    whole: bool = True

    def settings(self) -> dict[str, Json]:
        """The settings that differ from the defaults, so that the recipes of older stores stay valid."""
        return _chosen(self.whitening, self.whole)

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Sum the maxima."""
        return sum_of_regions(tokens.patches.float(), _maxima, self.whitening, self.whole)


@component
class RGeM:
    r"""Generalised means over the regions of R-MAC, each of unit length, summed.

    .. math:: g = \sum_R w\Big(\frac{g(X_R)}{\lVert g(X_R) \rVert}\Big), \qquad
              g_k(X) = \Big(\frac{1}{|X|} \sum_{x \in X} \max(x_k, \epsilon)^p\Big)^{1/p}

    Args:
        p: of the generalised mean.
        eps: its least value.
        whitening: as of `RMac`.
        whole: as of `RMac`.

    Raises:
        ConfigError: if p or eps is not positive and finite.

    Reference:
        Radenovic, Tolias & Chum, TPAMI 2019 (GeM), over the regions of Tolias, Sicre & Jégou, ICLR 2016.
    """

    p: Positive = 3.0
    eps: Positive = 1e-6
    whitening: Whitening | None = None
    whole: bool = True

    def settings(self) -> dict[str, Json]:
        """Exponent, least value, and of the rest what is not as by default."""
        return {"p": self.p, "eps": self.eps, **_chosen(self.whitening, self.whole)}

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Sum the generalised means."""

        def pool(part: Tensor) -> Tensor:
            return generalised_mean(part, self.p, self.eps)

        return sum_of_regions(tokens.patches.float(), pool, self.whitening, self.whole)


def sum_of_regions(
    patches: Float[Tensor, "b h w d"],
    pool: Callable[[Float[Tensor, "b rows columns d"]], Float[Tensor, "b d"]],
    whitening: Whitening | None,
    whole: bool,
) -> Float[Tensor, "b d"]:
    """Pool each region of R-MAC's grid, bring it to unit length, whiten it (to unit length again), and sum them all.

    Of a whitening to fewer dimensions the others are zero, so that global descriptors stay as long as local ones.

    Args:
        patches: maps.
        pool: of one region.
        whitening: of regions; None: none.
        whole: whether the map is a region besides those of the grid.
    """
    parts = [patches[:, r : r + side, c : c + side] for r, c, side in windows(*patches.shape[1:3])]
    unit = [F.normalize(pool(part), dim=1, eps=1e-6) for part in ([patches] if whole else []) + parts]
    total = torch.stack(unit if whitening is None else [whitening.unit(one) for one in unit]).sum(dim=0)
    return F.pad(total, (0, patches.shape[3] - total.shape[1]))


def _maxima(part: Float[Tensor, "b h w d"]) -> Float[Tensor, "b d"]:
    return part.amax(dim=(1, 2))


def _chosen(whitening: Whitening | None, whole: bool) -> dict[str, Json]:
    learnt = {} if whitening is None else {"whitening": settings(whitening)}
    return learnt if whole else {**learnt, "whole": False}


@dataclass(frozen=True)
class Max:
    """MAC: the maximum of each channel over the map.

    Reference:
        Azizpour et al., From generic to specific deep representations for visual recognition, CVPRW 2015.
    """

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Take it."""
        return _maxima(tokens.patches.float())
