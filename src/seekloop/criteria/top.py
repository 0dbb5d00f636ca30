"""Top: ask about what the classifier is surest to be relevant."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Generator, Tensor

from seekloop.contracts.records import PoolView
from seekloop.criteria.selection import lowest


@dataclass(frozen=True)
class Top:
    """The images with the highest scores, highest first: what relevance feedback has always shown its user."""

    def __call__(self, view: PoolView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        return lowest(-view.scores, view.candidate, budget)
