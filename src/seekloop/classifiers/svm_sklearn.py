"""Linear SVM by scikit-learn's LinearSVC, one query after the other: the reference for the other solvers."""

import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from torch import Tensor

from seekloop.classifiers.objective import OneByOne
from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.errors import ConfigError


@component
class SvmSklearn(OneByOne):
    """liblinear through scikit-learn, in float64 and one thread.

    Args:
        cost: C of the objective.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: liblinear's stopping tolerance.
        max_iter: iterations after which a fit is given up with an error.
    """

    tol: Positive = 1e-6
    max_iter: Count = 1_000_000

    def fit_one(
        self, rows: Float[Tensor, "r d"], labels: Float[Tensor, " r"], factors: Float[Tensor, " r"]
    ) -> Float[Tensor, " d+1"]:
        """Solve the dual where rows are fewer than dimensions, else the primal."""
        solver = LinearSVC(  # type: ignore[no-untyped-call]
            C=self.cost, dual=len(rows) < rows.shape[1], tol=self.tol, max_iter=self.max_iter, random_state=0
        )
        fit_or_refuse(solver, rows, labels, factors, self)
        return torch.from_numpy(np.append(solver.coef_[0], solver.intercept_))


def fit_or_refuse(
    solver: Any,  # noqa: ANN401 - an estimator of scikit-learn
    rows: Float[Tensor, "r d"],
    labels: Float[Tensor, " r"],
    factors: Float[Tensor, " r"],
    owner: OneByOne,
) -> None:
    """Fit an estimator of scikit-learn.

    Raises:
        ConfigError: naming the owner's `max_iter`, if the estimator has not converged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            solver.fit(rows.cpu().numpy(), labels.cpu().numpy(), sample_weight=factors.cpu().numpy())
        except ConvergenceWarning as unfinished:
            why = f"{type(solver).__name__} needs more iterations to come within tol={owner.tol}"
            raise ConfigError("max_iter", owner.max_iter, why, "Try ten times as many.", owner) from unfinished
