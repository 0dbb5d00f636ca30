"""Pooling a map of tokens inside regions: of boxes or masks, by the mean, the maximum, or the generalised mean."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Batch, Regions
from seekloop.descriptors.encoding import Described, Network
from seekloop.descriptors.pool import area_weights, spans
from seekloop.descriptors.pooling import Pooling

POOLS = ("gem", "mean", "max")
INSIDE = ("box", "mask")
MEMBERS = ("cells", "area")
TOUCHED = 2e-5  # of the share of a region's largest token: a smaller share is rounding of the region's float32 edges


def mask_weights(masks: Bool[Tensor, "m h w"], rows: int, columns: int) -> Float[Tensor, "m t"]:
    """The share that each token of a map has in each mask, which lies on a map of its own; every row sums to one.

    A mask that is empty gives zeros.

    Example:
        >>> mask_weights(torch.tensor([[[True, False, False, False]]]), 1, 2)  # a quarter of the width: half a token
        tensor([[1., 0.]], dtype=torch.float64)
    """
    down = _shares(masks.shape[1], rows)
    across = _shares(masks.shape[2], columns)
    areas = torch.einsum("rh,mhw,cw->mrc", down, masks.double(), across).flatten(1)
    return areas / areas.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)


def _shares(cells: int, tokens: int) -> Float[Tensor, "{tokens} {cells}"]:
    """How much of each token, along one axis, lies in each of so many equal cells."""
    edges = torch.arange(cells + 1, dtype=torch.float64) / cells
    return spans(edges[:-1], edges[1:], tokens).T


def touched(weights: Float[Tensor, "m t"]) -> Float[Tensor, "m t"]:
    """Every token that a region touches counts alike; rows sum to one.

    An edge that lies between two tokens up to rounding touches only one of them.

    Example:
        >>> touched(area_weights(torch.tensor([[0.0, 0.0, 3 / 5, 1.0]]), 1, 5)) * 3  # in float32 0.6 is 0.60000002
        tensor([[1., 1., 1., 0., 0.]], dtype=torch.float64)
    """
    inside = (weights > TOUCHED * weights.amax(dim=1, keepdim=True)).double()
    return inside / inside.sum(dim=1, keepdim=True).clamp(min=1)


def pooled(
    tokens: Float[Tensor, "t d"], weights: Float[Tensor, "m t"], pool: str, p: float, eps: float | None
) -> Float[Tensor, "m d"]:
    r"""Pool the tokens of every region.

    .. math:: \text{mean: } \sum_t w_t x_t, \qquad \text{max: } \max_{w_t > 0} x_t, \qquad
              \text{GeM: } \Big(\sum_t w_t\, x_t^p\Big)^{1/p}

    With `eps`, GeM cuts values to at least that; without, as in the code released with CLAID, they are taken as they
    are, and the root keeps the sign of the sum, so that an odd p is the identity for a region of one token. An even or
    broken p without `eps` needs values that are not negative (maps after a ReLU); there it is cut at 0.

    Args:
        tokens: of one image.
        weights: share of each token in each region; rows sum to one.
        pool: gem, mean or max.
        p: of GeM.
        eps: least value for GeM, or None.

    Reference:
        Sun et al., class agnostic instance-level descriptor (GeM with p = 3 inside the region's box).

    Example:
        >>> pooled(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5, 0.5]]), "gem", 3.0, None)  # (1 + 8) / 2 = 4.5
        tensor([[1.6510]])
    """
    weights = weights.to(tokens)
    if pool == "mean":
        return weights @ tokens
    if pool == "max":
        return torch.stack(
            [tokens[row > 0].amax(dim=0) if bool((row > 0).any()) else tokens[:1][0] * 0 for row in weights]
        )
    odd = p % 2 == 1
    floor = eps if eps is not None else None if odd else 0.0
    powers = (tokens if floor is None else tokens.clamp(min=floor)).pow(p)
    total = weights @ powers
    return total.abs().pow(1 / p) * total.sign()


@dataclass(frozen=True)
class FromRegions:
    """Pool a backbone's map inside every region, in its box or in its mask: the descriptor of CLAID.

    The map is that of the whole image, so one forward pass serves all regions; it may be of another network than that
    which found the regions.

    Args:
        pool: gem, mean or max.
        p: of gem.
        eps: least value for gem; None as released, see `pooled`.
        inside: box or mask; a mask's own map may be of another size.
        members: cells, every token that the region touches counts alike (as released); area, by the area inside.

    Raises:
        ConfigError: if a setting is unknown or out of its range.
    """

    pool: str
    p: float
    eps: float | None
    inside: str
    members: str
    poolable = False

    def __post_init__(self) -> None:
        for key, valid in (("pool", POOLS), ("inside", INSIDE), ("members", MEMBERS)):
            if getattr(self, key) not in valid:
                raise ConfigError(f"encoding.{key}", getattr(self, key), "it is unknown", f"Valid: {', '.join(valid)}.")
        if not self.p > 0:
            raise ConfigError("encoding.p", self.p, "it is not positive", "Usual: 3.")

    @property
    def name(self) -> str:
        """For the store's key: all settings."""
        power = f"-{self.p:g}-{self.eps}" if self.pool == "gem" else ""
        return f"roi-{self.pool}{power}-{self.inside}-{self.members}"

    def crops(self, regions: Regions, image: int) -> Float[Tensor, "v 4"]:
        """None."""
        return torch.empty(0, 4, dtype=torch.float32)

    def images_per_batch(self, regions: Regions, images: int, rows: int) -> int:
        """As many as rows."""
        return rows

    def describe(self, network: Network, pooling: Pooling, batch: Batch, regions: Regions, rows: int) -> Described:
        """Global and local descriptors from the same map."""
        tokens = network(batch.pixels)
        pairs = zip(tokens.patches.float(), batch.image.tolist(), strict=True)
        local = torch.cat([self._regions(patches, regions, image) for patches, image in pairs])
        return Described(batch.image, batch.readable, pooling(tokens), local)

    def _regions(self, patches: Float[Tensor, "h w d"], regions: Regions, image: int) -> Float[Tensor, "m d"]:
        rows, columns, _ = patches.shape
        weights = area_weights(regions.of(image), rows, columns)
        if self.inside == "mask":
            weights = mask_weights(self._masks(regions, image), rows, columns)
        if self.members == "cells":
            weights = touched(weights)
        return pooled(patches.flatten(0, 1), weights, self.pool, self.p, self.eps)

    def _masks(self, regions: Regions, image: int) -> Bool[Tensor, "m h w"]:
        masks = regions.masks_of(image)
        if masks is None:
            why = "these regions are boxes and have no masks"
            raise ConfigError("encoding.inside", "mask", why, "Use encoding.inside=box, or regions=claid.")
        return masks
