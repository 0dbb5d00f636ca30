"""Choosing few of many candidates: those with the lowest keys, exactly, and those drawn far from each other."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Generator, Tensor

from seekloop.contracts.protocols import Criterion
from seekloop.contracts.records import CandidateView


def lowest(keys: Num[Tensor, "q n"], candidate: Bool[Tensor, "q n"], budget: int) -> Int[Tensor, "q {budget}"]:
    """Choose the `budget` candidates with the lowest keys, lowest first; among equals the lower position first.

    Args:
        keys: numbers; infinities are allowed.
        candidate: what may be chosen.
        budget: how many, for every query.

    Returns:
        Positions into the columns of `keys`, distinct.

    Raises:
        ValueError: if a query has fewer candidates, or a candidate's key is NaN.
    """
    require_candidates(candidate, budget)
    return lowest_first(keys, candidate, budget)


def lowest_first(keys: Num[Tensor, "q n"], candidate: Bool[Tensor, "q n"], budget: int) -> Int[Tensor, "q {budget}"]:
    """Like `lowest`, but where a query has fewer candidates, columns after its last one are filled with others."""
    if budget == 0:
        return torch.zeros(len(keys), 0, dtype=torch.long, device=keys.device)
    if (keys.isnan() & candidate).any():
        raise ValueError("a candidate's score is NaN: there is no order to choose by")
    top = torch.finfo(keys.dtype).max  # what is no candidate lies beyond every candidate, even one at infinity
    keys = keys.clamp(max=top).masked_fill_(~candidate, torch.inf)
    last = keys.topk(budget, dim=1, largest=False, sorted=True).values[:, -1:]
    chosen = keys <= last
    crowded = (chosen.sum(dim=1) > budget).nonzero()[:, 0]
    below, level = keys[crowded] < last[crowded], keys[crowded] == last[crowded]
    room = budget - below.sum(dim=1, keepdim=True)  # of the keys equal to the last, only as many as fit, from the left
    chosen[crowded] = below | (level & (level.cumsum(dim=1) <= room))
    positions = chosen.nonzero()[:, 1].reshape(len(keys), budget)  # rising within each query, so a stable sort is due
    return positions.gather(1, keys.gather(1, positions).sort(dim=1, stable=True).indices)


def require_candidates(candidate: Bool[Tensor, "q n"], budget: int) -> None:
    """Refuse a budget that some query's candidates cannot fill.

    Raises:
        ValueError: saying which query, and how many it has.
    """
    left = candidate.sum(dim=1)
    if (left < budget).any():
        query = int(left.argmin())
        raise ValueError(
            f"cannot choose {budget} images for query {query}: only {int(left[query])} candidates are left"
        )


def picked_scores(criterion: Criterion, view: CandidateView, budget: int) -> Float[Tensor, "q {budget}"]:
    """Scores of what a criterion that draws nothing picks, in its order."""
    return view.scores.gather(1, criterion(view, budget, ()))


def uncertain(view: CandidateView, budget: int, factor: int) -> list[Int[Tensor, " _"]]:
    """Shortlist, for every query, the `factor * budget` candidates nearest to the boundary (all, if there are fewer).

    Returns:
        Positions in the collection, rising: a rule that takes the first of equals takes the lowest position.

    Raises:
        ValueError: if a query has fewer than `budget` candidates.
    """
    require_candidates(view.candidate, budget)
    size = min(factor * budget, view.scores.shape[1])
    ordered = lowest_first(view.scores.abs(), view.candidate, size)
    counts = view.candidate.sum(dim=1).tolist()
    return [row[:count].sort().values for row, count in zip(ordered, counts, strict=True)]


def drawn_by_distance(
    squares: Float[Tensor, " n"],
    candidate: Bool[Tensor, " n"],
    budget: int,
    rng: Generator,
    squares_to: Callable[[int], Float[Tensor, " n"]],
) -> Int[Tensor, " {budget}"]:
    """k-means++ seeding: draw candidates in proportion to their squared distance to the nearest centre, none twice.

    Where no candidate is away from the centres, the first is taken.

    Args:
        squares: squared distance of each point to its nearest centre so far; infinite where there is none yet: then
            the first is drawn with equal chances.
        candidate: what may be drawn, at least `budget` points.
        budget: how many.
        rng: draws.
        squares_to: squared distances of all points to a point.

    Returns:
        Positions, in the order drawn.

    Reference:
        Arthur & Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
    """
    squares, free = squares.double().cpu(), candidate.cpu().clone()
    chosen: list[int] = []
    for _ in range(budget):
        chances = torch.where(free, squares.isinf().double() if squares[free].isinf().any() else squares, 0.0)
        ends = chances.cumsum(dim=0)
        mark = torch.rand((), generator=rng, dtype=torch.float64) * ends[-1]
        # without chances to draw by, the first that is free
        drawn = torch.searchsorted(ends, mark, right=True) if mark < ends[-1] else free.int().argmax()
        chosen.append(int(drawn))
        free[chosen[-1]] = False
        squares = squares.minimum(squares_to(chosen[-1]).double().cpu().clamp(min=0.0))
    return torch.tensor(chosen, dtype=torch.long, device=candidate.device)
