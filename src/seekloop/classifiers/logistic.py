r"""Logistic regression with the conventions of the SVMs: L2, cost C, row and class weights, regularised intercept."""

import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from seekloop.classifiers.objective import OneByOne
from seekloop.classifiers.svm_sklearn import fit_or_refuse
from seekloop.contracts.declared import Positive, component


@component
class Logistic(OneByOne):
    r"""The logistic loss in place of the squared hinge.

    .. math:: \min_{w, b} \; \tfrac12 \|w\|^2 + \tfrac12 b^2 + C \sum_i s_i \log(1 + e^{-y_i (w \cdot x_i + b)})

    The intercept is the weight of a constant feature 1. Solved by scikit-learn's L-BFGS in float64, query by query.

    Args:
        cost: C.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: largest gradient component of the mean loss at which to stop.
        max_iter: iterations after which a fit is given up with an error.
    """

    tol: Positive = 1e-6

    def fit_one(
        self, rows: Float[Tensor, "r d"], labels: Float[Tensor, " r"], factors: Float[Tensor, " r"]
    ) -> Float[Tensor, " d+1"]:
        """Solve by L-BFGS."""
        points = torch.nn.functional.pad(rows.double(), (0, 1), value=1.0)
        solver = LogisticRegression(  # type: ignore[no-untyped-call]
            C=self.cost, fit_intercept=False, tol=self.tol, max_iter=self.max_iter
        )
        fit_or_refuse(solver, points, labels, factors, self)
        return torch.from_numpy(solver.coef_[0])
