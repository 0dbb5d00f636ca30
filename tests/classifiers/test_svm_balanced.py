import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from seekloop.classifiers.svm_balanced import SvmBalanced, balanced
from seekloop.classifiers.svm_numba import SvmNumba
from tests.classifiers.rows import batch, problem, problems


def test_weights_by_hand():
    """One positive of weight 2, negatives of weights 1 and 3: sum 6, at a ratio of 2 split into 4 and 2.

    So 4, and 2 / 4 and 6 / 4. A ratio of single rows gives 4 and 2 to 6; without keeping the sum, 8 and 1, 3.
    """
    rows = batch([[[1.0], [0.0], [2.0]]], [[1, -1, -1]], [[2, 1, 3]])
    assert balanced(rows, 2.0).tolist() == [[4.0, 0.5, 1.5]]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), ratio=st.floats(0.1, 20))
def test_positives_weigh_the_ratio_and_the_sum_stays(seed, ratio):
    rows = problems([7, 30], 8, seed)
    weights = balanced(rows, ratio)
    positive = (weights * (rows.labels > 0)).sum(dim=1)
    torch.testing.assert_close(positive / (weights.sum(dim=1) - positive), torch.full((2,), ratio), rtol=1e-4, atol=0)
    torch.testing.assert_close(weights.sum(dim=1), torch.tensor([7.0, 30.0]), rtol=1e-5, atol=0)


def test_a_ratio_of_one_is_the_balanced_machine():
    rows = problems([40, 17], 24)
    plain = SvmNumba(cost=1.0, class_weight="balanced", tol=1e-9).fit(rows, None)
    found = SvmBalanced(cost=1.0, ratio=1.0, tol=1e-9).fit(rows, None)
    torch.testing.assert_close(found.weights, plain.weights, rtol=0, atol=1e-5)


def test_it_is_the_published_machine():
    """Weights as ASReview writes them (1, and positives / (ratio negatives), times n over their sum), and LinearSVC."""
    x, y = problem(40, 24, seed=5)
    positives, negatives = int((y > 0).sum()), int((y < 0).sum())
    weight = torch.where(y > 0, 1.0, positives / (9.8 * negatives))
    machine = LinearSVC(loss="squared_hinge", C=0.11, tol=1e-9, max_iter=1_000_000, random_state=0)
    machine.fit(x.numpy(), y.numpy(), sample_weight=(weight * len(y) / weight.sum()).numpy())
    found = SvmBalanced(tol=1e-9).fit(batch([x], [y.tolist()]), None).scores(x)[0]
    assert found.tolist() == pytest.approx(machine.decision_function(x.numpy()).tolist(), abs=1e-5)
