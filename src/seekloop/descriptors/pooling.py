"""Global descriptor of an image (or crop): which of its tokens, and how they are averaged."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from seekloop.contracts.declared import Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Tokens


@runtime_checkable
class Pooling(Protocol):
    """Tokens in, one descriptor per image out, not normalised."""

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]: ...


@dataclass(frozen=True)
class ClassToken:
    """Class token."""

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Take it.

        Raises:
            ConfigError: if the backbone has none.
        """
        if tokens.cls is None:
            raise ConfigError("pooling", "cls", "this backbone has no class token", "Take pooling=auto, mean or gem.")
        return tokens.cls.float()


@dataclass(frozen=True)
class Mean:
    """Mean of the patch tokens: SPoC, without its weights by the distance to the centre.

    Reference:
        Babenko & Lempitsky, Aggregating local deep features for image retrieval, ICCV 2015.
    """

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Average them."""
        return tokens.patches.float().mean(dim=(1, 2))


@dataclass(frozen=True)
class Auto:
    """Class token where there is one, else the mean of the patch tokens."""

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Take the class token or average."""
        return (Mean() if tokens.cls is None else ClassToken())(tokens)


@component
class GeM:
    r"""Generalised mean of the patch tokens.

    .. math:: g = \Big(\frac{1}{|P|} \sum_{x \in P} \max(x, \epsilon)^p\Big)^{1/p}

    Meant for maps after a ReLU. Tokens of transformers have negative values too: those are cut to epsilon, so about
    half of each token is lost, and `mean` is usually the better choice there.

    Args:
        p: 1 is the mean (of positive values), larger values approach the maximum.
        eps: the least value, which keeps the root's gradient finite.

    Raises:
        ConfigError: if p or eps is not positive and finite.

    Reference:
        Radenovic, Tolias & Chum, Fine-tuning CNN image retrieval with no human annotation, TPAMI 2019.
    """

    p: Positive = 3.0
    eps: Positive = 1e-6

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Average the powers."""
        return generalised_mean(tokens.patches.float(), self.p, self.eps)


def generalised_mean(patches: Float[Tensor, "b h w d"], p: float, eps: float) -> Float[Tensor, "b d"]:
    """Pool each channel of a map by its generalised mean, values cut to at least `eps` (the formula of `GeM`)."""
    return patches.clamp(min=eps).pow(p).mean(dim=(1, 2)).pow(1 / p)
