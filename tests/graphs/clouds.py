"""Features whose graph is known."""

import math

import torch
from torch.nn import functional as F


def on_circle(*degrees):
    """Unit vectors at these angles."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def cos3(degrees):
    return math.cos(math.radians(degrees)) ** 3


def clouds(sizes, dim=12, spread=0.15, seed=0):
    """Points around orthogonal directions, one for each size, and which direction each belongs to."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    points = torch.eye(dim, dtype=torch.float64)[label]
    return F.normalize(points + spread * torch.randn(points.shape, generator=rng, dtype=torch.float64), dim=1), label
