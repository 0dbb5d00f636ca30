"""Agreement of two ways of asking: ranks of two criteria, and pseudo-labels of two networks."""

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
    """Agreement of two networks' pseudo-labels with each other and the truth, every image by its weight.

    Attributes:
        images: how many are compared.
        agree: weight of those that both label alike, of a whole of 1.
        right_where_agreed: share of that weight that is right; NaN where there is none.
        right_one: of the weight of the others, the share that the first has right.
        right_other: that the second has right.
    """

    images: int
    agree: float
    right_where_agreed: float
    right_one: float
    right_other: float


def mean_weights(one: PseudoLabels, other: PseudoLabels, subset: Bool[Tensor, " n"]) -> Float[Tensor, " n"]:
    r"""Weigh the images: :math:`h_i = w_i / \sum_j w_j` with :math:`w = (w^1 + w^2) / 2`, 0 off the subset."""
    weights = (one.weights.double() + other.weights.double()) / 2 * subset
    return weights / weights.sum()


def weighted_accuracy(labels: Int[Tensor, " n"], truth: Int[Tensor, " n"], weights: Float[Tensor, " n"]) -> float:
    r"""Sum the weights of images with the right label, :math:`\sum_i h_i 1[z_i = y_i]`; all sum to 1 (or to NaN).

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, eq. 3.13.
    """
    return float((weights * (labels == truth)).sum())


def agreement(
    one: PseudoLabels, other: PseudoLabels, truth: Int[Tensor, " n"], subset: Bool[Tensor, " n"]
) -> Agreement:
    """Compare two networks' pseudo-labels, over images that both have labels for.

    Args:
        one: of the first.
        other: of the second.
        truth: the classes.
        subset: images that count: those that neither has an answer for.
    """
    subset = subset & (one.labels >= 0) & (other.labels >= 0)
    same = one.labels == other.labels
    agreed, apart = (mean_weights(one, other, subset & part) for part in (same, ~same))
    return Agreement(
        images=int(subset.sum()),
        agree=weighted_accuracy(one.labels, other.labels, mean_weights(one, other, subset)),
        right_where_agreed=weighted_accuracy(one.labels, truth, agreed),
        right_one=weighted_accuracy(one.labels, truth, apart),
        right_other=weighted_accuracy(other.labels, truth, apart),
    )


def ranks(criterion: Criterion, view: CandidateView, count: int, rng: Generator) -> Int[Tensor, " n"]:
    """Rank images by when a criterion would ask about them, from 0; `count` for those not among the first `count`."""
    order = criterion(view, count, [rng])[0].cpu()
    ranking = torch.full((view.scores.shape[1],), count)
    ranking[order] = torch.arange(len(order))
    return ranking


def spearman(one: Int[Tensor, " k"], other: Int[Tensor, " k"]) -> float:
    """Correlation of two rankings of the same images, equal ranks sharing their mean; NaN where one is constant."""
    return float(pd.DataFrame({"one": one.numpy(), "other": other.numpy()}).corr("spearman").to_numpy()[0, 1])
