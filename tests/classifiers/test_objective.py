import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.classifiers.objective import (
    Settings,
    gradient_norm,
    real_counts,
    row_factors,
)
from seekloop.contracts.errors import ConfigError
from tests.classifiers.rows import batch


def test_balanced_weights_by_hand():
    """One positive of weight 1; negatives of weight 1 and 2; padding in the first query only.

    n = 4, so positives 4 / 2 = 2, negatives 4 / (2 * 3) = 2/3 times their weight. Counting rows instead of weights
    gives 1.5 and 0.75; counting padding gives other numbers for the first query than for the second.
    """
    rows = batch(
        [[[0.0]] * 3, [[0.0]] * 4], [[1, -1, -1], [1, -1, -1, -1]], weights=[[1.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0]]
    )
    expected = torch.tensor([[2, 2 / 3, 4 / 3, 0], [2, 2 / 3, 2 / 3, 2 / 3]], dtype=torch.float64)
    torch.testing.assert_close(row_factors(rows, "balanced"), expected)


def test_a_ratio_weighs_positives_only():
    rows = batch([[[0.0]] * 3], [[1, -1, -1]], weights=[[2.0, 1.0, 0.5]])
    assert row_factors(rows, 5).tolist() == [[10.0, 1.0, 0.5]]
    assert row_factors(rows, "none").tolist() == [[2.0, 1.0, 0.5]]


@pytest.mark.parametrize("word", ["equal", "", -1.0, 0, float("nan"), True])
def test_an_unknown_class_weight_is_refused_with_the_known_ones(word):
    with pytest.raises(ConfigError, match=r"class_weight=.*none, balanced, or a number above 0"):
        Settings(class_weight=word)


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["cost", "tol", "max_iter"])
def test_a_setting_that_must_be_positive_is_named(name, value):
    with pytest.raises(ConfigError, match=f"Settings: {name}="):
        Settings(**{name: value})


def test_real_rows_must_come_first():
    rows = batch([[[0.0]] * 3], [[1, -1, -1]])
    rows.mask[0, 1] = False
    with pytest.raises(ValueError, match=r"position 0 .*padding before a real row"):
        real_counts(rows)


@pytest.mark.parametrize(("field", "value", "what"), [("weights", -1.0, "weight"), ("labels", 0.5, "label")])
def test_strange_weights_and_labels_are_refused(field, value, what):
    rows = batch([[[0.0]] * 3], [[1, -1, -1]])
    getattr(rows, field)[0, 2] = value
    with pytest.raises(ValueError, match=what):
        real_counts(rows)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_the_gradient_is_that_of_the_objective(seed):
    rng = torch.Generator().manual_seed(seed)
    rows, plane = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((7, 3), (4,)))
    labels = torch.randn(7, generator=rng, dtype=torch.float64).sign()
    costs = torch.rand(7, generator=rng, dtype=torch.float64)
    free = plane.clone().requires_grad_()
    slack = (1 - labels * (rows @ free[:-1] + free[-1])).clamp(min=0)
    (free.square().sum() / 2 + (costs * slack.square()).sum()).backward()
    torch.testing.assert_close(gradient_norm(rows, labels, costs, plane), free.grad.norm())
