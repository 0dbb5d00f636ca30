"""Linear SVM in which the positive rows together weigh a given multiple of the negative ones."""

from dataclasses import field, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from seekloop.classifiers.objective import real_counts
from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer


@component
class SvmBalanced:
    r"""The machine of `svm_numba`, with classes weighted by their totals.

    A positive row of weight :math:`s_i` has the factor :math:`s_i \frac{\rho}{1 + \rho} \frac{S}{S_+}`, a negative one
    :math:`s_i \frac{1}{1 + \rho} \frac{S}{S_-}`, where :math:`S = S_+ + S_-` sums the weights: the positives weigh
    :math:`\rho` times what the negatives weigh, however many there are of either, and the sum stays S. With
    :math:`\rho = 1` this is `class_weight=balanced`.

    Source: ASReview 2.0, `asreview.models.balancers.Balanced` and its default model ELAS u4 (ratio 9.8, squared hinge,
    C = 0.11).

    Args:
        cost: C of the objective.
        ratio: :math:`\rho`, what the positives weigh together where the negatives weigh 1.
        tol: largest projected gradient at which a solution is accepted.
        max_iter: passes over the rows after which a fit is given up with an error.
        threads: most problems solved at a time, or auto: as many as torch uses (OMP_NUM_THREADS).
    """

    cost: Positive = 0.11
    ratio: Positive = 9.8
    tol: Positive = 1e-4
    max_iter: Count = 10_000
    threads: Literal["auto"] | Count = field(default="auto", metadata=NOT_IN_RECIPE)

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query, starting from `previous.duals` where there are any.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
            ConfigError: if a fit needs more than `max_iter` passes.
        """
        real_counts(rows)
        machine = SvmNumba(self.cost, "none", self.tol, self.max_iter, self.threads)
        return machine.fit(replace(rows, weights=balanced(rows, self.ratio)), previous)


def balanced(rows: TrainingRows, ratio: float) -> Float[Tensor, "q r"]:
    """Weights of rows, scaled so that positives sum to `ratio` times the negatives, and all to what they did.

    Example:
        >>> import torch
        >>> y = torch.tensor([[1.0, -1.0, -1.0, -1.0, 0.0]])
        >>> rows = TrainingRows.padded(torch.zeros(1, 5, 1), y, torch.ones(1, 5), y != 0, torch.zeros(1, 1))
        >>> balanced(rows, 3.0)
        tensor([[3.0000, 0.3333, 0.3333, 0.3333, 0.0000]])
    """
    weights = rows.weights * rows.mask
    positive = weights * (rows.labels > 0)
    negative = weights - positive
    total = weights.sum(dim=1, keepdim=True) / (1 + ratio)
    return total * (ratio * positive / positive.sum(dim=1, keepdim=True) + negative / negative.sum(dim=1, keepdim=True))
