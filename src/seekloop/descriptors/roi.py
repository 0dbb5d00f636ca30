"""Pooling a map of tokens inside regions: of boxes or masks, by the mean, the maximum, or the generalised mean."""

from dataclasses import fields
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Batch, Regions, Tokens
from seekloop.descriptors.encoding import Described, OnePass
from seekloop.descriptors.multiscale import MultiScale, Network
from seekloop.descriptors.pool import area_weights, spans
from seekloop.descriptors.pooling import Pooling

Pool = Literal["gem", "mean", "max", "medoid"]
TOUCHED = 2e-5  # of the share of a region's largest token: a smaller share is rounding of the region's float32 edges


def mask_weights(masks: Bool[Tensor, "m h w"], rows: int, columns: int) -> Float[Tensor, "m t"]:
    """Weigh each token by the area that a mask covers of it; masks may have another resolution than the tokens.

    Rows sum to one, those of an empty mask to zero.

    Example:
        >>> mask_weights(torch.tensor([[[True, False, False, False]]]), 1, 2)  # a quarter of the width: half a token
        tensor([[1., 0.]], dtype=torch.float64)
    """

    def shares(cells: int, tokens: int) -> Float[Tensor, "{tokens} {cells}"]:
        """Share of each token, along one axis, in each of so many equal cells."""
        edges = torch.arange(cells + 1, dtype=torch.float64) / cells
        return spans(edges[:-1], edges[1:], tokens).T

    down, across = shares(masks.shape[1], rows), shares(masks.shape[2], columns)
    areas = torch.einsum("rh,mhw,cw->mrc", down, masks.double(), across).flatten(1)
    return areas / areas.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)


def touched(weights: Float[Tensor, "m t"]) -> Float[Tensor, "m t"]:
    """Weigh every token that a region touches alike; rows sum to one.

    An edge that lies between two tokens up to rounding touches only one of them.

    Example:
        >>> touched(area_weights(torch.tensor([[0.0, 0.0, 3 / 5, 1.0]]), 1, 5)) * 3  # in float32 0.6 is 0.60000002
        tensor([[1., 1., 1., 0., 0.]], dtype=torch.float64)
    """
    inside = (weights > TOUCHED * weights.amax(dim=1, keepdim=True)).double()
    return inside / inside.sum(dim=1, keepdim=True).clamp(min=1)


def pooled(
    tokens: Float[Tensor, "t d"], weights: Float[Tensor, "m t"], pool: Pool, p: float, eps: float | None
) -> Float[Tensor, "m d"]:
    r"""Pool the tokens of every region.

    .. math:: \text{mean: } \bar x = \sum_t w_t x_t, \qquad \text{max: } \max_{w_t > 0} x_t, \qquad
              \text{GeM: } \Big(\sum_t w_t\, x_t^p\Big)^{1/p}, \qquad
              \text{medoid: } \arg\max_{x_t :\, w_t > 0} \frac{\langle x_t, \bar x \rangle}{\lVert x_t \rVert}

    With `eps`, GeM cuts values to at least that; without, as in the code released with CLAID, they are taken as they
    are, and the root keeps the sign of the sum, so that an odd p is the identity for a region of one token. An even or
    broken p without `eps` needs values that are not negative (maps after a ReLU); there it is cut at 0.

    Args:
        tokens: of one image.
        weights: share of each token in each region; rows sum to one.
        pool: gem, mean, max or medoid.
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
    if pool == "medoid":
        cosines = (weights @ tokens) @ F.normalize(tokens, dim=1).T
        return tokens[cosines.masked_fill(weights == 0, -torch.inf).argmax(dim=1)] * weights.any(dim=1, keepdim=True)
    if pool == "max":
        return torch.stack(
            [tokens[row > 0].amax(dim=0) if bool((row > 0).any()) else tokens[:1][0] * 0 for row in weights]
        )
    odd = p % 2 == 1
    floor = eps if eps is not None else None if odd else 0.0
    powers = (tokens if floor is None else tokens.clamp(min=floor)).pow(p)
    total = weights @ powers
    return total.abs().pow(1 / p) * total.sign()


def summed(local: Float[Tensor, "r d"], counts: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
    r"""Sum up the descriptors of each image's regions, each brought to unit length.

    .. math:: \sum_{R} \frac{m_A(R)}{\lVert m_A(R) \rVert_2}

    Whitening comes after, once for the sum.

    Args:
        local: of the regions, one image after the other.
        counts: how many regions each image has.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, section 5.3.9.

    Example:
        >>> summed(torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0]]), torch.tensor([2, 1]))
        tensor([[0.6000, 1.8000],
                [1.0000, 0.0000]])
    """
    owner = torch.arange(len(counts), device=local.device).repeat_interleave(counts)
    unit = F.normalize(local.float(), dim=1)
    return unit.new_zeros(len(counts), local.shape[1]).index_add_(0, owner, unit)


@component
class FromRegions(OnePass):
    """Pool a backbone's map inside every region, in its box or in its mask: the descriptor of CLAID.

    The map is that of the whole image, so one forward pass serves all regions; it may be of another network than that
    which found the regions.

    Args:
        pool: gem, mean, max, or medoid, the region's token that is most like its mean.
        p: of gem.
        eps: least value for gem; None as released, see `pooled`.
        inside: box or mask; a mask's own map may be of another size.
        members: cells, every token that the region touches counts alike (as released); area, by the area inside.
        global_: descriptor of an image: map, by the `pooling` of its tokens; regions, the sum of those of its regions,
            each of unit length: FS.EGM and OS.EGM. An image without a region is its only region. With the pooling
            `MultiScale` sums are made at each scale, of the same regions, and averaged as that does.

    Raises:
        ConfigError: if an argument is out of its range; when images are described, if their regions have no masks.
    """

    pool: Pool = "gem"
    p: Positive = 3.0
    eps: float | None = None
    inside: Literal["box", "mask"] = "box"
    members: Literal["cells", "area"] = "cells"
    global_: Literal["map", "regions"] = "map"
    poolable = False

    @property
    def keeps_space(self) -> bool:
        """Whether descriptors live in the space of the tokens: powers and maxima leave it."""
        return self.pool in ("mean", "medoid")

    def settings(self) -> dict[str, object]:
        """Settings for recipes: those of before there were sums of regions stay as they are."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in known.items() if name != "global_" or value != "map"}

    @property
    def global_apart(self) -> bool:
        """Whether global descriptors do not depend on the regions."""
        return self.global_ == "map"

    @property
    def name(self) -> str:
        """For the store's key: all settings."""
        power = f"-{self.p:g}-{self.eps}" if self.pool == "gem" else ""
        return f"roi-{self.pool}{power}-{self.inside}-{self.members}" + ("" if self.global_apart else "-regions")

    def describe(self, network: Network, pooling: Pooling, batch: Batch, regions: Regions, rows: int) -> Described:
        """Global and local descriptors from the same tokens."""
        if self.global_apart:
            return super().describe(network, pooling, batch, regions, rows)
        tokens = network(batch.pixels)
        local = self.local(tokens.patches, batch.image, regions)
        counts = torch.tensor([len(regions.of(image)) for image in batch.image.tolist()], device=local.device)
        if not isinstance(pooling, MultiScale):
            return Described(batch.image, batch.readable, summed(local, counts), local)
        each = [pooling.seen(network, batch.pixels, tokens, scale) for scale in pooling.scales]
        sums = [summed(self.local(one.patches, batch.image, regions), counts) for one in each]
        return Described(batch.image, batch.readable, pooling.averaged(sums), local)

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Pooling of whole images, or of crops, by which they compare with regions: all of the map is one region."""
        maps = tokens.patches.float().flatten(1, 2)
        weights = maps.new_full((1, maps.shape[1]), 1 / maps.shape[1])
        return torch.cat([pooled(one, weights, self.pool, self.p, self.eps) for one in maps])

    def local(
        self, patches: Float[Tensor, "b h w d"], images: Int[Tensor, " b"], regions: Regions
    ) -> Float[Tensor, "r d"]:
        """Pooled tokens of every region."""
        rows, columns = patches.shape[1:3]
        parts = []
        for tokens, image in zip(patches.float().flatten(1, 2), images.tolist(), strict=True):
            weights = area_weights(regions.of(image), rows, columns)
            if self.inside == "mask":
                masks = regions.masks_of(image)
                if masks is None:
                    why = "these regions are boxes and have no masks"
                    raise ConfigError("inside", "mask", why, "Use inside=box, or regions=claid.", self)
                weights = mask_weights(masks, rows, columns)
            weights = touched(weights) if self.members == "cells" else weights
            parts.append(pooled(tokens, weights, self.pool, self.p, self.eps))
        return torch.cat(parts)
