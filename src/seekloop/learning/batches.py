"""Batches of an epoch: pure functions of labels, weights and a generator."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.learning import PseudoLabels


class Batch(NamedTuple):
    """One step of training, by reference: everything that is random about it is settled here.

    Attributes:
        image: position in the dataset of each image.
        target: the label it is trained towards.
        weight: factor on its loss.
        shift: rows and columns that it is moved by.
        mirrored: whether it is seen left to right.
    """

    image: Int[Tensor, " b"]
    target: Int[Tensor, " b"]
    weight: Float[Tensor, " b"]
    shift: Int[Tensor, "b 2"]
    mirrored: Bool[Tensor, " b"]


def eternal(positions: Int[Tensor, " k"], count: int, rng: Generator) -> Int[Tensor, " {count}"]:
    """Give the first `count` of an endless series of random orders, each of which has every position once."""
    times = -(-count // len(positions))
    orders = [positions[torch.randperm(len(positions), generator=rng)] for _ in range(times)]
    return torch.cat([positions[:0], *orders])[:count]


def sampled(weights: Float[Tensor, " n"], count: int, replacement: bool, rng: Generator) -> Int[Tensor, " _"]:
    r"""Draw positions with probability proportional to their weights.

    Args:
        weights: none negative; those of weight 0 are never drawn.
        count: how many; without replacement at most as many as have a weight.
        replacement: whether a position may be drawn again.
        rng: generator.
    """
    positive = (weights > 0).nonzero()[:, 0]
    count = count if replacement else min(count, len(positive))
    if count == 0 or len(positive) == 0:
        return positive[:0]
    keys = weights[positive].double()
    if replacement:
        return positive[torch.multinomial(keys, count, replacement=True, generator=rng)]
    # Sorting by exponential arrival times is drawing without replacement (Efraimidis & Spirakis 2006), of any number.
    arrival = -torch.rand(len(keys), generator=rng, dtype=torch.float64).clamp(min=1e-300).log() / keys
    return positive[arrival.argsort(stable=True)[:count]]


def labelled_epoch(
    labelled: Int[Tensor, " k"], batch: int, iterations: int | None, rng: Generator
) -> Int[Tensor, "t b"]:
    """Draw an epoch over labelled images alone.

    Args:
        labelled: their positions, at least one.
        batch: images in a batch; all of them where there are fewer.
        iterations: number of batches; None: as many whole ones as there are in one pass.
        rng: generator.
    """
    size = min(batch, len(labelled))
    steps = len(labelled) // size if iterations is None else iterations
    return eternal(labelled, steps * size, rng).reshape(steps, size)


def mixed_epoch(
    labelled: Int[Tensor, " k"],
    chosen: Int[Tensor, " p"],
    batch: int,
    labelled_part: int,
    iterations: int | None,
    rng: Generator,
) -> Int[Tensor, "t b"]:
    """Draw an epoch whose batches have a labelled and a pseudo-labelled part, in this order.

    One pass over the pseudo-labelled images, whole batches only; the labelled ones come again as often as needed.

    Args:
        labelled: positions of labelled images, at least one.
        chosen: positions of the pseudo-labelled images of this epoch, at least one.
        batch: images in a batch.
        labelled_part: of which labelled.
        iterations: number of batches; None: as many whole ones as one pass over `chosen` makes, at least one.
        rng: generator.
    """
    rest = min(batch - labelled_part, len(chosen))
    steps = len(chosen) // rest if iterations is None else iterations
    known = eternal(labelled, steps * labelled_part, rng).reshape(steps, labelled_part)
    unknown = eternal(chosen, steps * rest, rng).reshape(steps, rest)
    return torch.cat([known, unknown], dim=1)


def class_weights(labels: Int[Tensor, " n"], classes: int) -> Float[Tensor, " c"]:
    r"""Weigh classes so that they count alike: :math:`\zeta_c = (n / C) / |\{i : \hat y_i = c\}|`, n of those labelled.

    A class without images has weight 0: nothing asks for it.

    Reference:
        Iscen et al., "Label Propagation for Deep Semi-supervised Learning", CVPR 2019, eq. (12).
    """
    counts = torch.bincount(labels[labels >= 0], minlength=classes).float()
    return torch.where(counts > 0, counts.sum() / classes / counts.clamp(min=1), 0.0)


def random_moves(size: Sequence[int], shift: int, flips: bool, rng: Generator) -> tuple[Tensor, Tensor]:
    """Draw for each image a translation of up to `shift` pixels per axis, and whether it is mirrored."""
    moves = torch.randint(-shift, shift + 1, (*size, 2), generator=rng)
    return moves, torch.rand(tuple(size), generator=rng) < (0.5 if flips else 0.0)


def batches_of(
    images: Int[Tensor, "t b"],
    known: PseudoLabels,
    weights: Float[Tensor, " n"],
    shift: int,
    flips: bool,
    rng: Generator,
) -> list[Batch]:
    """Add labels, weights of losses, and how each image is moved, to the batches of an epoch.

    Args:
        images: positions, a row per batch.
        known: labels and pseudo-labels of all images.
        weights: factor on the loss of each image of the dataset.
        shift: largest translation per axis.
        flips: whether images may be mirrored.
        rng: generator.
    """
    moved, mirrored = random_moves(images.shape, shift, flips, rng)
    rows = zip(images, known.labels[images], weights[images], moved, mirrored, strict=True)
    return [Batch(*row) for row in rows]
