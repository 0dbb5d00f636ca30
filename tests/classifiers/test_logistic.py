import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.classifiers.logistic import Logistic
from seekloop.classifiers.objective import row_factors
from seekloop.contracts.errors import ConfigError
from tests.classifiers.rows import batch, problems


def test_a_line_by_hand():
    """Positive at 1, negative at -1: b = 0 and w = 2C / (1 + e^w), so w = ln 3 needs C = 2 ln 3."""
    ln3 = torch.tensor(3.0).log().item()
    scorer = Logistic(2 * ln3, "none", 1e-10, 1000).fit(batch([[[1.0], [-1.0]]], [[1, -1]]), None)
    assert scorer.weights.item() == pytest.approx(ln3, abs=1e-5)
    assert scorer.intercept.item() == pytest.approx(0.0, abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), size=st.integers(6, 30), weight=st.sampled_from(["none", "balanced", 3.0]))
def test_the_gradient_vanishes_with_the_intercept_regularised(seed, size, weight):
    rows = problems([size], 8, seed)
    scorer = Logistic(1.0, weight, 1e-10, 10_000).fit(rows, None)
    w, b = scorer.weights[0].double().requires_grad_(), scorer.intercept[0].double().requires_grad_()
    margins = rows.labels[0].double() * (rows.rows[0].double() @ w + b)
    loss = (row_factors(rows, weight)[0] * torch.nn.functional.softplus(-margins)).sum()
    ((w.square().sum() + b.square()) / 2 + loss).backward()
    assert torch.cat([w.grad, b.grad[None]]).norm() < 1e-4


def test_not_converging_is_an_error_that_names_the_key():
    with pytest.raises(ConfigError, match=r"Logistic: max_iter=1 "):
        Logistic(1.0, "none", 1e-12, 1).fit(problems([60], 20), None)
