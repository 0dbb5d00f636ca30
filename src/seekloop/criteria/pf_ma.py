"""PF-MA: likely positives nearest to the boundary first."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import lowest_first, require_candidates


@dataclass(frozen=True)
class PfMa:
    r"""Images on the positive side (:math:`f \ge 0`), nearest to the boundary first; then the rest, nearest first.

    Our reading of the abstract: among the images near the boundary, those that are likely to be positive.

    Reference:
        Zaher, Buisson & Joly, arXiv 2603.24480.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        require_candidates(view.candidate, budget)
        likely = view.candidate & (view.scores >= 0)
        count = likely.sum(dim=1, keepdim=True).clamp(max=budget)
        first = lowest_first(view.scores, likely, budget)
        then = lowest_first(-view.scores, view.candidate & ~likely, budget)
        place = torch.arange(budget, device=view.scores.device).expand_as(first)
        return torch.where(place < count, first, then.gather(1, (place - count).clamp(min=0)))

    def floor(self, picked: Float[Tensor, "q b"], round: int) -> Float[Tensor, " q"]:
        """The boundary, or the lowest pick where picks lie below it: any likely image could come before these."""
        return picked.amin(dim=1).clamp(max=0.0)
