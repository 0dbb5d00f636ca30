"""Error of affine maps."""

import numpy as np
import pytest

from seekloop.metrics.registration import after, inverse, median_transfer_error, transfer_errors

TRUTH = np.array([[2.0, 0.5, 3], [0.1, 1, -4]])


def test_errors_are_distances_in_the_second_picture():
    # twice as large: a point at (3, 4) is 3 and 4 away from where it should be
    double, points = np.array([[2.0, 0, 0], [0, 2, 0]]), np.array([[0.0, 0], [3, 4], [6, 8]])
    np.testing.assert_allclose(transfer_errors(double, np.eye(2, 3), points), [0, 5, 10])
    assert median_transfer_error(double, np.eye(2, 3), points) == 5
    assert median_transfer_error(TRUTH, TRUTH, points) == 0
    assert median_transfer_error(None, TRUTH, points) == float("inf")


def test_errors_need_points():
    with pytest.raises(ValueError, match="there are none"):
        median_transfer_error(TRUTH, TRUTH, np.zeros((0, 2)))


def test_inverse_and_chain():
    np.testing.assert_allclose(after(TRUTH, inverse(TRUTH)), np.eye(2, 3), atol=1e-12)
    other = np.array([[0.3, -1, 5], [1, 0.2, 7]])
    point = np.array([1.5, -2])
    once = other[:, :2] @ point + other[:, 2]
    chained = after(TRUTH, other)
    np.testing.assert_allclose(chained[:, :2] @ point + chained[:, 2], TRUTH[:, :2] @ once + TRUTH[:, 2])
