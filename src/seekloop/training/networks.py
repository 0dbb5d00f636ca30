"""What networks that learn share: weights that depend on a seed alone, Sobel filters, the colours they expect."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.contracts.learning import NetworkSource, Pool

Triple = tuple[float, float, float]


@runtime_checkable
class OwnNormalisation(Protocol):
    """A source of networks that were trained before, and expect their images normalised as then.

    Attributes:
        mean: per channel, of images in [0, 1]; None: the pool's.
        std: likewise.
    """

    mean: Triple | None
    std: Triple | None


def seen_by(pool: Pool, source: NetworkSource) -> Pool:
    """The pool, normalised as the networks of a source expect: their own way if they have one, else the pool's."""
    if not isinstance(source, OwnNormalisation) or source.mean is None or source.std is None:
        return pool
    return replace(pool, mean=source.mean, std=source.std)


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Initial weights come from this seed; torch's own generator is afterwards where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class Sobel(nn.Module):
    """Colours replaced by edges: grey is their mean, then Sobel's two 3x3 filters, zeros around. Nothing is learnt.

    Reference:
        Caron et al., "Deep Clustering for Unsupervised Learning of Visual Features", ECCV 2018, section 4.1.
    """

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
        self.register_buffer("filters", torch.stack([across, across.T])[:, None], persistent=False)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 h w"]:
        """Differences from right to left, and from bottom to top."""
        return F.conv2d(pixels.mean(dim=1, keepdim=True), self.filters.to(pixels.dtype), padding=1)


def entrance(sobel: bool) -> tuple[nn.Module, int]:
    """What comes before a network's first layer, and how many channels it gives."""
    return (Sobel(), 2) if sobel else (nn.Identity(), 3)
