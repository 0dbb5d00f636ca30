"""What a network sees: pixels from a pool in memory, features and probabilities of all its images."""

import contextlib
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from seekloop.contracts.learning import Evaluation, Network, Pool
from seekloop.learning.augmentation import moved, normalised
from seekloop.learning.batches import Batch

Moves = tuple[Int[Tensor, "n 2"], Bool[Tensor, " n"]]
BFLOAT16 = ("bf16-mixed", "bf16-true", "bf16")


class Pictures(nn.Module):
    """The images of a pool as a network is given them. A module, so that they go where the network goes.

    Args:
        images: pixels.
        pool: whose mean, deviation and augmentation hold.
    """

    images: Tensor

    def __init__(self, images: UInt8[Tensor, "n 3 h w"], pool: Pool) -> None:
        super().__init__()
        self.register_buffer("images", images, persistent=False)
        self.mean, self.std = pool.mean, pool.std
        self.shift, self.flips = pool.shift, pool.flips

    def forward(self, batch: Batch) -> Float[Tensor, "b 3 h w"]:
        """The images of a batch, moved as it says."""
        return normalised(moved(self.images[batch.image], batch.shift, batch.mirrored), self.mean, self.std)

    def blocks(self, size: int, moves: Moves | None) -> Iterator[Float[Tensor, "b 3 h w"]]:
        """All images in order, as they are, or moved."""
        for start in range(0, len(self.images), size):
            block = self.images[start : start + size]
            if moves is not None:
                shift, mirrored = (part[start : start + size].to(block.device) for part in moves)
                block = moved(block, shift, mirrored)
            yield normalised(block, self.mean, self.std)

    def random_moves(self, rng: Generator) -> Moves:
        """How every image might be moved in training."""
        count = len(self.images)
        shift = torch.randint(-self.shift, self.shift + 1, (count, 2), generator=rng)
        return shift, torch.rand(count, generator=rng) < (0.5 if self.flips else 0.0)


@contextlib.contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Without gradients, in the precision that training has."""
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision in BFLOAT16):
        yield


@contextlib.contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """As at test time; afterwards as before."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def view(network: Network, pictures: Pictures, size: int, precision: str, moves: Moves | None) -> Evaluation:
    """Features and probabilities of all images, on the CPU and in single precision.

    Args:
        network: on the same device as `pictures`; its mode is left as it was.
        pictures: the images.
        size: images at once.
        precision: Lightning's name.
        moves: how each image is moved; None: not at all.
    """
    features, logits = [], []
    with in_eval_mode(network), computing(pictures.images.device, precision):
        for pixels in pictures.blocks(size, moves):
            found = network.features(pixels)
            features.append(found.float().cpu())
            logits.append(network.head(found).float().cpu())
    return evaluation(torch.cat(features), torch.cat(logits))


def evaluation(features: Float[Tensor, "n d"], logits: Float[Tensor, "n c"]) -> Evaluation:
    """Features of unit length, and probabilities; ordinary tensors, whatever mode they were computed in."""
    return Evaluation(F.normalize(features.clone(), dim=1), logits.clone().softmax(dim=1))
