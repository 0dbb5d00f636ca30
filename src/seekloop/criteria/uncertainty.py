"""Uncertainty: ask where the classifier is least sure."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import lowest


@dataclass(frozen=True)
class Uncertainty:
    r"""The images nearest to the decision boundary, smallest :math:`|f|` first.

    The same order as by :math:`1 - |0.5 - \sigma(f)|`, highest first, without the ties that a saturated sigmoid makes.

    Reference:
        Lewis & Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        return lowest(view.scores.abs(), view.candidate, budget)

    def floor(self, picked: Float[Tensor, "q b"], round: int) -> Float[Tensor, " q"]:
        """The mirror image of the last pick: below it, an image lies farther from the boundary than any pick."""
        return -picked.abs().amax(dim=1)
