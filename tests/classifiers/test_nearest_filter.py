import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seekloop.classifiers.nearest_filter import NearestFilter
from tests.classifiers.rows import batch, problems


def test_the_filter_by_hand():
    """Query (1, 0); liked (0.6, 0.8), disliked (0.8, -0.6), and (0, -1).

    (0, 2) is nearest to the liked row: 0 + 2. (1, 0): 0.6 against 0.8, disliked: 1 - 2. (2, 1.5): 0.96 against 0.28,
    liked: 0.8 + 2. (0, -3): disliked: 0 - 2. A sum over rows, or the mean of their labels, dislikes (2, 1.5) or (0, 2);
    the score of `nearest` would put (0, 2) before (2, 1.5).
    """
    rows = batch([[[0.6, 0.8], [0.8, -0.6], [0.0, -1.0]]], [[1, -1, -1]], query=[[1.0, 0.0]])
    images = torch.tensor([[0.0, 2.0], [1.0, 0.0], [2.0, 1.5], [0.0, -3.0]])
    scorer = NearestFilter().fit(rows, None)
    assert scorer.liked(images).tolist() == [[True, False, True, False]]
    assert scorer.scores(images)[0].tolist() == pytest.approx([2.0, -1.0, 2.8, -2.0])


def test_an_image_between_a_liked_and_a_disliked_row_is_liked_in_any_order():
    """Copies of both, and images exactly between them; also where a row is almost, but not quite, a copy."""
    images = torch.tensor([[1.0, 1.0], [3.0, 3.0], [0.3, 0.7]])
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        table = torch.tensor([[0.3, 0.7], [0.3, 0.7], [0.7, 0.3]])[order]
        rows = batch([table.tolist()], [torch.tensor([1, -1, -1])[order].tolist()])
        assert NearestFilter().fit(rows, None).liked(images).tolist() == [[True, True, True]]
    near = batch([[[0.3, 0.7], [0.3, 0.70001]]], [[1, -1]])
    assert NearestFilter().fit(near, None).liked(torch.tensor([[0.3, 0.7], [0.3, 0.70001]])).tolist() == [[True, False]]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), size=st.integers(6, 30))
def test_laws_of_the_filter(seed, size):
    """Order of rows and length of descriptors change nothing; rows judge their copies; groups keep the first order."""
    rng = torch.Generator().manual_seed(seed)
    rows = problems([size], 8, seed)
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(size - 1, generator=rng)])
    shuffled = batch([rows.rows[0][order]], [rows.labels[0][order].tolist()])
    images = torch.cat([torch.randn(40, 8, generator=rng), rows.rows[0]])
    scorer = NearestFilter().fit(rows, None)
    liked, scores = scorer.liked(images)[0], scorer.scores(images)[0]
    assert NearestFilter().fit(shuffled, None).liked(7 * images)[0].equal(liked)
    assert liked[40:][rows.labels[0] > 0].all()
    first = (rows.query[0] @ F.normalize(images, dim=1).T).argsort(descending=True, stable=True)
    wanted = first[torch.argsort((~liked[first]).int(), stable=True)]
    assert (scores[wanted].diff() <= 1e-6).all()
    assert (scores > 0).equal(liked)
