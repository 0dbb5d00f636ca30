"""Criteria that look at the probabilities of several classes, and CEAL's pseudo-labels."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.criteria.probabilities import Ceal, Entropy, LeastConfidence, Margin
from tests.criteria.views import crowd, rngs, view

CEAL = Ceal(delta=0.1, decay=0.00033, parity=False)
NEED = {"Entropy": Entropy(), "LeastConfidence": LeastConfidence(), "Margin": Margin(), "Ceal": CEAL}
# Three images that the three rules put in three orders. Entropies .94, .80, 1.03 nats.
THREE = [[[0.60, 0.30, 0.10], [0.51, 0.48, 0.01], [0.50, 0.25, 0.25]]]


@pytest.mark.parametrize(
    ("criterion", "order"),
    [(Entropy(), [2, 0, 1]), (LeastConfidence(), [2, 1, 0]), (Margin(), [1, 2, 0]), (CEAL, [2, 0, 1])],
    ids=["entropy", "least_confidence", "margin", "ceal"],
)
def test_three_images_by_hand(criterion, order):
    """Margins .30, .03, .25; largest probabilities .60, .51, .50."""
    shown = view(torch.zeros(1, 3), probabilities=THREE)
    assert criterion(shown, 3, rngs(1)).tolist() == [order]


def test_a_class_without_probability_is_no_trouble():
    shown = view(torch.zeros(1, 3), probabilities=[[[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]])
    assert Entropy()(shown, 3, rngs(1)).tolist() == [[1, 0, 2]]


@given(st.integers(0, 2**16))
def test_of_two_classes_all_rules_are_uncertainty(seed):
    """With two classes, entropy, confidence and margin are functions of each other."""
    shown = crowd(2, 40, seed)
    odds = torch.randn(2, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shown = dataclasses.replace(shown, probabilities=torch.stack([odds.sigmoid(), (-odds).sigmoid()], dim=2))
    first = Margin()(shown, 6, rngs(2))
    assert Entropy()(shown, 6, rngs(2)).equal(first)
    assert LeastConfidence()(shown, 6, rngs(2)).equal(first)


@pytest.mark.parametrize("name", NEED)
def test_without_probabilities_it_says_where_there_are_some(name):
    shown = dataclasses.replace(crowd(1, 30, 0), probabilities=None)
    with pytest.raises(ConfigError, match=f"criterion='{name}'.*seekloop learn.*criterion=uncertainty"):
        NEED[name](shown, 3, rngs(1))


# Shares of the largest entropy: .08, 1, .08, .29, .08
FIVE = torch.tensor([[0.99, 0.01], [0.5, 0.5], [0.01, 0.99], [0.95, 0.05], [0.99, 0.01]], dtype=torch.float64)
OPEN = torch.tensor([False, True, True, True, True])


def test_ceal_believes_what_it_is_sure_of_by_hand():
    """The first is sure but labelled; the third and last are sure; a threshold in nats would believe the fourth."""
    found = Ceal(0.25, 0.0).pseudo_labels(FIVE, OPEN, 0)
    assert found.labels.tolist() == [-1, -1, 1, -1, 0]
    assert found.weights.tolist() == [0, 0, 1, 0, 1]


def test_ceal_believes_nothing_at_the_threshold_itself():
    """A certain image has entropy 0, which is not below 0; an even one has 1, which is not below 1."""
    certain_and_even = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    for delta, believed in ((0.0, [-1, -1]), (1.0, [0, -1])):
        found = Ceal(delta).pseudo_labels(certain_and_even, torch.tensor([True, True]), 0)
        assert found.labels.tolist() == believed


def test_the_released_rule_by_hand():
    """The third image is the second unlabelled one: it gets the second prediction, 0; the last gets the fourth's, 0."""
    found = Ceal(0.25, 0.0, parity=True).pseudo_labels(FIVE, OPEN, 0)
    assert found.labels.tolist() == [-1, -1, 0, -1, 0]
    assert found.weights.tolist() == [0] * 5


def test_the_threshold_falls_with_the_cycles():
    """.2 in cycle 0, .05 in cycle 1: .08 is no longer sure enough; below 0 nothing is."""
    ceal = Ceal(delta=0.2, decay=0.15, parity=False)
    believed = [int((ceal.pseudo_labels(FIVE, OPEN, cycle).labels >= 0).sum()) for cycle in range(3)]
    assert believed == [2, 0, 0]
    assert Ceal(0.2, 0.15, parity=True).pseudo_labels(FIVE, OPEN, 0).labels.tolist() == [-1, -1, 0, -1, 0]


@given(st.integers(0, 2**16), st.floats(0, 1), st.floats(0, 1))
def test_what_is_believed_grows_with_the_threshold(seed, one, other):
    shown = crowd(1, 40, seed)
    rules = [Ceal(delta) for delta in sorted((one, other))]
    low, high = (rule.pseudo_labels(shown.probabilities[0], shown.candidate[0], 0) for rule in rules)
    assert (low.weights <= high.weights).all()
    assert (high.weights[~shown.candidate[0]] == 0).all()


@pytest.mark.parametrize(("key", "settings"), [("delta", (1.1, 0.0)), ("delta", (-0.1, 0.0)), ("decay", (0.1, -1.0))])
def test_ceal_refuses_settings_that_cannot_work(key, settings):
    with pytest.raises(ConfigError, match=f"Ceal: {key}="):
        Ceal(*settings, parity=False)
