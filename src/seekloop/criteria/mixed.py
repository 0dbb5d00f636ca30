"""Mixed: part of each batch exploits, the rest explores, and the shares move over the rounds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import lowest, require_candidates


@dataclass(frozen=True)
class Mixed:
    """The highest scores first, then the most uncertain of the others.

    Args:
        exploit_start: share of the first batch given to the highest scores, from 0 (all uncertain) to 1 (all top).
        exploit_end: the same from round `rounds` on.
        rounds: over how many rounds the share moves from one to the other, in equal steps.
    """

    exploit_start: float
    exploit_end: float
    rounds: int

    def __post_init__(self) -> None:
        for key, share in (("exploit_start", self.exploit_start), ("exploit_end", self.exploit_end)):
            if not 0 <= share <= 1:
                raise ConfigError(f"criterion.{key}", share, "it is a share of the batch", "Choose from 0 to 1.")
        if self.rounds < 1:
            raise ConfigError("criterion.rounds", self.rounds, "the share moves over rounds", "Choose 1 or more.")

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        require_candidates(view.candidate, budget)
        exploited = self.exploited(view.round, budget)
        top = lowest(-view.scores, view.candidate, exploited)
        others = view.candidate.scatter(1, top, False)
        return torch.cat([top, lowest(view.scores.abs(), others, budget - exploited)], dim=1)

    def floor(self, picked: Float[Tensor, "q b"], round: int) -> Float[Tensor, " q"]:
        """The lower of the lowest pick among the highest scores, and the mirror image of the last uncertain pick."""
        exploited = self.exploited(round, picked.shape[1])
        return torch.cat([picked[:, :exploited], -picked[:, exploited:].abs()], dim=1).amin(dim=1)

    def exploited(self, number: int, budget: int) -> int:
        """How many of the batch that follows round `number` are highest scores; halves are rounded up."""
        moved = min(number / self.rounds, 1.0)
        share = self.exploit_start + moved * (self.exploit_end - self.exploit_start)
        return int(share * budget + 0.5)
