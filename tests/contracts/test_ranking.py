"""Rankings on their way through re-rankers."""

import pytest
import torch

from seekloop.contracts.ranking import Ranking


def test_first_images_are_stable_and_leave_out_what_is_not_ranked():
    ranking = Ranking(torch.tensor([[0.2, 0.9, -torch.inf, 0.9], [0.0, -1.0, -2.0, -3.0]]), (), ())
    assert ranking.first(2).tolist() == [[1, 3], [0, 1]]
    assert ranking.first(9).tolist() == [[1, 3, 0, -1], [0, 1, 2, 3]]


def test_reordered_images_share_their_scores_and_no_other_moves():
    """By hand: images 3, 1, 0 held 0.9, 0.5, 0.1; image 0 now comes first, image 3 last. Image 2 stays."""
    ranking = Ranking(torch.tensor([[0.1, 0.5, 0.3, 0.9]]), (), ())
    after = ranking.reordered([torch.tensor([0, 1, 3])])
    assert after.scores[0].tolist() == pytest.approx([0.9, 0.5, 0.3, 0.1])
    assert ranking.scores[0].tolist() == pytest.approx([0.1, 0.5, 0.3, 0.9])  # the one before stays
