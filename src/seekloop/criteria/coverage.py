"""Criteria that ask for a batch whose neighbourhoods cover what the classifier is uncertain about."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import brentq
from scipy.special import expit
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import uncertain

_COPIES = 1e-4  # squared distance of two pictures that count as one; rounding in single precision is a hundredth of it


@component
class UncertaintyHerding:
    r"""Greedily raise the uncertainty coverage of a shortlist of uncertain candidates, on their global descriptors.

    .. math:: \mathrm{UCov}(S) = \frac{1}{N} \sum_{n=1}^{N} U(x_n) \max_{x' \in L \cup S} k(x_n, x'), \qquad
              U = 1 - \bigl(p_{(1)} - p_{(2)}\bigr), \qquad
              k(x, x') = \exp\bigl(-\lVert x - x' \rVert^2 / \sigma^2\bigr)

    The paper's, by its abstract and its authors' code: coverage, its greedy maximisation, U from the margin of the two
    largest probabilities at a temperature, the kernel on descriptors of unit length, and :math:`\sigma` as the smallest
    distance between two labelled images, so that few labels ask for coverage and many for uncertainty.

    Ours, for two classes on either side of the score 0, where :math:`U = 2 / (1 + \exp(\lvert f \rvert / T))`:

    - The N images are the shortlist. There they are all images, labelled ones with U = 0.
    - The temperature is `calibrated`, from the scores of the answered images. There it minimises the calibration error
      of a classifier on labels that were held out from it, and a criterion fits no classifier.
    - Labelled images that are copies of each other do not make :math:`\sigma`.

    Args:
        shortlist: candidates kept per image asked for, most uncertain first; 1 asks about the most uncertain ones.
        bandwidth: :math:`\sigma`, a distance between descriptors of unit length; None: from the labelled images.
        temperature: T, in units of the score; None: from the answers.

    Reference:
        Bae, Oliveira & Sutherland, "Uncertainty Herding: One Active Learning Method for All Label Budgets", ICLR 2025,
        arXiv 2412.20644.
    """

    shortlist: Count = 20
    bandwidth: Positive | None = None
    temperature: Positive | None = None

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        picks = []
        shortlists = uncertain(view, budget, self.shortlist)
        for kept, scores, answers in zip(shortlists, view.scores, view.answers, strict=True):
            known = answers.nonzero()[:, 0]
            points, labelled = view.descriptors[kept], view.descriptors[known]
            bandwidth = self.bandwidth or smallest_distance(labelled)
            temperature = self.temperature or calibrated(scores[known], answers[known])
            weight = 2 * (-scores[kept].abs() / temperature).sigmoid()
            picks.append(kept[cover(points, weight.to(points), labelled, budget, bandwidth).to(kept.device)])
        return torch.stack(picks)


def cover(
    points: Float[Tensor, "k d"],
    weight: Float[Tensor, " k"],
    labelled: Float[Tensor, "l d"],
    budget: int,
    bandwidth: int | float,
) -> Int[Tensor, " {budget}"]:
    r"""Greedily choose points that raise the weighted coverage of all points most.

    .. math:: i_b = \arg\max_i \sum_n w_n \max\bigl(k(x_n, x_i) - c_n, 0\bigr), \qquad
              c_n = \max_{x' \in L \cup \{x_{i_1}, \dots, x_{i_{b-1}}\}} k(x_n, x')

    No point is chosen twice; of equals the first is chosen.

    Args:
        points: unit length.
        weight: :math:`w \ge 0` of each point.
        labelled: :math:`L`, unit length; may be none.
        budget: how many, at most k.
        bandwidth: :math:`\sigma` of the kernel :math:`k(x, x') = \exp(-\lVert x - x' \rVert^2 / \sigma^2)`.

    Returns:
        Positions into `points`, in the order chosen.
    """
    kernel = _gaussian(points, points, bandwidth).fill_diagonal_(1.0)  # a small bandwidth magnifies rounding
    covered = torch.cat([points.new_zeros(len(points), 1), _gaussian(points, labelled, bandwidth)], dim=1).amax(dim=1)
    free = torch.ones(len(points), dtype=torch.bool, device=points.device)
    chosen: list[Tensor] = []
    for _ in range(budget):
        gain = (kernel - covered).clamp_(min=0.0) @ weight  # the kernel is symmetric: row i is what i covers
        chosen.append(gain.masked_fill(~free, -1.0).argmax())
        free[chosen[-1]] = False
        covered = torch.maximum(covered, kernel[chosen[-1]])
    return torch.stack(chosen)


def _gaussian(
    points: Float[Tensor, "k d"], others: Float[Tensor, "l d"], bandwidth: int | float
) -> Float[Tensor, "k l"]:
    return ((points @ others.T - 1).clamp_(max=0.0) * (2 / bandwidth**2)).exp_()


def smallest_distance(rows: Float[Tensor, "l d"]) -> float:
    """Smallest Euclidean distance between two rows of unit length that are no copies of each other; 1 without such.

    Copies are closer than 0.01.
    """
    squares = 2 - 2 * (rows @ rows.T)
    apart = squares[squares > _COPIES]
    return float(apart.min().sqrt()) if len(apart) else 1.0


def calibrated(scores: Float[Tensor, " l"], answers: Int[Tensor, " l"]) -> float:
    r"""Temperature T at which :math:`\sigma(f / T)` fits the answers best, in cross-entropy with Platt's targets.

    .. math:: \min_{T > 0} -\sum_i t_i \log \sigma(y_i f_i / T) + (1 - t_i) \log \sigma(-y_i f_i / T), \qquad
              t_i = \frac{N_{y_i} + 1}{N_{y_i} + 2}

    The targets below 1 allow for scores of answers that the classifier has learnt from: perfectly separated ones give a
    finite T, which falls with the number of answers. T has the unit of the scores.

    Args:
        scores: decision values of answered images.
        answers: +1 or -1; :math:`N_y` counts each.

    Returns:
        T; infinity where the scores say nothing of the answers, or there are none: then all are equally uncertain.

    Reference:
        Platt, "Probabilistic Outputs for Support Vector Machines", 1999, without his intercept: 0 stays the boundary.
    """
    sign = answers.cpu().numpy().astype(np.float64)
    along = sign * scores.double().cpu().numpy()  # y f: above 0 where the score agrees
    count = np.where(sign > 0, (sign > 0).sum(), (sign < 0).sum())
    target = (count + 1) / (count + 2)

    def slope(inverse: float) -> float:
        return float(along @ (expit(along * inverse) - target))  # of the cross-entropy, which is convex in 1 / T

    if slope(0.0) >= 0:
        return np.inf
    high = 1 / np.abs(along).max()
    while slope(high) < 0:
        high *= 2
    inverse = float(brentq(slope, 0.0, high, xtol=1e-12 * high))
    return 1 / inverse if inverse else np.inf
