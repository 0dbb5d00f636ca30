"""Least confidence: ask where even the likeliest class is unlikely."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.probabilities import require_probabilities
from seekloop.criteria.selection import lowest


@dataclass(frozen=True)
class LeastConfidence:
    r"""The images whose largest probability :math:`\max_c p_c` is smallest, smallest first.

    Reference:
        Culotta & McCallum, "Reducing Labeling Effort for Structured Prediction Tasks", AAAI 2005.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        return lowest(require_probabilities(view, "least_confidence").amax(dim=-1), view.candidate, budget)
