"""Shared by networks that learn: weights from a seed, Sobel filters, the pictures they expect."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.contracts.learning import Dataset, NetworkSource


def seen_by(dataset: Dataset, source: NetworkSource) -> Dataset:
    """Normalise a dataset as the pre-trained weights of a source expect; unchanged where there are none."""
    return dataset if source.mean is None or source.std is None else replace(dataset, mean=source.mean, std=source.std)


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Draw initial weights from this seed; torch's own generator is afterwards where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def resized(
    pixels: Float[Tensor, "b 3 h w"], size: Sequence[int] | None, mode: str = "bicubic"
) -> Float[Tensor, "b 3 _ _"]:
    """Bring images to (height, width), averaging where they shrink; None: as they are."""
    if size is None or tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    return F.interpolate(pixels, tuple(size), mode=mode, antialias=True, align_corners=False)


class Sobel(nn.Module):
    """Replace colours by edges: grey is their mean, then Sobel's two 3x3 filters, zeros around. Nothing is learnt.

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
    """Layer before a network's first, and how many channels it gives."""
    return (Sobel(), 2) if sobel else (nn.Identity(), 3)
