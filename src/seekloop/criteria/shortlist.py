"""Shortlists: the most uncertain candidates, among which a costlier rule then chooses."""

from jaxtyping import Int
from torch import Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import lowest_first, require_candidates


def uncertain(view: CandidateView, budget: int, factor: int) -> list[Int[Tensor, " _"]]:
    """For every query the `factor * budget` candidates nearest to the boundary (all, if there are fewer).

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


def require_factor(factor: int) -> None:
    """Refuse a shortlist that cannot hold the batch."""
    if factor < 1:
        raise ConfigError("criterion.shortlist", factor, "it must hold the whole batch", "Choose 1 or more.")
