r"""Logistic regression with the conventions of the SVMs: L2, cost C, row and class weights, regularised intercept."""

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from seekloop.classifiers.objective import Settings, fit_each
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer


@dataclass(frozen=True)
class Logistic(Settings):
    r"""The logistic loss in place of the squared hinge.

    .. math:: \min_{w, b} \; \tfrac12 \|w\|^2 + \tfrac12 b^2 + C \sum_i s_i \log(1 + e^{-y_i (w \cdot x_i + b)})

    The intercept is the weight of a constant feature 1. Solved by scikit-learn's L-BFGS in float64, query by query.

    Args:
        cost: C.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: largest gradient component of the mean loss at which to stop.
        max_iter: iterations after which a fit is given up with an error.
    """

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query afresh.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
            ConfigError: if a fit needs more than `max_iter` iterations.
        """
        del previous
        return fit_each(rows, self.class_weight, self._fit_one)

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
