"""Top: ask about what the classifier is surest to be relevant."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import lowest


@dataclass(frozen=True)
class Top:
    """The images with the highest scores, highest first: what relevance feedback has always shown its user."""

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        return lowest(-view.scores, view.candidate, budget)

    def floor(self, picked: Float[Tensor, "q b"], round: int) -> Float[Tensor, " q"]:
        """The lowest pick: what scores below it is not asked about."""
        return picked.amin(dim=1)
