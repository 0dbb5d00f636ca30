import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from seekloop.contracts.learning import Evaluation, PseudoLabels
from seekloop.contracts.randomness import generator
from seekloop.criteria.probabilities import Entropy
from seekloop.learning.agreement import agreement, mean_weights, ranks, spearman
from seekloop.learning.cycles import view_of

ONE = PseudoLabels(torch.tensor([0, 1, 1, 0, -1, 0]), torch.tensor([1.0, 0.6, 0.2, 0.4, 0.0, 1.0]))
OTHER = PseudoLabels(torch.tensor([0, 1, 0, 1, 1, 1]), torch.tensor([1.0, 0.2, 0.6, 0.0, 0.5, 1.0]))
TRUTH = torch.tensor([1, 1, 0, 0, 1, 0])
ALL_BUT_LAST = torch.tensor([True, True, True, True, True, False])


def test_by_hand():
    """Mean weights 1, 0.4, 0.4, 0.2 of four (the fifth has one label, the last was told): 2 in all. They agree
    on the first two: 1.4 / 2 = 0.7. Of these only the second is right: 0.4 / 1.4. Of the other two (0.4, 0.2) the first
    network has the fourth right, 0.2 / 0.6, the second one the third, 0.4 / 0.6."""
    found = agreement(ONE, OTHER, TRUTH, ALL_BUT_LAST)
    assert found.images == 4
    assert found.agree == pytest.approx(0.7)
    assert found.right_where_agreed == pytest.approx(0.4 / 1.4)
    assert found.right_one == pytest.approx(1 / 3)
    assert found.right_other == pytest.approx(2 / 3)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 9), st.integers(1, 9)), min_size=1))
def test_the_order_of_the_two_does_not_matter(rows):
    a, b, v, w = torch.tensor(rows).T
    one, other = PseudoLabels(a, v / 10), PseudoLabels(b, w / 10)
    everything = torch.ones(len(rows), dtype=torch.bool)
    truth = torch.zeros(len(rows), dtype=torch.long)
    there, back = agreement(one, other, truth, everything), agreement(other, one, truth, everything)
    assert there.agree == pytest.approx(back.agree)
    assert math.isnan(there.right_one) == math.isnan(back.right_other)
    assert there.right_one == pytest.approx(back.right_other, nan_ok=True)
    assert float(mean_weights(one, other, everything).sum()) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_correlation_is_scipys(rows):
    a, b = torch.tensor(rows).T
    if len(set(a.tolist())) > 1 and len(set(b.tolist())) > 1:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_ranks_of_a_criterion_by_hand():
    """Of 0.9, 0.5, 0.6 the second is the least certain, then the third; the fourth has a label."""
    probabilities = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.6, 0.4], [0.5, 0.5]])
    view = view_of(Evaluation(torch.eye(4), probabilities), torch.tensor([-1, -1, -1, 0]), 0)
    assert ranks(Entropy(), view, 2, generator(0)).tolist() == [2, 0, 1, 2]
