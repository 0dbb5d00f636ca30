import numba
import numpy as np

from seekloop.classifiers.coordinate_descent import descend
from seekloop.contracts.compiled import compiled


def test_two_rows_by_hand():
    """A positive at 1 and a negative at 0, C = 1, so 1 / (2C) = 1/2: both rows are inside the margin.

    Each dual is 2C times its slack: w = 10/11, b = -4/11 leave slacks 5/11 and 7/11, hence 10/11 and 14/11.
    """
    duals, weights = np.zeros(2), np.zeros(1)
    table = np.array([[0.0], [7.0], [1.0]], dtype=np.float32)  # the 7 is a row of some other problem
    intercept, _ = descend(table, np.array([2, 0]), np.array([1.0, -1.0]), np.full(2, 0.5), duals, weights, 1e-10, 1000)
    np.testing.assert_allclose(duals, [10 / 11, 14 / 11], atol=1e-8)
    np.testing.assert_allclose([*weights, intercept], [10 / 11, -4 / 11], atol=1e-8)


def test_where_nothing_can_be_cached_it_compiles_all_the_same(monkeypatch):
    """numba refuses `cache=True` when neither the package's folder nor the user's cache is writable."""
    real = numba.njit

    def njit(*arguments, **options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*arguments, **options)

    monkeypatch.setattr(numba, "njit", njit)

    def twice(x):
        return 2 * x

    assert compiled(False)(twice)(21) == 42
