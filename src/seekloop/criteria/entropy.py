"""Entropy: ask where the classes are most evenly likely."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.probabilities import require_probabilities
from seekloop.criteria.selection import lowest


@dataclass(frozen=True)
class Entropy:
    r"""The images with the highest entropy :math:`-\sum_c p_c \log p_c`, highest first.

    Reference:
        Shannon's entropy as in Settles, "Active Learning Literature Survey", 2009, Sec. 3.1.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        return lowest(-entropy(require_probabilities(view, "entropy")), view.candidate, budget)


def entropy(probabilities: Float[Tensor, "*q n c"]) -> Float[Tensor, "*q n"]:
    """In nats; a class without probability adds nothing."""
    return torch.special.entr(probabilities).sum(dim=-1)
