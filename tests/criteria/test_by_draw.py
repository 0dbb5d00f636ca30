"""Criteria that draw: random, k-means++, BADGE."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.criteria.descriptors import Badge, KmeansPp, last_layer_error, two_classes
from seekloop.criteria.scores import Random
from seekloop.criteria.selection import drawn_by_distance
from tests.criteria.views import crowd, on_circle, rngs, view


def shares(draw, size, times=600):
    """How often each position comes first."""
    firsts = [int(draw(torch.Generator().manual_seed(seed))[0]) for seed in range(times)]
    return torch.bincount(torch.tensor(firsts), minlength=size) / times


def test_random_is_the_same_with_the_same_generator_whatever_the_scores():
    shown, other = crowd(2, 30, seed=1), crowd(2, 30, seed=1)
    other.scores.mul_(-3)
    assert Random()(shown, 8, rngs(2)).equal(Random()(other, 8, rngs(2)))
    assert not Random()(shown, 8, rngs(2)).equal(Random()(shown, 8, rngs(2, seed=5)))


def test_chances_by_hand():
    """Squared distances 0, 1, 3: chances 0, 1/4, 3/4. Distances, or farthest first, would be 0, .37, .63 or 0, 0, 1."""
    squares, free = torch.tensor([0.0, 1.0, 3.0]), torch.ones(3, dtype=torch.bool)
    found = shares(lambda rng: drawn_by_distance(squares, free, 1, rng, lambda point: squares), 3)
    torch.testing.assert_close(found, torch.tensor([0, 0.25, 0.75]), rtol=0, atol=0.05)


def test_later_draws_keep_away_from_earlier_ones():
    """On a line at 0, 0, 9, 9 without a centre: whichever is first, the second lies at the other place."""
    place = torch.tensor([0.0, 0.0, 9.0, 9.0])
    nothing, free = torch.full((4,), torch.inf), torch.ones(4, dtype=torch.bool)
    for seed in range(20):
        rng = torch.Generator().manual_seed(seed)
        first, second = drawn_by_distance(nothing, free, 2, rng, lambda point: (place - place[point]) ** 2).tolist()
        assert place[first] != place[second]


def test_kmeans_pp_by_hand():
    """Labelled at 0 degrees; 60 and 90 are 1 and sqrt 2 away: chances 1/3 and 2/3. The label itself is never drawn."""
    shown = view(torch.zeros(1, 3), answers=[[0, -1, 0]], whole=on_circle([60, 0, 90]))
    found = shares(lambda rng: KmeansPp()(shown, 1, [rng])[0], 3)
    torch.testing.assert_close(found, torch.tensor([1 / 3, 0, 2 / 3]), rtol=0, atol=0.06)


@given(st.integers(0, 2**16), st.integers(1, 5))
def test_kmeans_pp_asks_about_every_place_before_any_twice(seed, budget):
    """Five places, six images at each: k-means++ never draws where it already is."""
    whole = on_circle([0, 50, 110, 190, 270]).repeat(6, 1)
    shown = view(torch.zeros(1, 30), whole=whole.round(decimals=3))
    picks = KmeansPp()(shown, budget, rngs(1, seed))[0]
    assert (picks % 5).unique().numel() == budget


# Three images with the same descriptor; the third is unsure, so its gradient is long.
UNSURE = {"probabilities": [[[1.0, 0.0], [0.9, 0.1], [0.5, 0.5]]], "whole": on_circle([30, 30, 30])}


def test_badge_by_hand():
    """Gradients (p - e): 0, (-.1, .1), (-.5, .5), times one descriptor; squares from the first: 0, .02, .5."""
    error = last_layer_error(torch.tensor(UNSURE["probabilities"][0]))
    torch.testing.assert_close(error, torch.tensor([[0, 0], [-0.1, 0.1], [-0.5, 0.5]]))
    shown = view(torch.zeros(1, 3), **UNSURE)
    assert Badge(parity=True)(shown, 3, rngs(1))[0, 0] == 2
    found = shares(lambda rng: Badge(parity=False)(shown, 1, [rng])[0], 3)
    torch.testing.assert_close(found, torch.full((3,), 1 / 3), rtol=0, atol=0.06)


@given(st.integers(0, 2**16), st.booleans())
def test_badge_equals_seeding_on_gradients_written_out(seed, parity):
    logits = torch.randn(1, 30, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shown = replace(crowd(1, 30, seed), probabilities=logits.softmax(dim=2))
    gradients = torch.einsum("nc,nd->ncd", last_layer_error(shown.probabilities[0]), shown.descriptors).flatten(1)
    free, rng = shown.candidate[0].clone(), torch.Generator().manual_seed(seed)
    wanted: list[int] = []
    squares = torch.full((30,), torch.inf, dtype=torch.float64)

    def squares_to(point):
        return (gradients - gradients[point]).square().sum(dim=1)

    if parity:
        wanted.append(int(gradients.norm(dim=1).masked_fill(~free, -1).argmax()))
        free[wanted[0]] = False
        squares = squares_to(wanted[0])
    wanted += drawn_by_distance(squares, free, 6 - len(wanted), rng, squares_to).tolist()
    found = Badge(parity)(shown, 6, rngs(1, seed))[0]
    assert found.tolist() == wanted


def test_badge_of_a_search_by_hand():
    """Scores ln 9, 0, -ln 4: sigmoids .9, .5, .2, so errors (-.1, .1), (-.5, .5) and, of irrelevant, (.2, -.2)."""
    shown = replace(view(torch.tensor([[9.0, 1.0, 0.25]]).log(), whole=on_circle([30, 30, 30])), probabilities=None)
    error = last_layer_error(two_classes(shown)[0])
    torch.testing.assert_close(error, torch.tensor([[-0.1, 0.1], [-0.5, 0.5], [0.2, -0.2]]).double())
    assert Badge(parity=True)(shown, 1, rngs(1)).tolist() == [[1]]


@pytest.mark.parametrize("criterion", [KmeansPp(), Badge(parity=False)], ids=["kmeans_pp", "badge"])
def test_another_generator_draws_other_images(criterion):
    shown = crowd(1, 60, seed=3)
    drawn = {tuple(criterion(shown, 4, rngs(1, seed))[0].tolist()) for seed in range(5)}
    assert len(drawn) > 1
