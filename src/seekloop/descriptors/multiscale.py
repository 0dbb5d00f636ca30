"""Multi-scale descriptors: an image is seen at several sizes, and the vectors of all are averaged."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Tokens
from seekloop.descriptors.pooling import GeM, Pooling

Network = Callable[[Tensor], Tokens]


@component
class MultiScale:
    r"""Pool an image at several scales, bring each vector to unit length, and average them.

    .. math:: g = \Big(\frac{1}{|S|} \sum_{s \in S} \Big(\frac{g_s}{\lVert g_s \rVert}\Big)^p\Big)^{1/p}

    p is the exponent of `gem`, and 1 for any other pooling. The scales are factors on the sides of the image as the
    network takes it; sides are rounded to whole tokens. Only global descriptors are made so: regions are pooled on the
    map of the first size.

    Args:
        single: pooling at one scale.
        scales: factors on the sides.

    Reference:
        Radenovic, Tolias & Chum, TPAMI 2019, section 5.2; Siméoni's thesis, section 4.4.1.
    """

    single: Pooling = GeM()
    scales: tuple[Positive, ...] = (1.0, 0.7071067811865476, 0.5)

    def __post_init__(self) -> None:
        if not self.scales:
            raise ConfigError("scales", [], "there is no size to see images at", "Usual: [1.0, 0.7071, 0.5].", self)

    def check(self, network: object) -> None:
        """Refuse a network that takes images of one size only.

        Raises:
            ConfigError: if it does.
        """
        if not getattr(network, "any_size", False):
            why = f"{getattr(network, 'name', 'this network')} takes images of one size only"
            raise ConfigError("pooling", "multiscale", why, "Use a CNN, or its pooling at one scale: pooling=gem.")

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Pool a map that is there already: one scale."""
        return self.single(tokens)

    def over_scales(self, network: Network, pixels: Float[Tensor, "b 3 h w"], tokens: Tokens) -> Float[Tensor, "b d"]:
        """Average the vectors of all scales.

        Args:
            network: that takes images of any multiple of its patches.
            pixels: of the images.
            tokens: of the same, as the network sees them at scale 1.
        """
        return self.averaged([self.single(self.seen(network, pixels, tokens, scale)) for scale in self.scales])

    def averaged(self, vectors: Sequence[Float[Tensor, "b d"]]) -> Float[Tensor, "b d"]:
        """The generalised mean of the vectors of all scales, each brought to unit length."""
        p = self.single.p if isinstance(self.single, GeM) else 1.0
        return torch.stack([F.normalize(one, dim=1).pow(p) for one in vectors]).mean(dim=0).pow(1 / p)

    def seen(self, network: Any, pixels: Tensor, tokens: Tokens, scale: float) -> Tokens:  # noqa: ANN401
        """Tokens of the images at one scale; arguments as those of `over_scales`."""
        sides, cells = pixels.shape[2:], tokens.patches.shape[1:3]
        size = tuple(rescaled(side, side // cell, scale) for side, cell in zip(sides, cells, strict=True))
        if size == tuple(sides):
            return tokens
        resized = F.interpolate(pixels.float(), size, mode="bilinear", align_corners=False, antialias=True)
        seen: Tokens = network.tokens(resized.to(pixels.dtype))
        return seen


def pooled(
    network: Network, pooling: Pooling, pixels: Float[Tensor, "b 3 h w"], tokens: Tokens
) -> Float[Tensor, "b d"]:
    """Global descriptors of images whose tokens are there; those of other scales are computed where they are wanted."""
    return pooling.over_scales(network, pixels, tokens) if isinstance(pooling, MultiScale) else pooling(tokens)


def rescaled(side: int, patch: int, scale: float) -> int:
    """Scale a side in pixels, to the nearest whole number of tokens, at least one.

    Example:
        >>> rescaled(224, 16, 0.5), rescaled(224, 16, 0.7071), rescaled(32, 32, 0.5)
        (112, 160, 32)
    """
    return max(1, round(side * scale / patch)) * patch
