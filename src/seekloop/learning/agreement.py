"""Agreement of two acquisition functions: the images that they choose, and the pseudo-labels that follow."""

from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.learning import PseudoLabels
from seekloop.contracts.protocols import Criterion
from seekloop.contracts.records import CandidateView


@dataclass(frozen=True)
class Agreement:
    """Agreement of two sets of pseudo-labels with each other and the truth; NaN where there is no image.

    Attributes:
        images: how many are compared.
        agree: share of them that both label alike.
        agree_weighted: the same by weight, the weighted accuracy of one set against the other.
        accuracy_one: weighted accuracy of the first.
        accuracy_other: of the second.
        accuracy_alike: of either, over the images that both label alike.
        accuracy_apart_one: of the first, over the others.
        accuracy_apart_other: of the second, over the others.
        weight_alike: mean weight of the images that both label alike.
        weight_apart: of the others.
    """

    images: int
    agree: float
    agree_weighted: float
    accuracy_one: float
    accuracy_other: float
    accuracy_alike: float
    accuracy_apart_one: float
    accuracy_apart_other: float
    weight_alike: float
    weight_apart: float


def weighted_accuracy(one: Int[Tensor, " n"], other: Int[Tensor, " n"], weights: Float[Tensor, " n"]) -> float:
    r"""Share of the weight on which two labellings are equal, :math:`\sum_i w_i 1[z_i = z'_i] / \sum_i w_i`.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, eq. 3.13.
    """
    return float((weights * (one == other)).sum() / weights.sum())


def agreement(
    one: PseudoLabels, other: PseudoLabels, truth: Int[Tensor, " n"], subset: Bool[Tensor, " n"]
) -> Agreement:
    r"""Compare two sets of pseudo-labels by the average weights :math:`w = (w^1 + w^2) / 2`.

    Args:
        one: the first.
        other: the second.
        truth: the classes.
        subset: images that count: those that neither has an answer for. Left out are those without a pseudo-label.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, Table 3.4.
    """
    subset = subset & (one.labels >= 0) & (other.labels >= 0)
    first, second, true = one.labels[subset], other.labels[subset], truth[subset]
    weights = (one.weights.double() + other.weights.double())[subset] / 2
    alike = first == second
    agreed, apart = weights * alike, weights * ~alike
    return Agreement(
        images=len(true),
        agree=float(alike.double().mean()),
        agree_weighted=weighted_accuracy(first, second, weights),
        accuracy_one=weighted_accuracy(first, true, weights),
        accuracy_other=weighted_accuracy(second, true, weights),
        accuracy_alike=weighted_accuracy(first, true, agreed),
        accuracy_apart_one=weighted_accuracy(first, true, apart),
        accuracy_apart_other=weighted_accuracy(second, true, apart),
        weight_alike=float(weights[alike].mean()),
        weight_apart=float(weights[~alike].mean()),
    )


def ranks(criterion: Criterion, view: CandidateView, rng: Generator) -> Int[Tensor, " n"]:
    """Rank all candidates by when a criterion would ask about them, from 0; -1 for images that are none."""
    order = criterion(view, int(view.candidate[0].sum()), [rng])[0].cpu()
    ranking = torch.full((view.scores.shape[1],), -1)
    ranking[order] = torch.arange(len(order))
    return ranking


def spearman(one: Int[Tensor, " k"], other: Int[Tensor, " k"]) -> float:
    """Correlation of two rankings of the same images, equal ranks sharing their mean; NaN where one is constant."""
    return float(pd.DataFrame({"one": one.numpy(), "other": other.numpy()}).corr("spearman").to_numpy()[0, 1])
