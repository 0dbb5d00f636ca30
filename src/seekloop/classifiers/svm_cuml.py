"""Linear SVM by RAPIDS cuML on an NVIDIA GPU."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.classifiers.objective import OneByOne, gradient_norm
from seekloop.contracts.declared import Positive, component
from seekloop.contracts.errors import ConfigError, require


@component
class SvmCuml(OneByOne):
    """cuML's LinearSVC (L-BFGS on the primal), in float64, one query at a time, every round afresh.

    cuML leaves the intercept free unless told otherwise; `penalized_intercept=True` makes it the same objective. It
    ends without a word where its line search fails, so the gradient of what it returns is checked here. Arrays go in
    from the host and come back to it (`output_type="numpy"`), whatever cuML's global setting is.

    Args:
        cost: C of the objective.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: cuML's own stopping tolerance.
        max_iter: cuML's most iterations.
        accuracy: largest gradient of the result, relative to the length of (w, b), that is accepted.

    Raises:
        MissingExtraError: if cuML is not installed.
    """

    tol: Positive = 1e-6
    accuracy: Positive = 1e-2

    def __post_init__(self) -> None:
        require("cuml", "cuml")

    def fit_one(
        self, rows: Float[Tensor, "r d"], labels: Float[Tensor, " r"], factors: Float[Tensor, " r"]
    ) -> Float[Tensor, " d+1"]:
        """Solve by L-BFGS; `ConfigError` if the result is less accurate than `accuracy`."""
        rows, labels = rows.double(), labels.double()
        solver = require("cuml.svm", "cuml").LinearSVC(
            C=self.cost, penalized_intercept=True, tol=self.tol, max_iter=self.max_iter, output_type="numpy"
        )
        arrays = [np.ascontiguousarray(part.cpu().numpy()) for part in (rows, labels, factors)]
        solver.fit(arrays[0], arrays[1], sample_weight=arrays[2])
        plane = torch.from_numpy(np.append(solver.coef_.reshape(-1), solver.intercept_.reshape(-1))).double()
        reached = gradient_norm(rows.cpu(), labels.cpu(), self.cost * factors.cpu(), plane) / plane.norm()
        if reached > self.accuracy:
            why = f"cuML stopped at a relative gradient of {float(reached):.1e}, above accuracy={self.accuracy}"
            raise ConfigError("max_iter", self.max_iter, why, "Try more iterations or a smaller tol.", self)
        return plane
