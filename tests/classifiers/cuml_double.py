"""A stand-in for cuML 26.10's LinearSVC: its keyword-only signature, its refusals, arrays that stay on the device."""

import types

import numpy as np
from sklearn.svm import LinearSVC as Reference


class DeviceArray:
    """What cuML gives unless asked for NumPy: it refuses to turn into a host array by itself."""

    def __init__(self, values):
        self._values = values
        self.shape = values.shape

    def __array__(self, *_args, **_kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def reshape(self, *shape):
        return DeviceArray(self._values.reshape(*shape))

    def get(self):
        return self._values


class LinearSVC:
    def __init__(
        self,
        *,
        penalty="l2",
        loss="squared_hinge",
        C=1.0,  # noqa: N803
        fit_intercept=True,
        penalized_intercept=False,
        class_weight=None,
        tol=1e-4,
        max_iter=1000,
        linesearch_max_iter=100,
        lbfgs_memory=5,
        n_streams=1,
        multi_class="ovr",
        verbose=False,
        output_type=None,
    ):
        settings = (penalty, loss, fit_intercept, class_weight, linesearch_max_iter, lbfgs_memory, n_streams)
        assert settings == ("l2", "squared_hinge", True, None, 100, 5, 1)
        assert (multi_class, verbose) == ("ovr", False)
        self.cost, self.max_iter, self.tol = C, max_iter, tol
        # Where the intercept is free, a constant feature of large scale makes its share of the penalty vanish.
        self.scale = 1.0 if penalized_intercept else 1e3
        self.output_type = output_type

    def fit(self, X, y, sample_weight=None):  # noqa: N803
        if len(np.unique(y)) != 2:
            raise ValueError("This solver needs samples of 2 classes")
        starved = self.max_iter < 5  # too few iterations end early and in silence, as in cuML
        solver = Reference(
            C=self.cost, intercept_scaling=self.scale, tol=1.0 if starved else 1e-8, max_iter=100_000, random_state=0
        )
        solver.fit(X, y, sample_weight=sample_weight)
        self.coef_, self.intercept_ = self._give(solver.coef_), self._give(np.atleast_1d(solver.intercept_))
        return self

    def _give(self, values):
        return values if self.output_type == "numpy" else DeviceArray(values)


def modules():
    """`cuml` and `cuml.svm`, for `sys.modules`."""
    svm = types.ModuleType("cuml.svm")
    svm.LinearSVC = LinearSVC
    cuml = types.ModuleType("cuml")
    cuml.svm, cuml.__version__ = svm, "0 (a stand-in)"
    return {"cuml": cuml, "cuml.svm": svm}
