import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.criteria.selection import lowest, lowest_first


def test_ties_by_hand():
    """Lowest four of 2 1 2 1 2 2 without column 2: the ones, then the leftmost two twos that are candidates."""
    keys = torch.tensor([[2.0, 1, 2, 1, 2, 2]])
    candidate = torch.tensor([[True, True, False, True, True, True]])
    assert lowest(keys, candidate, 4).tolist() == [[1, 3, 0, 4]]


def test_a_candidate_at_infinity_comes_before_what_is_no_candidate():
    keys = torch.tensor([[0.0, torch.inf, torch.inf, -torch.inf]])
    candidate = torch.tensor([[False, False, True, True]])
    assert lowest(keys, candidate, 2).tolist() == [[3, 2]]


def test_candidates_without_a_number_are_refused_others_are_not():
    keys = torch.tensor([[torch.nan, 1.0]])
    assert lowest(keys, torch.tensor([[False, True]]), 1).tolist() == [[1]]
    with pytest.raises(ValueError, match="score is NaN"):
        lowest(keys, torch.tensor([[True, True]]), 1)


@st.composite
def choices(draw):
    q, n = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    level = st.sampled_from([-torch.inf, -1.0, -0.0, 0.0, 0.5, 2.0, torch.inf])
    keys = draw(st.lists(st.lists(level, min_size=n, max_size=n), min_size=q, max_size=q))
    masks = draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=q, max_size=q))
    return torch.tensor(keys), torch.tensor(masks), draw(st.integers(0, n))


@given(choices())
def test_equals_a_full_stable_sort(drawn):
    keys, candidate, budget = drawn
    chosen = lowest_first(keys, candidate, budget)
    for row, key, mask in zip(chosen.tolist(), keys.tolist(), candidate.tolist(), strict=True):
        expected = sorted((k, i) for i, k in enumerate(key) if mask[i])
        count = min(budget, len(expected))
        assert row[:count] == [i for _, i in expected][:count]
        assert len(set(row)) == budget
