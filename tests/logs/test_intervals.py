import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.logs.intervals import half_width, paired_bootstrap


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
