"""CroW: global descriptor from a map whose positions and channels have weights of their own."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seekloop.contracts.records import Tokens


@dataclass(frozen=True)
class CroW:
    r"""Sum of the positions of a map, each weighted by its strength, times a weight of each channel by its sparsity.

    .. math:: g_k = C_k \sum_t S_t x_{tk}, \qquad
              S_t = \Big(\frac{\sum_k x_{tk}}{\lVert \sum_k x_{\cdot k} \rVert_2}\Big)^{1/2}, \qquad
              C_k = \log \frac{\sum_j a_j}{a_k}

    where a_k is the share of positions at which channel k is above zero; a channel that is nowhere above zero has
    weight 0. Meant for maps after a ReLU: negative values are cut to zero.

    Reference:
        Kalantidis, Mellina & Osindero, Cross-dimensional weighting for aggregated deep convolutional features, ECCVW
        2016; with the normalisations of their code (a = b = 2).
    """

    def __call__(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Weigh and sum."""
        patches = tokens.patches.float().clamp(min=0).flatten(1, 2)
        return channel_weights(patches) * (position_weights(patches)[..., None] * patches).sum(dim=1)


def position_weights(patches: Float[Tensor, "b t d"]) -> Float[Tensor, "b t"]:
    """Weigh each position by the square root of its share in the sum over channels; zero on an empty map."""
    strength = patches.sum(dim=2)
    return (strength / strength.norm(dim=1, keepdim=True).clamp(min=1e-12)).sqrt()


def channel_weights(patches: Float[Tensor, "b t d"]) -> Float[Tensor, "b d"]:
    """Weigh each channel by the logarithm of all channels' shares above zero over its own; zero where it has none.

    Example:
        >>> import torch
        >>> channel_weights(torch.tensor([[[1.0, 2.0, 0.0], [0.0, 1.0, 0.0]]]))  # shares 1/2, 1 and 0: log 3, log 1.5
        tensor([[1.0986, 0.4055, 0.0000]])
    """
    share = (patches > 0).float().mean(dim=1)
    weights = (share.sum(dim=1, keepdim=True) / share.clamp(min=1e-12)).clamp(min=1).log()
    return weights * (share > 0)
