"""A dataset whose answer is known, and a network small enough to train in a test."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from seekloop.contracts.learning import Dataset, ImageSet, Network
from seekloop.contracts.randomness import generator

CLASSES = ("red", "green", "blue")


def image_set(count, seed, noise=40):
    """Images of one colour each, `count` of every class, with noise; classes in turn."""
    rng = generator(seed, "world")
    labels = torch.arange(count * len(CLASSES)) % len(CLASSES)
    base = torch.full((len(labels), 3, 8, 8), 100.0)
    base[torch.arange(len(labels)), labels] += 60
    noisy = base + noise * torch.randn(base.shape, generator=rng)
    return ImageSet(noisy.clamp(0, 255).to(torch.uint8), labels)


def dataset(count=20, noise=40):
    channels = (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)
    return Dataset(
        "colours", CLASSES, image_set(count, 0, noise), image_set(count, 1, noise), *channels, shift=1, flips=True
    )


class Small(Network):
    """One convolution, dropout, the mean over the image, unit length, a linear head."""

    def __init__(self, classes, frozen=False):
        super().__init__()
        self.dim, self.frozen = 6, frozen
        self.convolution = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, classes)

    def features(self, pixels):
        maps = F.dropout2d(self.convolution(pixels).relu(), 0.1, self.training)
        return F.normalize(maps.mean(dim=(2, 3)), dim=1)


@dataclass(frozen=True)
class Smalls:
    """Builds `Small` networks."""

    name: str = "small"
    frozen: bool = False
    mean = std = None

    def build(self, classes, seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Small(classes, self.frozen)
