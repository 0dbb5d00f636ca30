"""Criteria of classification, which look at the probability of every class (`seekloop learn`)."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.declared import Share, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import PseudoLabels
from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import lowest


@component
class LeastConfidence:
    r"""The images whose largest probability :math:`\max_c p_c` is smallest, smallest first.

    Reference:
        Culotta & McCallum, "Reducing Labeling Effort for Structured Prediction Tasks", AAAI 2005.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        return lowest(require_probabilities(view, self).amax(dim=-1), view.candidate, budget)


@component
class Margin:
    """The images whose largest probability exceeds the second largest by least, least first.

    Reference:
        Scheffer, Decomain & Wrobel, "Active Hidden Markov Models for Information Extraction", IDA 2001.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        first, second = require_probabilities(view, self).topk(2, dim=-1).values.unbind(dim=-1)
        return lowest(first - second, view.candidate, budget)


@component
class Entropy:
    r"""The images with the highest entropy :math:`-\sum_c p_c \log p_c`, highest first.

    Reference:
        Shannon's entropy as in Settles, "Active Learning Literature Survey", 2009, Sec. 3.1.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        return lowest(-entropy(require_probabilities(view, self)), view.candidate, budget)


@component
class Ceal:
    r"""CEAL: the images with the highest entropy, as `Entropy`, and pseudo-labels for those with the lowest.

    Args:
        delta: :math:`\delta_0`, threshold of the entropy, as a share of the largest one, in cycle 0.
        decay: by how much the threshold falls per cycle.
        parity: whether pseudo-labels have the faults of the code released with the thesis.

    Reference:
        Wang, Zhang, Li, Zhang & Lin, "Cost-Effective Active Learning for Deep Image Classification", TCSVT 2017.
    """

    delta: Share = 0.1
    decay: Annotated[float, Ge(0)] = 0.00033
    parity: bool = False

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        return lowest(-entropy(require_probabilities(view, self)), view.candidate, budget)

    def pseudo_labels(
        self, probabilities: Float[Tensor, "n c"], unlabelled: Bool[Tensor, " n"], cycle: int
    ) -> PseudoLabels:
        r"""The likeliest class, with weight 1, of each unlabelled image with :math:`H(p_i) / \log c < \delta`.

        `parity` repeats two faults of the code released with the thesis: the j-th unlabelled image gets the class
        predicted for the j-th of all images; and no image with a pseudo-label is ever drawn for training, so that all
        weights are 0.

        Args:
            probabilities: of every class, for every image.
            unlabelled: images without a label after the cycle's questions.
            cycle: number of the cycle.
        """
        delta = max(self.delta - self.decay * cycle, 0.0)
        sure = unlabelled & (entropy(probabilities) / math.log(probabilities.shape[1]) < delta)
        likeliest = probabilities.argmax(dim=1)
        if not self.parity:
            return PseudoLabels(torch.where(sure, likeliest, -1), sure.to(probabilities))
        wrong = likeliest[(unlabelled.long().cumsum(dim=0) - 1).clamp(min=0)]
        return PseudoLabels(torch.where(sure, wrong, -1), torch.zeros_like(probabilities[:, 0]))


def entropy(probabilities: Float[Tensor, "*q n c"]) -> Float[Tensor, "*q n"]:
    """Entropy of each distribution, in nats; a class without probability adds nothing."""
    return torch.special.entr(probabilities).sum(dim=-1)


def require_probabilities(view: CandidateView, criterion: object) -> Float[Tensor, "q n c"]:
    """The probabilities of a view.

    Raises:
        ConfigError: where there are none, as in searches, which have one score per image.
    """
    if view.probabilities is None:
        why = "it looks at the probabilities of several classes, which only `seekloop learn` has"
        raise ConfigError("criterion", type(criterion).__name__, why, "For searches use criterion=uncertainty.")
    return view.probabilities
