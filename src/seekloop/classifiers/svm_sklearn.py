"""Linear SVM by scikit-learn's LinearSVC, one query after the other: the reference for the other solvers."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from torch import Tensor

from seekloop.classifiers.objective import Settings, fit_each
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer


@dataclass(frozen=True)
class SvmSklearn(Settings):
    """liblinear through scikit-learn, in float64 and one thread. Every round is fitted afresh.

    Args:
        cost: C of the objective.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: liblinear's stopping tolerance.
        max_iter: iterations after which a fit is given up with an error.
    """

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query; `previous` is of no use to liblinear.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
            ConfigError: if a fit needs more than `max_iter` iterations.
        """
        del previous
        return fit_each(rows, self.class_weight, self._fit_one)

    def _fit_one(
        self, rows: Float[Tensor, "r d"], labels: Float[Tensor, " r"], factors: Float[Tensor, " r"]
    ) -> Float[Tensor, " d+1"]:
        dual = rows.shape[0] < rows.shape[1]
        solver = LinearSVC(  # type: ignore[no-untyped-call]
            C=self.cost, dual=dual, tol=self.tol, max_iter=self.max_iter, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                solver.fit(rows.cpu().numpy(), labels.cpu().numpy(), sample_weight=factors.cpu().numpy())
            except ConvergenceWarning as unfinished:
                why = f"liblinear needs more iterations to come within tol={self.tol}"
                raise ConfigError("classifier.max_iter", self.max_iter, why, "Try ten times as many.") from unfinished
        return torch.from_numpy(np.append(solver.coef_[0], solver.intercept_))
