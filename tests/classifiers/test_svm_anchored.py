import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.classifiers.objective import row_factors
from seekloop.classifiers.svm_anchored import SvmAnchored
from seekloop.classifiers.svm_numba import SvmNumba
from tests.classifiers.rows import batch, problems


def anchored(tol=1e-9):
    return SvmAnchored(1.0, "none", tol, 100_000, 1)


def test_two_rounds_on_a_line_by_hand():
    """A positive at 1, a negative at 0, the query at 1, C = 1.

    Round 0 is plain: w = 10/11, b = -4/11, so the anchor is a = 10/11. Then (w - a)²/2 + b²/2 + (1 - w - b)² + (1 + b)²
    has 3w + 2b = 2 + a and 2w + 5b = 0: w = (2 + a) / 2.2 = 160/121, b = -64/121. An anchor of length 1 gives 15/11;
    anchoring the intercept as well, or moving the anchor with every round, gives other numbers.
    """
    rows = batch([[[1.0], [0.0]]], [[1, -1]], query=[[1.0]])
    first = anchored().fit(rows, None)
    assert (first.weights.item(), first.intercept.item()) == pytest.approx((10 / 11, -4 / 11), abs=1e-5)
    assert first.anchor.item() == pytest.approx(10 / 11, abs=1e-5)
    second = anchored().fit(rows, first)
    third = anchored().fit(rows, second)
    for later in (second, third):
        assert (later.weights.item(), later.intercept.item()) == pytest.approx((160 / 121, -64 / 121), abs=1e-5)
        assert later.anchor.equal(first.anchor)


def test_it_is_the_query_that_anchors_not_the_first_row():
    """Query at -1, rows as above: w = (2 - 10/11) / 2.2 = 60/121."""
    rows = batch([[[1.0], [0.0]]], [[1, -1]], query=[[-1.0]])
    assert anchored().fit(rows, anchored().fit(rows, None)).weights.item() == pytest.approx(60 / 121, abs=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.integers(6, 40), dim=st.integers(2, 30))
def test_an_anchor_of_length_zero_is_the_plain_machine(seed, size, dim):
    rows = problems([size, 6], dim, seed)
    plain = SvmNumba(1.0, "none", 1e-9, 100_000, 1).fit(rows, None)
    found = anchored().fit_anchored(rows, torch.zeros(2), None)
    torch.testing.assert_close(found.weights, plain.weights)
    torch.testing.assert_close(found.intercept, plain.intercept)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.integers(6, 40), dim=st.integers(2, 30), length=st.floats(0, 5))
def test_the_gradient_of_the_anchored_objective_vanishes(seed, size, dim, length):
    rows = problems([size], dim, seed)
    found = anchored().fit_anchored(rows, torch.tensor([length]), None)
    w, b = found.weights[0].double().requires_grad_(), found.intercept[0].double().requires_grad_()
    slack = (1 - rows.labels[0].double() * (rows.rows[0].double() @ w + b)).clamp(min=0)
    pulled = w - length * rows.query[0].double()
    loss = (row_factors(rows, "none")[0] * slack.square()).sum()
    ((pulled.square().sum() + b.square()) / 2 + loss).backward()
    assert torch.cat([w.grad, b.grad[None]]).norm() < 1e-4


def test_a_query_that_is_not_finite_is_refused():
    rows = problems([10], 4)
    first = anchored().fit(rows, None)
    rows.query[0, 0] = float("nan")
    with pytest.raises(ValueError, match="own descriptor"):
        anchored().fit(rows, first)
