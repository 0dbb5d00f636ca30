"""Initial labels, balanced over classes, and the budget that a dataset allows."""

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Dataset

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
    members = [(labels == c).nonzero()[:, 0] for c in range(classes)]
    orders = [torch.randperm(len(positions), generator=rng) for positions in members]
    drawn = torch.cat([members[c][order[: int(wanted[c])]] for c, order in enumerate(orders)])
    return drawn[torch.randperm(count, generator=rng)]


def revealed(truth: Int[Tensor, " n"], asked: Int[Tensor, " k"]) -> Int[Tensor, " n"]:
    """Give the labels of the images asked about, `UNKNOWN` elsewhere."""
    known = torch.full_like(truth, UNKNOWN)
    known[asked] = truth[asked]
    return known


@declared
def check_budget(dataset: Dataset, initial: int | None, cycles: Count, budget: Count) -> None:
    """Refuse, before any work, more labels than the dataset can give. Each way out that it names is accepted.

    Args:
        dataset: images with their classes.
        initial: labels of the first training, balanced over classes; None: all images have theirs.
        cycles: trainings.
        budget: labels asked for after each of them but the last.

    Raises:
        ConfigError: if a class would be missing at the start, or more labels are asked for than there are images.
    """
    classes, images = len(dataset.classes), len(dataset.train)
    if initial is None and cycles > 1:
        why = "all images have a label from the first training on"
        raise ConfigError("cycles", cycles, why, "Use cycles=1, or a number for initial.", check_budget)
    if initial is None:
        return
    share = -(-initial // classes)
    if initial < classes:
        why = f"{classes} classes cannot all have a label, and a class without any is never predicted"
        raise ConfigError("initial", initial, why, f"Use at least initial={classes}.", check_budget)
    counts = torch.bincount(dataset.train.labels, minlength=classes)
    fewest = int(counts.argmin())
    if (have := int(counts[fewest])) < share:
        why = f"class {dataset.classes[fewest]!r} has {have} images in the dataset, and {share} labels of it are due"
        fix = f"Use at most initial={have * classes}." if have else "Leave the class out of the dataset."
        raise ConfigError("initial", initial, why, fix, check_budget)
    if (total := initial + (cycles - 1) * budget) > images:
        why = f"{initial} labels at the start and {cycles - 1} x {budget} are {total}, of {images} images"
        fewer, most = f"cycles={1 + (images - initial) // budget}", (images - initial) // (cycles - 1)
        fix = f"At most {most} would fit, or {fewer}." if most else f"Use {fewer}."
        raise ConfigError("budget", budget, why, fix, check_budget)
