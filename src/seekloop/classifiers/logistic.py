r"""Logistic regression with the conventions of the SVMs: L2, cost C, row and class weights, regularised intercept."""

import warnings

import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from seekloop.classifiers.objective import (
    ClassWeight,
    check_class_weight,
    check_positive,
    real_counts,
    row_factors,
)
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer


class Logistic:
    r"""The logistic loss in place of the squared hinge.

    .. math:: \min_{w, b} \; \tfrac12 \|w\|^2 + \tfrac12 b^2 + C \sum_i s_i \log(1 + e^{-y_i (w \cdot x_i + b)})

    The intercept is the weight of a constant feature 1. Solved by scikit-learn's L-BFGS in float64, query by query.

    Args:
        cost: C.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: largest gradient component of the mean loss at which to stop.
        max_iter: iterations after which a fit is given up with an error.
    """

    def __init__(self, cost: int | float, class_weight: ClassWeight, tol: int | float, max_iter: int) -> None:
        check_positive("classifier.cost", cost)
        check_positive("classifier.tol", tol)
        check_positive("classifier.max_iter", max_iter)
        check_class_weight(class_weight)
        self.cost = cost
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query afresh.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
            ConfigError: if a fit needs more than `max_iter` iterations.
        """
        del previous
        factors = row_factors(rows, self.class_weight)
        planes = [
            self._fit_one(rows.rows[q, :n], rows.labels[q, :n], factors[q, :n])
            for q, n in enumerate(real_counts(rows).tolist())
        ]
        stacked = torch.stack(planes).to(rows.rows)
        return LinearScorer(stacked[:, :-1].contiguous(), stacked[:, -1].contiguous())

    def _fit_one(
        self, rows: Float[Tensor, "r d"], labels: Float[Tensor, " r"], factors: Float[Tensor, " r"]
    ) -> Float[Tensor, " d+1"]:
        points = torch.nn.functional.pad(rows.double(), (0, 1), value=1.0).cpu().numpy()
        solver = LogisticRegression(  # type: ignore[no-untyped-call]
            C=self.cost, fit_intercept=False, tol=self.tol, max_iter=self.max_iter
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                solver.fit(points, labels.cpu().numpy(), sample_weight=factors.cpu().numpy())
            except ConvergenceWarning as unfinished:
                why = f"L-BFGS needs more iterations to come within tol={self.tol}"
                raise ConfigError("classifier.max_iter", self.max_iter, why, "Try ten times as many.") from unfinished
        return torch.from_numpy(solver.coef_[0])
