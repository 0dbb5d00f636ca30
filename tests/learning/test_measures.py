import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.learning import PseudoLabels
from seekloop.learning.measures import accuracy, class_accuracy, confusion, pseudo_label_measures


def test_confusion_by_hand():
    """Class 0: two right, one taken for 2. Class 1: none there. Class 2: one taken for 0. 2 of 4 right."""
    matrix = confusion(torch.tensor([0, 0, 0, 2]), torch.tensor([0, 0, 2, 0]), 3)
    assert matrix.tolist() == [[2, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert accuracy(matrix) == 0.5
    found = class_accuracy(matrix)
    assert found[[0, 2]].tolist() == pytest.approx([2 / 3, 0.0])
    assert found[1].isnan()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50), st.permutations(range(4)))
def test_names_of_classes_do_not_matter(pairs, order):
    truth, predicted = torch.tensor(pairs).T
    order = torch.tensor(order)
    assert accuracy(confusion(order[truth], order[predicted], 4)) == accuracy(confusion(truth, predicted, 4))


def test_pseudo_labels_by_hand():
    """Image 0 is labelled and does not count. Of the other four, three have labels: two right, one wrong, so 2/3; by
    weight (0.5 + 0.3) / (0.5 + 0.3 + 0.8) = 0.5. Mean weight 1.6 / 3."""
    known = PseudoLabels(torch.tensor([0, 1, 1, 0, -1]), torch.tensor([1.0, 0.5, 0.3, 0.8, 0.0]))
    found = pseudo_label_measures(known, torch.tensor([1, 1, 1, 1, 1]), torch.tensor([0, -1, -1, -1, -1]))
    assert found["pseudo_share"] == 0.75
    assert found["pseudo_accuracy"] == pytest.approx(2 / 3)
    assert found["pseudo_accuracy_weighted"] == pytest.approx(0.5)
    assert found["weight_mean"] == pytest.approx(1.6 / 3)
    assert (found["weight_low"], found["weight_high"]) == pytest.approx((0.3, 0.8))


def test_without_any_there_is_nothing_to_measure():
    nothing = PseudoLabels(torch.tensor([0, -1]), torch.tensor([1.0, 0.0]))
    found = pseudo_label_measures(nothing, torch.tensor([0, 1]), torch.tensor([0, -1]))
    assert found["pseudo_share"] == 0.0
    assert math.isnan(found["pseudo_accuracy"])
    assert math.isnan(found["weight_low"])
