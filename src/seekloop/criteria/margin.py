"""Margin: ask where the two likeliest classes are nearly equally likely."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.probabilities import require_probabilities
from seekloop.criteria.selection import lowest


@dataclass(frozen=True)
class Margin:
    """The images whose largest probability exceeds the second largest by least, least first.

    Reference:
        Scheffer, Decomain & Wrobel, "Active Hidden Markov Models for Information Extraction", IDA 2001.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        first, second = require_probabilities(view, "margin").topk(2, dim=-1).values.unbind(dim=-1)
        return lowest(first - second, view.candidate, budget)
