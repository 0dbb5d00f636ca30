"""Uncertainty Herding: coverage of uncertain images, its bandwidth and its temperature."""

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.criteria.coverage import UncertaintyHerding, calibrated, cover, smallest_distance
from seekloop.criteria.scores import Uncertainty
from tests.criteria.views import crowd, on_circle, rngs, view


def test_coverage_by_hand():
    """Directions e1 (three times, .2 each), e2 (.3 and .2), e3 (.4), strangers to each other.

    Nothing labelled: e1 covers .6, e2 .5, e3 .4, in this order; then nothing is left, and the rest follow by position.
    The most uncertain alone would be e3, 3, 0; whoever forgets earlier picks takes e1 three times. With e1 labelled it
    comes last.
    """
    points = torch.eye(3, dtype=torch.float64)[[0, 0, 0, 1, 1, 2]]
    weight = torch.tensor([0.2, 0.2, 0.2, 0.3, 0.2, 0.4], dtype=torch.float64)
    assert cover(points, weight, points[:0], 4, bandwidth=0.1).tolist() == [0, 3, 5, 1]
    assert cover(points, weight, points[:1], 4, bandwidth=0.1).tolist() == [3, 5, 0, 1]


def test_the_kernel_of_coverage_by_hand():
    """Points e1, e2 of weight 1, and m between them: k(e1, e2) = exp(-2 / s^2), k(e1, m) = exp(-.586 / s^2).

    s = 1: .135 and .557. With weight 0, m covers 1.114, e1 1.135; with .1 it is 1.214 to 1.191. A kernel with 2 s^2
    (.368, .746) would take m at weight 0 already, one of distances that are not squared (.243, .465) e1 at .1 still.
    s = .8: .044 and .400. With weight .3, m covers 1.100, e1 1.164. With s for s^2 it would be 1.262 to 1.227.
    """
    points = on_circle([0, 90, 45])
    for between, bandwidth, expected in ((0.0, 1.0, 0), (0.1, 1.0, 2), (0.3, 0.8, 0)):
        weight = torch.tensor([1.0, 1.0, between], dtype=torch.float64)
        assert cover(points, weight, points[:0], 1, bandwidth).tolist() == [expected]


@given(st.integers(0, 2**16), st.integers(0, 4), st.floats(0.2, 2.0))
def test_coverage_rises_most_at_each_step_and_reaches_the_bound_of_greedy(seed, labels, bandwidth):
    """By the definition, without running maxima; and at least 1 - 1/e of the largest rise that any batch gives."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(9 + labels, 3, generator=rng, dtype=torch.float64), dim=1)
    weight = torch.rand(9, generator=rng, dtype=torch.float64)
    kernel = (-torch.cdist(rows[:9], rows, compute_mode="donot_use_mm_for_euclid_dist").square() / bandwidth**2).exp()

    def coverage(chosen):
        centres = [*range(9, 9 + labels), *chosen]
        return float(weight @ kernel[:, centres].amax(dim=1)) if centres else 0.0

    chosen = cover(rows[:9], weight, rows[9:], 3, bandwidth).tolist()
    for step, pick in enumerate(chosen):
        before = chosen[:step]
        assert pick not in before
        assert coverage([*before, pick]) >= max(coverage([*before, other]) for other in range(9)) - 1e-9
    best = max(coverage(batch) for batch in combinations(range(9), 3))
    assert coverage(chosen) - coverage([]) >= (1 - 1 / math.e) * (best - coverage([])) - 1e-9


def test_the_smallest_distance_by_hand():
    """At 0, 0, 60 and 90 degrees: copies count once, so the nearest pair is 30 degrees, 2 sin 15 = .518, apart."""
    assert smallest_distance(on_circle([0, 0, 60, 90])) == pytest.approx(2 * math.sin(math.radians(15)))
    assert smallest_distance(on_circle([0, 0])) == smallest_distance(on_circle([])[:0]) == 1.0


def test_copies_in_single_precision_make_no_bandwidth():
    """Their squared distance is a rounding error, of either sign."""
    rows = torch.nn.functional.normalize(torch.randn(40, 2048, generator=torch.Generator().manual_seed(0)), dim=1)
    assert smallest_distance(rows[[*range(40), *range(40)]]) == pytest.approx(smallest_distance(rows), abs=1e-4)
    assert smallest_distance(rows) > 1


@pytest.mark.parametrize(
    ("relevant", "irrelevant", "odds"),
    [(1, 1, 2.0), (3, 3, 4.0), (1, 3, 23 / 7)],
)
def test_the_temperature_by_hand(relevant, irrelevant, odds):
    """Scores of 1 for what is relevant, -1 for the rest: all y f = 1, so that sigma(1 / T) is the mean target.

    One of each: 2/3, odds of 2, T = 1 / log 2. Three of each: 4/5, odds of 4. One and three: (2/3 + 3 * 4/5) / 4 =
    23/30, odds of 23/7. Counts of all answers would give 3/4 for one of each; targets of 1 no temperature at all.
    """
    answers = torch.tensor([1] * relevant + [-1] * irrelevant)
    assert calibrated(answers.double(), answers) == pytest.approx(1 / math.log(odds))


def test_scores_that_say_nothing_make_all_equally_uncertain():
    """Against the answers, the same for all, or none at all."""
    answers = torch.tensor([1, -1])
    assert calibrated(-answers.double(), answers) == math.inf
    assert calibrated(torch.zeros(2), answers) == math.inf
    assert calibrated(torch.ones(2), answers) == math.inf
    assert calibrated(torch.zeros(0), answers[:0]) == math.inf


@given(st.integers(0, 2**16), st.floats(1e-3, 1e3))
def test_the_temperature_has_the_unit_of_the_scores(seed, unit):
    shown = crowd(1, 40, seed)
    known = shown.answers[0].nonzero()[:, 0]
    scores, answers = shown.scores[0, known], shown.answers[0, known]
    assert calibrated(unit * scores, answers) == pytest.approx(unit * calibrated(scores, answers))


def test_few_answers_ask_for_coverage_and_many_for_uncertainty():
    """Labelled at 0 (score 1) and 60 degrees (-1): sigma = 1. Candidates: three at 270 with score 1, one at 180 with 0.

    One answer of each: T = 1 / log 2, U = 2 / (1 + 2^|f|) = 2/3 and 1. At 270, of which exp(-2) = .135 is covered from
    0, the gain is 3 * 2/3 * .865, and .085 at 180; at 180 it is .95. So 270, then 180, then the second at 270.
    Twenty of each, copies: odds of 21, U = 1/11 at 270, a gain of .236 + .085: so 180 is first.
    """
    for copies, expected in ((1, [0, 3, 1]), (20, [3, 0, 1])):
        answers = [0] * 4 + [1] * copies + [-1] * copies
        whole = on_circle([270, 270, 270, 180] + [0] * copies + [60] * copies)
        scores = torch.tensor([1.0, -1.0, 1.0, 0.0, *answers[4:]])
        shown = view(scores[None], answers=[answers], whole=whole)
        assert UncertaintyHerding(shortlist=2)(shown, 3, rngs(1)).tolist() == [expected]


def test_a_given_temperature_and_bandwidth_replace_those_of_the_answers():
    """As above with one answer of each, and two candidates with score 1, at 270 and 280 degrees.

    Labelled at 0 and 60: k = exp(-.030) = .97 between the two, and 270 gains 2/3 * .865 + 2/3 * .778 + .085 = 1.18,
    280 less (1.14), 180 only .95. T = .1 makes U = 9e-5 of both; sigma = .1 makes k = .05, and .70 of the 1.18. So do
    labels at 0 and 5: sigma = 2 sin 2.5 = .087.
    """
    apart, close = on_circle([280, 270, 180, 0, 60]), on_circle([280, 270, 180, 0, 5])
    shown = view([[1.0, 1.0, 0.0, 1.0, -1.0]], answers=[[0, 0, 0, 1, -1]], whole=apart)
    assert UncertaintyHerding()(shown, 1, rngs(1)).tolist() == [[1]]
    assert UncertaintyHerding(temperature=0.1)(shown, 1, rngs(1)).tolist() == [[2]]
    assert UncertaintyHerding(bandwidth=0.1)(shown, 1, rngs(1)).tolist() == [[2]]
    assert UncertaintyHerding()(replace(shown, read_descriptors=lambda: close), 1, rngs(1)).tolist() == [[2]]


@given(st.integers(0, 2**16), st.integers(1, 8))
def test_without_neighbours_it_is_the_uncertainty_criterion(seed, budget):
    """A bandwidth below all distances: an image covers itself alone. So does a shortlist as long as the batch."""
    shown = crowd(2, 40, seed)
    expected = Uncertainty()(shown, budget, rngs(2))
    assert torch.equal(UncertaintyHerding(bandwidth=1e-3, temperature=1.0)(shown, budget, rngs(2)), expected)
    alone = UncertaintyHerding(shortlist=1)(shown, budget, rngs(2))
    assert torch.equal(alone.sort(dim=1).values, expected.sort(dim=1).values)


@pytest.mark.parametrize("key", ["shortlist", "bandwidth", "temperature"])
def test_impossible_settings_are_refused(key):
    with pytest.raises(ConfigError, match=f"UncertaintyHerding: {key}=0"):
        UncertaintyHerding(**{key: 0})
