"""Draws that keep the proportions of the classes."""

import torch
from jaxtyping import Int
from torch import Generator, Tensor


def shares(counts: Int[Tensor, " c"], total: int) -> Int[Tensor, " c"]:
    """Divide `total` among classes in proportion to their counts, by largest remainders; ties go to the lower class.

    Every class with images gets at least one where `total` allows it.

    Raises:
        ValueError: if there are fewer than `total` together.

    Example:
        >>> shares(torch.tensor([70, 25, 5]), 10)
        tensor([7, 2, 1])
    """
    there = int(counts.sum())
    if total > there:
        raise ValueError(f"{total} are to be drawn of {there}")
    least = (counts > 0).long() if total >= int((counts > 0).sum()) else torch.zeros_like(counts)
    quota = counts.double() * total / max(there, 1)
    given = torch.maximum(quota.floor().long(), least)
    while (rest := total - int(given.sum())) != 0:
        owed = quota - given
        if rest > 0:
            given[int(owed.masked_fill(given >= counts, -torch.inf).argmax())] += 1
        else:
            given[int(owed.masked_fill(given <= least, torch.inf).argmin())] -= 1
    return given


def stratified(labels: Int[Tensor, " n"], total: int, rng: Generator) -> Int[Tensor, " {total}"]:
    """Positions of `total` images, each class in its proportion, in ascending order.

    Raises:
        ValueError: if there are fewer images.
    """
    drawn = []
    for label, share in enumerate(shares(torch.bincount(labels), total).tolist()):
        members = (labels == label).nonzero()[:, 0]
        drawn.append(members[torch.randperm(len(members), generator=rng)[:share]])
    return torch.cat(drawn).sort().values if drawn else labels[:0]


def divided(labels: Int[Tensor, " n"], share: float, rng: Generator) -> tuple[Int[Tensor, " _"], Int[Tensor, " _"]]:
    """Positions of the remaining and of the held-out images; the latter are `share` of all, stratified."""
    held = stratified(labels, round(share * len(labels)), rng)
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[held] = False
    return rest.nonzero()[:, 0], held
