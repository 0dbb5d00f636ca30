"""Pictures of a dataset in memory as a network sees them; features and probabilities of all of them."""

import contextlib
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from seekloop.contracts.learning import Dataset, Evaluation, Network
from seekloop.learning.batches import Batch, random_moves

Moves = tuple[Int[Tensor, "n 2"], Bool[Tensor, " n"]]
BFLOAT16 = ("bf16-mixed", "bf16-true")


def moved(
    images: UInt8[Tensor, "b 3 h w"], shift: Int[Tensor, "b 2"], mirrored: Bool[Tensor, " b"]
) -> UInt8[Tensor, "b 3 h w"]:
    """Mirror each image, then translate it; what comes in from outside is its reflection, the edge not repeated.

    Args:
        images: pixels.
        shift: rows down and columns to the right, each less than the image's side.
        mirrored: whether to turn left to right.
    """

    def reflected(size: int, shifts: Int[Tensor, "b 1"]) -> Int[Tensor, "b {size}"]:
        """Positions outside folded back, such as -1 to 1 and `size` to `size - 2`."""
        positions = torch.arange(size, device=images.device) - shifts
        return size - 1 - (size - 1 - positions.abs()).abs()

    height, width = images.shape[-2:]
    rows, columns = reflected(height, shift[:, :1]), reflected(width, shift[:, 1:])
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    each = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(3, device=images.device)[None, :, None, None]
    return images[each, channel, rows[:, None, :, None], columns[:, None, None, :]]


def normalised(
    images: UInt8[Tensor, "b 3 h w"], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Float[Tensor, "b 3 h w"]:
    """Pixels in [0, 1], less the mean of their channel, over its deviation."""
    centre, spread = (images.new_tensor(values, dtype=torch.float32)[:, None, None] for values in (mean, std))
    return (images.float() / 255 - centre) / spread


class Pictures(nn.Module):
    """Images of a dataset as a network is given them. A module, so that they go where the network goes.

    Args:
        images: pixels.
        dataset: whose mean, deviation and augmentation hold.
    """

    images: Tensor

    def __init__(self, images: UInt8[Tensor, "n 3 h w"], dataset: Dataset) -> None:
        super().__init__()
        self.register_buffer("images", images, persistent=False)
        self.mean, self.std = dataset.mean, dataset.std
        self.shift, self.flips = dataset.shift, dataset.flips

    def forward(self, batch: Batch, channels_last: bool) -> Float[Tensor, "b 3 h w"]:
        """Images of a batch, moved as it says."""
        pixels = normalised(moved(self.images[batch.image], batch.shift, batch.mirrored), self.mean, self.std)
        return pixels.contiguous(memory_format=torch.channels_last) if channels_last else pixels

    def blocks(self, size: int, moves: Moves | None) -> Iterator[Float[Tensor, "b 3 h w"]]:
        """All images in order, as they are, or moved."""
        for start in range(0, len(self.images), size):
            block = self.images[start : start + size]
            if moves is not None:
                block = moved(block, *(part[start : start + size].to(block.device) for part in moves))
            yield normalised(block, self.mean, self.std)

    def random_moves(self, rng: Generator) -> Moves:
        """Draw how every image might be moved in training."""
        return random_moves((len(self.images),), self.shift, self.flips, rng)


@contextlib.contextmanager
def at_test_time(network: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """In evaluation mode, without gradients, in the precision of training; the network's mode is then as before."""
    before = network.training
    network.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision in BFLOAT16):
            yield
    finally:
        network.train(before)


def features_of(network: Network, pictures: Pictures, size: int, precision: str) -> Float[Tensor, "n d"]:
    """Features of all images as they are, in single precision, on the network's device."""
    with at_test_time(network, pictures.images.device, precision):
        features = [network.features(pixels).float() for pixels in pictures.blocks(size, None)]
    return torch.cat(features).clone()  # an ordinary tensor, not one of inference mode


def view(network: Network, pictures: Pictures, size: int, precision: str, moves: Moves | None) -> Evaluation:
    """Unit features and probabilities of all images, on the CPU and in single precision.

    Args:
        network: on the same device as `pictures`.
        pictures: the images.
        size: images at once.
        precision: Lightning's name.
        moves: how each image is moved; None: not at all.
    """
    features, logits = [], []
    with at_test_time(network, pictures.images.device, precision):
        for pixels in pictures.blocks(size, moves):
            features.append(network.features(pixels))
            logits.append(network.head(features[-1]).float().cpu())
    unit = F.normalize(torch.cat([part.float().cpu() for part in features]).clone(), dim=1)
    return Evaluation(unit, torch.cat(logits).clone().softmax(dim=1))
