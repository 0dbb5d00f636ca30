import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from seekloop.classifiers.nearest import NearestNeighbour
from tests.classifiers.rows import batch, problems


def test_scores_by_hand():
    """Liked (2, 0) and (0.6, 0.8); disliked (0, 5) and (-1, 0); cosines, whatever the lengths.

    (3, 0): 1 - 0. (0, 0.5): 0.8 - 1. (-4, 3): liked -0.8 and 0, disliked 0.6 and 0.8, so 0 - 0.8; means give -1.1.
    A descriptor of zeros, as unreadable images have, scores 0.
    """
    rows = batch([[[2.0, 0.0], [0.6, 0.8], [0.0, 5.0], [-1.0, 0.0]]], [[1, 1, -1, -1]])
    images = torch.tensor([[3.0, 0.0], [0.0, 0.5], [-4.0, 3.0], [0.0, 0.0]])
    found = NearestNeighbour().fit(rows, None).scores(images)[0]
    assert found.tolist() == pytest.approx([1.0, -0.2, -0.8, 0.0])


def test_a_penalty_weighs_the_nearest_disliked_row():
    """As above with a penalty of 1/2: (3, 0): 1 - 0; (0, 0.5): 0.8 - 0.5; (-4, 3): 0 - 0.4. Parts keep it."""
    rows = batch([[[2.0, 0.0], [0.6, 0.8], [0.0, 5.0], [-1.0, 0.0]]] * 2, [[1, 1, -1, -1]] * 2)
    images = torch.tensor([[3.0, 0.0], [0.0, 0.5], [-4.0, 3.0]])
    scorer = NearestNeighbour(penalty=0.5).fit(rows, None)
    assert scorer.scores(images)[0].tolist() == pytest.approx([1.0, 0.3, -0.4])
    one = scorer.select(torch.tensor([1]))
    assert one.join([one]).scores(images)[1].tolist() == pytest.approx([1.0, 0.3, -0.4])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.integers(6, 30))
def test_the_sign_is_the_label_of_the_nearest_row(seed, size):
    rows = problems([size, 6], 8, seed)
    images = torch.randn(40, 8, generator=torch.Generator().manual_seed(seed))
    scores = NearestNeighbour().fit(rows, None).scores(images)
    for q in range(2):
        known, labels = rows.rows[q][rows.mask[q]].numpy(), rows.labels[q][rows.mask[q]].numpy()
        nearest = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(known, labels)
        clear = scores[q].abs() > 1e-5
        assert (scores[q].sign().numpy() == nearest.predict(images.numpy()))[clear.numpy()].all()
