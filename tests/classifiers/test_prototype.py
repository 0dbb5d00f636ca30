import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.classifiers.prototype import Prototype
from tests.classifiers.rows import batch, problems


def test_distances_by_hand():
    """Positives (0, 0) and (2, 0), mean (1, 0); negatives (-4, 0), given with weight 3, and (0, 0), mean (-3, 0).

    (1, 0): 4 - 0. (1, 3): 5 - 3, where a hyperplane gives both the same. (-1, 0): 2 - 2, half-way. Squared distances
    give 16 for both, unweighted means 3 for the first.
    """
    rows = batch([[[0.0, 0.0], [2.0, 0.0], [-4.0, 0.0], [0.0, 0.0]]], [[1, 1, -1, -1]], [[1, 1, 3, 1]])
    images = torch.tensor([[1.0, 0.0], [1.0, 3.0], [-1.0, 0.0]])
    assert Prototype().fit(rows, None).scores(images)[0].tolist() == pytest.approx([4.0, 2.0, 0.0])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.integers(6, 30))
def test_no_score_exceeds_the_distance_of_the_means_which_score_it_exactly(seed, size):
    rows = problems([size], 8, seed)
    positive, negative = (rows.rows[0][rows.labels[0] == label].mean(0) for label in (1, -1))
    images = torch.randn(40, 8, generator=torch.Generator().manual_seed(seed))
    scores = Prototype().fit(rows, None).scores(torch.cat([images, positive[None], negative[None]]))[0]
    apart = (positive - negative).norm()
    assert (scores.abs() <= apart + 1e-4).all()
    torch.testing.assert_close(scores[-2:], torch.stack([apart, -apart]), rtol=0, atol=1e-4)
