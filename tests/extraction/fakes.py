"""A collection without files and a network without training, for extraction tests."""

import hashlib
import os
import signal

import numpy as np
import torch
from PIL import Image
from torch import nn

from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.records import Annotations, Tokens


def annotations(boxes=()):
    """One class; `boxes` are pairs of image and box."""
    count = len(boxes)
    return Annotations(
        ("thing",),
        torch.tensor([image for image, _ in boxes], dtype=torch.long),
        torch.zeros(count, dtype=torch.long),
        torch.tensor([box for _, box in boxes], dtype=torch.float32).reshape(count, 4),
        torch.zeros(count, dtype=torch.bool),
        torch.zeros(count, dtype=torch.bool),
    )


class Noise:
    """Pictures of 40 x 36 random pixels, each from its own seed.

    `corrupt` ones cannot be read; reading `deadly` kills the process as `kill -9` does.
    """

    def __init__(self, images, boxes=(), corrupt=(), deadly=None, salt=0):
        self.name = "noise"
        self.paths = [f"folder/{i}.png" for i in range(images)]
        self.annotations = annotations(boxes)
        self.problems = ()
        self.corrupt, self.deadly, self.salt = corrupt, deadly, salt

    def read(self, image: int) -> Image.Image:
        if image in self.corrupt:
            raise UnreadableImageError(self.paths[image], "not an image")
        if image == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng([image, self.salt])
        return Image.fromarray(rng.integers(0, 256, (36, 40, 3), dtype=np.uint8))

    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.paths, self.salt)).encode()).hexdigest()


class Patches(nn.Module):
    """One fixed convolution: 32 x 32 pixels to 4 x 4 tokens of 6 numbers, and a class token unless told otherwise."""

    def __init__(self, cls=True, scale=1.0, seed=0):
        super().__init__()
        self.name, self.dim, self.image_size = "patches", 6, (32, 32)
        self.mean, self.std, self.interpolation = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear"
        self.weights_hash = f"seed {seed} {cls} {scale}"
        self.cls, self.scale = cls, scale
        self.conv = nn.Conv2d(3, 6, 8, 8)
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=rng) / 14)

    def forward(self, pixels):
        patches = self.conv(pixels.to(self.conv.weight.dtype)).permute(0, 2, 3, 1).float() * self.scale
        cls = patches.amax(dim=(1, 2)) if self.cls else None
        return Tokens(cls, patches.new_zeros(len(pixels), 0, 6), patches)
