"""Criteria that look at scores alone: uncertainty, PF-MA, top, mixed, and random, which looks at nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.criteria.scores import Mixed, PfMa, Random, Sides, Top, Uncertainty
from tests.criteria.views import rngs, view

margins = st.lists(st.integers(-24, 24).map(lambda k: k / 4), min_size=1, max_size=12)


def test_uncertainty_by_hand():
    """Nearest are .1, but answered; then the two at .2, left one first; then .3. Signs do not matter."""
    shown = view([[0.5, -0.2, 0.3, 0.2, -0.1]], answers=[[0, 0, 0, 0, 1]])
    assert Uncertainty()(shown, 3, rngs(1)).tolist() == [[1, 3, 2]]


@given(margins)
def test_uncertainty_ranks_by_the_papers_score(scores):
    chosen = Uncertainty()(view([scores]), len(scores), rngs(1))[0]
    paper = 1 - (0.5 - torch.tensor(scores).double().sigmoid()).abs()
    assert (paper[chosen].diff() <= 1e-15).all()


def test_uncertainty_tells_scores_apart_that_a_sigmoid_would_not():
    shown = view([[60.0, 50.0, -55.0]])
    assert Uncertainty()(shown, 3, rngs(1)).tolist() == [[1, 2, 0]]


def test_pf_ma_by_hand():
    """Likely positives 0, .2, .4 first, the boundary being one of them; only then -.1, though nearer than .2."""
    assert PfMa()(view([[-0.1, 0.4, 0.2, -0.3, 0.0]]), 4, rngs(1)).tolist() == [[4, 2, 1, 0]]


def test_pf_ma_without_likely_positives_is_uncertainty():
    shown = view([[-3.0, -1, -2, -1], [1, -1, 9, -2]])
    assert PfMa()(shown, 3, rngs(2)).tolist() == [[1, 3, 2], [0, 2, 1]]


@given(margins, st.integers(0, 11))
def test_pf_ma_takes_sides_first_then_nearness(scores, budget):
    budget = 1 + budget % len(scores)
    expected = sorted(range(len(scores)), key=lambda i: (scores[i] < 0, abs(scores[i]), i))[:budget]
    assert PfMa()(view([scores]), budget, rngs(1)).tolist() == [expected]


def test_top_by_hand():
    assert Top()(view([[-1.0, 3, 2, 3, 9]], answers=[[0, 0, 0, 0, -1]]), 3, rngs(1)).tolist() == [[1, 3, 2]]


@given(margins)
def test_top_only_heeds_the_order_of_scores(scores):
    plain, moved = view([scores]), view([[2 * score - 7 for score in scores]])
    assert torch.equal(Top()(plain, len(scores), rngs(1)), Top()(moved, len(scores), rngs(1)))


def test_random_gives_every_candidate_the_same_chance():
    """Two of four candidates, 2,000 times: 1,000 each, give or take five deviations of 22."""
    shown = view([[9.0, 0, 0, 0, 0]], candidate=[[True, True, False, True, True]])
    rng = torch.Generator().manual_seed(0)
    chosen = torch.cat([Random()(shown, 2, [rng]) for _ in range(2000)])
    counts = torch.bincount(chosen.flatten(), minlength=5)
    assert counts[2] == 0
    assert (counts[[0, 1, 3, 4]] - 1000).abs().max() < 110


def test_random_gives_queries_their_own_draws():
    chosen = Random()(view(torch.zeros(2, 100)), 10, rngs(2))
    assert not torch.equal(chosen[0], chosen[1])


def test_the_schedule_of_mixed_by_hand():
    """From 0 to 1 in four rounds of four images: 0 1 2 3 4, and 4 from then on. A quarter of 2 is rounded up to 1."""
    rising = Mixed(exploit_start=0.0, exploit_end=1.0, rounds=4)
    assert [rising.exploited(number, 4) for number in (0, 1, 2, 3, 4, 9)] == [0, 1, 2, 3, 4, 4]
    assert rising.exploited(1, 2) == 1
    falling = Mixed(exploit_start=1.0, exploit_end=0.5, rounds=2)
    assert [falling.exploited(number, 4) for number in range(4)] == [4, 3, 2, 2]


def test_mixed_by_hand():
    """Round 1 of 2: half of four. The two highest are 5 and .1; .1 is also the nearest, and is not taken twice."""
    mixed = Mixed(exploit_start=0.0, exploit_end=1.0, rounds=2)
    assert mixed(view([[-4.0, 0.1, 5.0, -0.3, -0.2]], number=1), 4, rngs(1)).tolist() == [[2, 1, 4, 3]]


@given(margins)
def test_the_ends_of_mixed_are_uncertainty_and_top(scores):
    shown, budget = view([scores], number=3), max(1, len(scores) // 2)
    for share, other in ((0.0, Uncertainty()), (1.0, Top())):
        mixed = Mixed(exploit_start=share, exploit_end=share, rounds=1)
        assert torch.equal(mixed(shown, budget, rngs(1)), other(shown, budget, rngs(1)))


def test_impossible_schedules_are_refused():
    with pytest.raises(ConfigError, match=r"Mixed: exploit_end=1\.5"):
        Mixed(exploit_start=0.0, exploit_end=1.5, rounds=1)
    with pytest.raises(ConfigError, match=r"Mixed: rounds=0"):
        Mixed(exploit_start=0.0, exploit_end=0.5, rounds=0)


def test_half_of_either_side_is_drawn():
    """Three of four likely candidates and two of three others make five; 0 is not likely, an answer no candidate.

    Over 600 draws each of the four comes 450 times and each of the three 400 times, give or take five deviations of 11.
    The most likely ones, or a draw from both sides at once (5/7 each: 429), would give other counts.
    """
    shown = view([[9.0, 0.1, 2, 3, 0, -1, -5, 8]], answers=[[0] * 7 + [1]])
    rng = torch.Generator().manual_seed(0)
    chosen = torch.cat([Sides()(shown, 5, [rng]) for _ in range(600)])
    assert ((chosen < 4).sum(dim=1) == 3).all()
    counts = torch.bincount(chosen.flatten(), minlength=8)
    assert counts[7] == 0
    assert (counts[:4] - 450).abs().max() < 55
    assert (counts[4:7] - 400).abs().max() < 60


@given(margins, st.integers(0, 11))
def test_a_side_that_is_short_gives_all_it_has(scores, budget):
    budget = 1 + budget % len(scores)
    likely = sum(score > 0 for score in scores)
    chosen = Sides()(view([scores]), budget, rngs(1))[0].tolist()
    above = sum(scores[image] > 0 for image in chosen)
    assert len(set(chosen)) == budget
    assert above == sorted([budget - (len(scores) - likely), (budget + 1) // 2, likely])[1]
