import torch

from seekloop.contracts.records import Annotations
from seekloop.contracts.scorers import LinearScorer, stack_padded


def annotations():
    return Annotations(
        classes=("cat", "dog"),
        image=torch.tensor([0, 0, 2]),
        label=torch.tensor([1, 1, 0]),
        box=torch.tensor([[0.0, 0, 0.1, 0.1], [0.0, 0, 0.5, 0.5], [0.0, 0, 1, 1]]),
        crowd=torch.tensor([False, True, False]),
        difficult=torch.zeros(3, dtype=torch.bool),
    )


def test_relevance_and_largest_box_by_hand():
    assert annotations().relevance(3).tolist() == [[False, False, True], [True, False, False]]
    assert annotations().largest_box(0, 1).tolist() == [0, 0, 0.5, 0.5]
    assert annotations().largest_box(0, 0) is None


def test_dropping_crowds_drops_their_boxes():
    kept = annotations().keep(~annotations().crowd)
    torch.testing.assert_close(kept.largest_box(0, 1), torch.tensor([0.0, 0, 0.1, 0.1]))


def test_hyperplanes_by_hand_and_through_select_and_join():
    scorer = LinearScorer(torch.tensor([[1.0, 2], [0, 1]]), torch.tensor([0.5, -1]), torch.tensor([[1.0], [2]]))
    assert scorer.scores(torch.tensor([[1.0, 1]])).tolist() == [[3.5], [0.0]]
    first, second = scorer.select(torch.tensor([0])), scorer.select(torch.tensor([1]))
    assert second.join([first]).scores(torch.tensor([[1.0, 1]])).tolist() == [[0.0], [3.5]]
    assert second.join([first]).duals.tolist() == [[2.0], [1.0]]


def test_padding_goes_to_the_right():
    assert stack_padded([torch.ones(1, 1), torch.ones(1, 2)]).tolist() == [[1, 0], [1, 1]]
