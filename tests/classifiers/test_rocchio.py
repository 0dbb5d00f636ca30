import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.classifiers.rocchio import Rocchio
from tests.classifiers.rows import batch, problems


def test_moved_by_hand():
    """Query (1, 0); positives (1, 0) and (0, 1), mean (1/2, 1/2); negatives (-1, 0), given with weight 3, and (3, 0).

    The weighted negative mean is 0, the unweighted one (1, 0). w = (1, 0) + 0.75 (1/2, 1/2) - 0.15 (0, 0), which is
    (1.375, 0.375); b = -(1.375 + 0.375) / 4 = -0.4375. Sums for means, or a dropped term, give other numbers.
    """
    rows = batch(
        [[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [3.0, 0.0]]], [[1, 1, -1, -1]], [[1, 1, 3, 1]], query=[[1.0, 0.0]]
    )
    scorer = Rocchio(1.0, 0.75, 0.15).fit(rows, None)
    torch.testing.assert_close(scorer.weights, torch.tensor([[1.375, 0.375]]))
    assert scorer.intercept.item() == pytest.approx(-0.4375)


def test_negatives_push_away():
    """Query (0, 0), positive (1, 0), negative (0, 1), beta = gamma = 1: w = (1, -1), b = 0."""
    scorer = Rocchio(1, 1, 1).fit(batch([[[1.0, 0.0], [0.0, 1.0]]], [[1, -1]], query=[[0.0, 0.0]]), None)
    assert scorer.weights.tolist() == [[1.0, -1.0]]
    assert scorer.intercept.item() == 0.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.integers(6, 30))
def test_the_boundary_is_half_way_between_the_means(seed, size):
    rows = problems([size], 8, seed)
    means = [rows.rows[0][rows.labels[0] == label].mean(0) for label in (1, -1)]
    scorer = Rocchio(1.0, 0.75, 0.15).fit(rows, None)
    assert scorer.scores((means[0] + means[1])[None] / 2).abs().item() < 1e-5
