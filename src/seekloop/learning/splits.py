"""What is known at the start: the same number of labels of every class."""

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Pool

UNKNOWN = -1
"""Label of an image that nobody was asked about."""


def balanced(labels: Int[Tensor, " n"], classes: int, count: int, rng: Generator) -> Int[Tensor, " {count}"]:
    """Draw `count` images, as many of each class; what does not divide goes to classes drawn at random.

    Returns:
        Positions, in random order.

    Raises:
        ValueError: if a class has too few images; those of `count` and `classes` say how many it needs.
    """
    each, more = divmod(count, classes)
    wanted = torch.full((classes,), each)
    wanted[torch.randperm(classes, generator=rng)[:more]] += 1
    have = torch.bincount(labels, minlength=classes)
    short = (have < wanted).nonzero()[:, 0]
    if len(short):
        first = int(short[0])
        raise ValueError(f"class {first} has {int(have[first])} images, and {int(wanted[first])} are to be drawn of it")
    drawn = [_draw((labels == c).nonzero()[:, 0], int(wanted[c]), rng) for c in range(classes)]
    together = torch.cat(drawn)
    return together[torch.randperm(count, generator=rng)]


def _draw(positions: Int[Tensor, " k"], count: int, rng: Generator) -> Int[Tensor, " {count}"]:
    return positions[torch.randperm(len(positions), generator=rng)[:count]]


def revealed(truth: Int[Tensor, " n"], asked: Int[Tensor, " k"]) -> Int[Tensor, " n"]:
    """The labels as far as they are known: those of the images asked about, `UNKNOWN` elsewhere."""
    known = torch.full_like(truth, UNKNOWN)
    known[asked] = truth[asked]
    return known


def check_budget(pool: Pool, initial: int, cycles: int, budget: int) -> None:
    """Refuse, before any work, what the pool cannot give.

    Raises:
        ConfigError: if a class would be missing at the start, or more labels are asked for than there are images.
    """
    if cycles < 1 or budget < 1:
        key, got = ("learning.cycles", cycles) if cycles < 1 else ("learning.budget", budget)
        raise ConfigError(key, got, "there would be nothing to do", "Use 1 or more.")
    classes, images, share = len(pool.classes), len(pool.train), -(-initial // len(pool.classes))
    if initial < classes:
        why = f"{classes} classes cannot all have a label, and what has none is never predicted"
        raise ConfigError("learning.initial", initial, why, f"Use at least learning.initial={classes}.")
    counts = torch.bincount(pool.train.labels, minlength=classes)
    fewest = int(counts.argmin())
    if (have := int(counts[fewest])) < share:
        why = f"class {pool.classes[fewest]!r} has {have} images in the pool, and {share} labels of each class are due"
        fix = f"Use at most learning.initial={have * classes}." if have else "Leave the class out of the pool."
        raise ConfigError("learning.initial", initial, why, fix)
    if (total := initial + (cycles - 1) * budget) > images:
        why = f"{initial} labels at the start and {cycles - 1} x {budget} are {total}, and the pool has {images} images"
        raise ConfigError("learning.budget", budget, why, _fitting(images - initial, cycles, budget))


def _fitting(left: int, cycles: int, budget: int) -> str:
    """Advice that can be followed: each of its ways out is accepted by `check_budget`."""
    fewer = f"learning.cycles={1 + left // budget}"
    most = left // (cycles - 1)
    return f"At most {most} would fit, or {fewer}." if most else f"Use at most {fewer}."
