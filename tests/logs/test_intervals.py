import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.logs.intervals import half_width, holm, interval, paired_bootstrap


def differences(**classes):
    rows = [(name, number, value) for name, values in classes.items() for number, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["class_name", "query", "d"]).set_index(["class_name", "query"])["d"]


@st.composite
def gains(draw):
    """Two to five queries of each of one to three classes, on a grid of values as areas have."""
    values = st.lists(st.integers(-8, 8).map(lambda step: step / 8), min_size=2, max_size=5)
    return differences(**draw(st.dictionaries(st.sampled_from(["cat", "dog", "cow"]), values, min_size=1)))


def test_two_queries_by_hand():
    """0 and 2: drawn again they are (0, 0), (0, 2), (2, 0) or (2, 2), with means 0, 1 and 2 a quarter, half, quarter.

    Moved away from 1 by sqrt(2 / 1): 1 - 1.4142, 1 and 1 + 1.4142. The outer ones are more than 2.5 % each, so they are
    the ends. Below zero lies a quarter of the means, twice that is p. (Not moved, the interval would be [0, 2]; not
    drawn in pairs, it would be another; one-sided, p would be 0.25.)
    """
    found = paired_bootstrap(differences(cat=[0.0, 2.0]))
    assert found.mean == 1.0
    assert (found.low, found.high) == pytest.approx((1 - math.sqrt(2), 1 + math.sqrt(2)))
    assert found.p == pytest.approx(0.5, abs=0.03)


def test_classes_count_equally_and_are_not_drawn():
    """Cat gains 1 with each of two queries, dog nothing with each of six: the mean is 1/2 and nothing can move it.

    Over queries it would be 1/4; with classes drawn too, it would move between 0 and 1.
    """
    found = paired_bootstrap(differences(cat=[1.0] * 2, dog=[0.0] * 6))
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    assert found.p < 0.001


def test_many_queries_agree_with_students_t():
    """400 gains of a normal distribution: the bootstrap's interval is Student's to a tenth of its width."""
    values = np.random.default_rng(0).normal(0.1, 1.0, 400)
    found, half = paired_bootstrap(differences(cat=values)), half_width(pd.Series(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_of_a_single_query_only_the_mean_is_known():
    found = paired_bootstrap(differences(cat=[0.5], dog=[0.1, 0.3]))
    assert found.mean == pytest.approx(0.35)
    assert math.isnan(found.low + found.high)
    assert math.isnan(found.p)


@settings(deadline=None, max_examples=40)
@given(gains())
def test_settings_exchanged_mirror_the_interval(one):
    there, back = paired_bootstrap(one), paired_bootstrap(-one)
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low), abs=1e-12)
    assert back.p == there.p


@settings(deadline=None, max_examples=40)
@given(gains())
def test_the_interval_holds_the_mean_and_no_difference_is_nothing(one):
    found = paired_bootstrap(one)
    assert found.low - 1e-12 <= found.mean <= found.high + 1e-12
    assert 0 < found.p <= 1
    same = paired_bootstrap(one * 0)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)


@settings(deadline=None, max_examples=20)
@given(gains(), st.randoms(use_true_random=False))
def test_the_order_of_the_queries_changes_nothing(one, random):
    order = list(range(len(one)))
    random.shuffle(order)
    assert paired_bootstrap(one.iloc[order]) == paired_bootstrap(one)


def test_intervals_of_shares_stay_between_0_and_1_and_are_not_cut():
    """0.9 and 1.0: plain 0.95 + 0.635 is 1.585; a cut would end at 1. In log-odds 2.944 +- 0.6353 / 0.0475 = 13.375."""
    values = pd.Series([0.9, 1.0])
    assert interval(values, share=False) == pytest.approx((0.3147, 1.5853), abs=1e-4)
    assert interval(values, share=True) == pytest.approx((2.952e-05, 0.99999992), rel=1e-3)
    assert interval(pd.Series([1.0, 1.0]), share=True) == (1.0, 1.0)
    assert all(math.isnan(end) for end in interval(pd.Series([0.5]), share=True))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_an_interval_of_shares_holds_their_mean_and_mirrors(values):
    low, high = interval(pd.Series(values), share=True)
    assert 0 <= low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= high <= 1
    back = interval(1 - pd.Series(values), share=True)
    assert (1 - back[1], 1 - back[0]) == pytest.approx((low, high), abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 3))
def test_holm_raises_p_keeps_its_order_and_counts_only_what_is_known(values, unknown):
    p = np.array([*values, *[math.nan] * unknown])
    corrected = holm(p)
    assert np.isnan(corrected[len(values) :]).all()
    known = corrected[: len(values)]
    assert (known >= np.array(values)).all()
    assert (known <= np.minimum(1, len(values) * np.array(values)) + 1e-12).all()  # Bonferroni
    assert (np.diff(known[np.argsort(values)]) >= 0).all()
