"""CEAL: ask about the most uncertain images, and believe the network where it is sure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import PseudoLabels
from seekloop.contracts.records import CandidateView
from seekloop.criteria.entropy import entropy
from seekloop.criteria.probabilities import require_probabilities
from seekloop.criteria.selection import lowest


@dataclass(frozen=True)
class Ceal:
    r"""The highest entropy, as `Entropy`; beside it, `pseudo_labels` for what is surest.

    Args:
        delta: :math:`\delta_0`, threshold of the entropy, as a share of the largest one, in cycle 0.
        decay: by how much the threshold falls per cycle.
        parity: whether pseudo-labels are as in the code released with the thesis; see `released_pseudo_labels`.

    Reference:
        Wang, Zhang, Li, Zhang & Lin, "Cost-Effective Active Learning for Deep Image Classification", TCSVT 2017.
    """

    delta: float
    decay: float
    parity: bool

    def __post_init__(self) -> None:
        if not 0 <= self.delta <= 1:
            raise ConfigError("criterion.delta", self.delta, "it is a share of the largest entropy", "Usual: 0.1.")
        if not self.decay >= 0:
            raise ConfigError("criterion.decay", self.decay, "the threshold must not rise", "Usual: 0.00033.")

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        return lowest(-entropy(require_probabilities(view, "ceal")), view.candidate, budget)

    def pseudo_labels(
        self, probabilities: Float[Tensor, "n c"], unlabelled: Bool[Tensor, " n"], cycle: int
    ) -> PseudoLabels:
        """What is believed without asking in a cycle, of the images still unlabelled after its questions."""
        delta = max(self.delta - self.decay * cycle, 0.0)
        rule = released_pseudo_labels if self.parity else pseudo_labels
        return rule(probabilities, unlabelled, delta)


def pseudo_labels(probabilities: Float[Tensor, "n c"], unlabelled: Bool[Tensor, " n"], delta: float) -> PseudoLabels:
    r"""The likeliest class, with weight 1, of each unlabelled image with :math:`H(p_i) / \log c < \delta`."""
    sure = surest(probabilities, unlabelled, delta)
    return PseudoLabels(torch.where(sure, probabilities.argmax(dim=1), -1), sure.to(probabilities))


def released_pseudo_labels(
    probabilities: Float[Tensor, "n c"], unlabelled: Bool[Tensor, " n"], delta: float
) -> PseudoLabels:
    """The same with the two faults of the code released with the thesis.

    The j-th unlabelled image gets the class predicted for the j-th image of the whole pool; and no image with a
    pseudo-label is ever drawn for training, so that all weights are 0.
    """
    sure = surest(probabilities, unlabelled, delta)
    place = unlabelled.long().cumsum(dim=0) - 1
    wrong = probabilities.argmax(dim=1)[place.clamp(min=0)]
    return PseudoLabels(torch.where(sure, wrong, -1), torch.zeros_like(probabilities[:, 0]))


def surest(probabilities: Float[Tensor, "n c"], unlabelled: Bool[Tensor, " n"], delta: float) -> Bool[Tensor, " n"]:
    """The unlabelled images whose entropy, as a share of the largest that so many classes allow, is below `delta`."""
    return unlabelled & (entropy(probabilities) / math.log(probabilities.shape[1]) < delta)
