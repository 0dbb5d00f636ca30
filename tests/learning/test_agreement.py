import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from seekloop.contracts.learning import Evaluation, PseudoLabels
from seekloop.contracts.randomness import generator
from seekloop.criteria.probabilities import Entropy
from seekloop.learning.agreement import agreement, ranks, spearman, weighted_accuracy
from seekloop.learning.cycles import view_of

ONE = PseudoLabels(torch.tensor([0, 1, 1, 0, -1, 0]), torch.tensor([1.0, 0.6, 0.2, 0.4, 0.0, 1.0]))
OTHER = PseudoLabels(torch.tensor([0, 1, 0, 1, 1, 1]), torch.tensor([0.6, 0.2, 0.6, 0.0, 0.5, 1.0]))
TRUTH = torch.tensor([1, 1, 0, 0, 1, 0])
ALL_BUT_LAST = torch.tensor([True, True, True, True, True, False])


def test_by_hand():
    """Mean weights .8, .4, .4, .2 of four images (the fifth has one label, the last was told): 1.8 in all.

    Alike are the first two: half of the images, 1.2 of the weight, .6 on average; the second of them is right.
    Of the other two (.4 and .2) the first has the last right, the second the other one.
    """
    found = agreement(ONE, OTHER, TRUTH, ALL_BUT_LAST)
    assert found.images == 4
    assert found.agree == pytest.approx(2 / 4)
    assert found.agree_weighted == pytest.approx(1.2 / 1.8)
    assert found.accuracy_one == pytest.approx((0.4 + 0.2) / 1.8)
    assert found.accuracy_other == pytest.approx((0.4 + 0.4) / 1.8)
    assert found.accuracy_alike == pytest.approx(0.4 / 1.2)
    assert found.accuracy_apart_one == pytest.approx(0.2 / 0.6)
    assert found.accuracy_apart_other == pytest.approx(0.4 / 0.6)
    assert found.weight_alike == pytest.approx(0.6)
    assert found.weight_apart == pytest.approx(0.3)


def test_weights_need_not_sum_to_one():
    assert weighted_accuracy(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([1.0, 3.0])) == 0.25


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 9), st.integers(1, 9)), min_size=1))
def test_the_order_of_the_two_does_not_matter_and_the_parts_make_the_whole(rows):
    a, b, v, w = torch.tensor(rows).T
    one, other = PseudoLabels(a, v / 10), PseudoLabels(b, w / 10)
    everything = torch.ones(len(rows), dtype=torch.bool)
    truth = torch.zeros(len(rows), dtype=torch.long)
    there, back = agreement(one, other, truth, everything), agreement(other, one, truth, everything)
    for name in ("agree", "agree_weighted", "accuracy_alike", "weight_alike", "weight_apart"):
        assert getattr(there, name) == pytest.approx(getattr(back, name), nan_ok=True)
    assert there.accuracy_one == pytest.approx(back.accuracy_other)
    assert there.accuracy_apart_one == pytest.approx(back.accuracy_apart_other, nan_ok=True)
    shares = (there.agree_weighted, 1 - there.agree_weighted)
    parts = zip(shares, (there.accuracy_alike, there.accuracy_apart_one), strict=True)
    assert there.accuracy_one == pytest.approx(sum(share * part for share, part in parts if not math.isnan(part)))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_correlation_is_scipys(rows):
    a, b = torch.tensor(rows).T
    if len(set(a.tolist())) > 1 and len(set(b.tolist())) > 1:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_ranks_of_a_criterion_by_hand():
    """Of 0.9, 0.5, 0.6 the second is the least certain, then the third, then the first; the fourth has a label."""
    probabilities = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.6, 0.4], [0.5, 0.5]])
    view = view_of(Evaluation(torch.eye(4), probabilities), torch.tensor([-1, -1, -1, 0]), 0)
    assert ranks(Entropy(), view, generator(0)).tolist() == [2, 0, 1, -1]
