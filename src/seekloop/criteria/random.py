"""Random: the baseline every criterion must beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import require_candidates


@dataclass(frozen=True)
class Random:
    """Candidates drawn without looking at scores, all with equal chances, none twice."""

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        require_candidates(view.candidate, budget)
        return torch.stack([_drawn(row, budget, rng) for row, rng in zip(view.candidate, rngs, strict=True)])


def _drawn(candidate: Bool[Tensor, " n"], budget: int, rng: Generator) -> Int[Tensor, " {budget}"]:
    positions = candidate.nonzero()[:, 0]
    return positions[torch.randperm(len(positions), generator=rng)[:budget].to(positions.device)]
