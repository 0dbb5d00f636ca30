"""Criteria that look at descriptors: core set, herding, TypiClust."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.criteria.descriptors import (
    CoreSet,
    Herding,
    Typiclust,
    by_turns,
    farthest_first,
    herd,
    mean_neighbour_distance,
)
from seekloop.criteria.scores import Uncertainty
from tests.criteria.views import crowd, on_circle, rngs, view


def test_core_set_by_hand():
    """Labelled at 0 degrees (an irrelevant one); candidates at 40, 90, 100.

    First 100. Then 90 is only 10 from 100, while 40 is min(40, 60) = 40 from everything: so 40.
    Forgetting the first pick would give 90; forgetting the label, or negatives, 40 first.
    """
    shown = view(torch.zeros(1, 4), answers=[[0, -1, 0, 0]], whole=on_circle([40, 0, 90, 100]))
    assert CoreSet()(shown, 2, rngs(1)).tolist() == [[3, 0]]


def test_core_set_never_asks_twice_among_copies():
    """Three copies at 90 degrees: once the first is chosen nothing is far, and each of the others comes in turn."""
    shown = view(torch.zeros(1, 4), answers=[[1, 0, 0, 0]], whole=on_circle([0, 90, 90, 90]))
    assert CoreSet()(shown, 3, rngs(1)).tolist() == [[1, 2, 3]]


def test_core_set_needs_a_centre():
    with pytest.raises(ValueError, match="needs an answered image"):
        CoreSet()(view(torch.zeros(1, 3)), 1, rngs(1))


@given(st.integers(0, 2**16), st.integers(1, 8))
def test_core_set_equals_the_written_out_rule_and_its_radius_never_grows(seed, budget):
    shown = crowd(1, 30, seed)
    candidate, centre = shown.candidate[0], shown.answers[0] != 0
    chosen = farthest_first(shown.descriptors, candidate, centre, budget).tolist()
    distance = torch.cdist(shown.descriptors, shown.descriptors, compute_mode="donot_use_mm_for_euclid_dist")
    covered, radii = centre.clone(), []
    for pick in chosen:
        radius = distance[:, covered].amin(dim=1)
        assert radius[pick] >= radius[candidate & ~covered].max() - 1e-9
        radii.append(radius[pick])
        covered[pick] = True
    assert (torch.stack(radii).diff() <= 1e-9).all()


def test_core_set_in_blocks_is_the_same(monkeypatch):
    shown = crowd(1, 50, seed=4)
    whole = farthest_first(shown.descriptors, shown.candidate[0], shown.answers[0] != 0, 10)
    monkeypatch.setattr("seekloop.criteria.descriptors._BLOCK", 7)
    assert torch.equal(farthest_first(shown.descriptors, shown.candidate[0], shown.answers[0] != 0, 10), whole)


def test_herding_by_hand():
    """Directions e1 (four times), e2 (twice), e3, strangers to each other: means 4/7, 2/7, 1/7.

    e1 first. Then 4/7 - 1/2 < 2/7: e2. Then 4/7 - 1/3 = .24 is more than 1/7 and 2/7 - 1/3: e1 again. Then 1/7 is more
    than 4/7 - 2/4 and 2/7 - 1/4: e3. Farthest first, or a sum that is not averaged, would take e3 third; dividing by
    the number chosen instead of one more, too.
    """
    rows = torch.eye(3, dtype=torch.float64)[[0, 0, 0, 0, 1, 1, 2]]
    assert herd(rows, 4, bandwidth=0.1).tolist() == [0, 4, 1, 6]


def test_the_kernel_of_herding_by_hand():
    """Two at right angles are sqrt(2) apart: with bandwidth 1, K = exp(-1) = .368.

    Rows e1, e1, e2, e1 + e2 (at 45 degrees: 1 - cos = .293, K = .746). Means: e1 (2 + .368 + .746) / 4 = .778,
    e2 (1 + .736 + .746) / 4 = .620, between (3 * .746 + 1) / 4 = .809: the one between is first.
    With .6, K = exp(-1 / .36) = .062 and exp(-.293 / .36) = .443: e1 .626, the one between .582. Without the square
    they would be .701 and .711.
    """
    rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 1]]).double(), dim=1)
    assert herd(rows, 1, bandwidth=1.0).tolist() == [3]
    assert herd(rows, 1, bandwidth=0.6).tolist() == [0]


@given(st.integers(0, 2**16), st.integers(1, 8))
def test_a_shortlist_no_longer_than_the_batch_asks_the_uncertain_ones(seed, budget):
    shown = crowd(2, 30, seed)
    expected = Uncertainty()(shown, budget, rngs(2)).sort(dim=1).values
    for criterion in (Herding(shortlist=1, bandwidth=0.5), Typiclust(shortlist=1, neighbours=20)):
        assert torch.equal(criterion(shown, budget, rngs(2)).sort(dim=1).values, expected)


def test_herding_follows_the_mean_better_than_the_uncertain_ones_do():
    """What herding lowers: the distance between the batch's mean and the shortlist's, in feature space.

    It does so step by step, so that a draw may be luckier once in a while; on average it is far from that.
    """
    gaps = []
    for seed in range(50):
        rows = crowd(1, 60, seed).descriptors[2:42]
        kernel = ((rows @ rows.T - 1) / 0.5**2).exp()
        both = herd(rows, 10, 0.5), torch.arange(10)
        gaps.append([kernel[some][:, some].mean() - 2 * kernel[some].mean() + kernel.mean() for some in both])
    herded, drawn = torch.tensor(gaps).mean(dim=0)
    assert herded < drawn / 4  # 0.012 and 0.066


def test_typiclust_by_hand():
    """Labelled at 0. Candidates: five around 3 degrees, then 88, 90, 91, then 178, 180: three clusters for two picks.

    The largest has a label, so it waits. Of 88, 90, 91 the mean distances are 2.5, 1.5, 2: so 90. Then 178, the first
    of two equals. All else equal, farthest from the boundary is first in no cluster: scores only make the shortlist.
    """
    whole = on_circle([178, 180, 88, 90, 91, 1, 2, 3, 4, 5, 0])
    shown = view(torch.arange(11.0)[None], answers=[[0] * 10 + [1]], whole=whole)
    for seed in range(5):
        chosen = Typiclust(shortlist=5, neighbours=20)(shown, 2, rngs(1, seed))
        assert chosen.tolist() == [[3, 0]]


def test_turns_by_hand():
    """Candidates 0..5 in clusters a a a b b c, labelled point 6 in c. a is larger than b; c is labelled: last.

    One pick each: the least spread of a is 1, of b 4, of c 5. Second turn: 2 of a, then 3 of b; third turn: 0.
    """
    cluster = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    spread = torch.tensor([0.9, 0.1, 0.5, 0.8, 0.2, 0.0, 0.0])
    assert by_turns(cluster, spread, 6, 6).tolist() == [1, 4, 5, 2, 3, 0]
    assert by_turns(cluster, spread, 6, 2).tolist() == [1, 4]


def test_typicality_by_hand():
    """On a line 0, 1, 3 in one cluster and 4 alone in the other, though nearer to 3 than all others are."""
    points = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
    cluster = torch.tensor([0, 0, 0, 1])
    assert mean_neighbour_distance(points, cluster, 2).tolist() == [2.0, 1.5, 2.5, 0.0]
    assert mean_neighbour_distance(points, cluster, 1).tolist() == [1.0, 1.0, 2.0, 0.0]


def test_shortlists_hold_the_most_uncertain_only():
    """Ten images near the boundary, ten far: a shortlist of twice five must not reach the far ones."""
    shown = crowd(1, 26, seed=0)
    order = Uncertainty()(shown, 10, rngs(1))[0]
    for criterion in (Herding(shortlist=2, bandwidth=0.5), Typiclust(shortlist=2, neighbours=20)):
        assert set(criterion(shown, 5, rngs(1))[0].tolist()) <= set(order.tolist())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Herding(shortlist=0, bandwidth=0.5), "Herding: shortlist=0"),
        (lambda: Herding(shortlist=1, bandwidth=0.0), "Herding: bandwidth=0.0"),
        (lambda: Typiclust(shortlist=0, neighbours=1), "Typiclust: shortlist=0"),
        (lambda: Typiclust(shortlist=1, neighbours=0), "Typiclust: neighbours=0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
