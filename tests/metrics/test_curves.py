import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.metrics.curves import area_under_curve, first_reached


def test_area_by_hand():
    """0, 1, 1 over two intervals: (1/2 + 1) / 2. The mean of the points would be 2/3, dividing by 3 points 1/2."""
    curves = torch.tensor([[0.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    torch.testing.assert_close(area_under_curve(curves), torch.tensor([0.75, 2.0]))


def test_one_point_has_no_area():
    with pytest.raises(ValueError, match="at least two points, got 1"):
        area_under_curve(torch.ones(3, 1))


unit = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=9))
def test_area_is_linear_and_stays_within_the_curve(points):
    a, b = torch.tensor(points, dtype=torch.float64).T
    torch.testing.assert_close(area_under_curve(2 * a + b), 2 * area_under_curve(a) + area_under_curve(b))
    assert a.min() - 1e-12 <= area_under_curve(a) <= a.max() + 1e-12


def test_first_reached_by_hand():
    """Ten are reached in the second round (11 > 10), exactly in the third, never, and at once."""
    positives = torch.tensor([[1, 11, 12], [1, 9, 10], [1, 2, 9], [10, 10, 10]])
    seconds = torch.tensor([[3.0, 20.0, 40.0]]).expand(4, 3)
    value = first_reached(positives, seconds, 10)
    expected = torch.tensor([20.0, 40.0, torch.nan, 3.0], dtype=torch.float64)
    torch.testing.assert_close(value, expected, equal_nan=True)


def test_first_reached_counts_labels_too():
    assert first_reached(torch.tensor([[1, 5]]), torch.tensor([[6, 16]]), 5).tolist() == [16.0]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 20))
def test_a_higher_goal_is_never_reached_earlier(steps, goal):
    positives = torch.tensor([steps]).cumsum(dim=1)
    rounds = torch.arange(len(steps))[None]
    earlier, later = first_reached(positives, rounds, goal), first_reached(positives, rounds, goal + 1)
    assert later.isnan().all() or (earlier <= later).all()
