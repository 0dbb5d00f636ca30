"""Criteria that look at who is near whom: jLP, ProbCover."""

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch.nn import functional as F

from seekloop.contracts.cache import Cache
from seekloop.contracts.errors import ConfigError
from seekloop.criteria.graphs import Jlp, Probcover, least_reached, most_covering
from seekloop.graphs.affinity import affinity
from seekloop.graphs.balls import balls
from seekloop.graphs.propagation import Solver
from tests.criteria.views import crowd, on_circle, rngs, view

EXACT = Solver(0.99, 2000, 1e-12)
JLP = Jlp(neighbours=5, kind="sum", power=3, clamp=True, alpha=0.99, iterations=20, tolerance=1e-6)


def path(*squares):
    """A path whose normalised weights have these squares."""
    root = np.sqrt(np.array(squares))
    return sparse.csr_array(np.diag(root, 1) + np.diag(root, -1))


def only(size, *positions):
    row = torch.zeros(1, size, dtype=torch.bool)
    row[0, list(positions)] = True
    return row


def test_jlp_on_a_path_by_hand():
    """A path of five, its middle labelled: what arrives is less with every step, so the ends tie, and the first is
    chosen; then the other end; then both neighbours of the middle tie, and the first is chosen.

    Choosing what is reached most would give 1 first; giving labels no weight, 0 and then 1.
    """
    graph = path(0.25, 0.25, 0.25, 0.25)
    chosen = least_reached(graph, ~only(5, 2), only(5, 2), 4, Solver(0.5, 50, 1e-12))
    assert chosen.tolist() == [[0, 4, 1, 3]]


def test_jlp_does_not_forget_its_picks():
    """A path of six labelled at its left end: the far end, then what is far from both. Forgetting would give 5, 4."""
    graph = path(*[0.25] * 5)
    chosen = least_reached(graph, ~only(6, 0), only(6, 0), 2, Solver(0.5, 50, 1e-12))
    assert chosen.tolist() == [[5, 2]]


def joined(size, **edges):
    """A graph of these edges, such as `w12=0.5`."""
    dense = np.zeros((size, size))
    for name, weight in edges.items():
        i, j = int(name[1]), int(name[2])
        dense[i, j] = dense[j, i] = weight
    return sparse.csr_array(dense)


def test_jlp_takes_less_than_nothing_for_nothing():
    """Image 0 is out of reach and has 0; what arrives at 2 is negative, which counts as 0: the lower position wins."""
    chosen = least_reached(joined(3, w12=-0.5), ~only(3, 1), only(3, 1), 1, Solver(0.5, 50, 1e-12))
    assert chosen.tolist() == [[0]]


def test_jlp_sees_no_difference_in_rounding():
    """What arrives at 1 is more than at 2 by one part in 10^12: a tie, which goes to the lower position."""
    graph = joined(3, w01=0.5 * (1 + 1e-12), w02=0.5)
    assert least_reached(graph, ~only(3, 0), only(3, 0), 1, Solver(0.5, 50, 1e-15)).tolist() == [[1]]


def clusters(seed, sizes=(12, 12)):
    rng = torch.Generator().manual_seed(seed)
    label = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    points = torch.eye(8, dtype=torch.float64)[label] + 0.1 * torch.rand(len(label), 8, generator=rng)
    return F.normalize(points, dim=1), label


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(0, 11))
def test_jlp_goes_first_where_there_is_no_label(seed, labelled):
    """Two clusters without an edge between them; one has a label."""
    whole, label = clusters(seed)
    answers = torch.zeros(1, 24, dtype=torch.long)
    answers[0, labelled] = -1
    first = JLP(view(torch.zeros(1, 24), answers=answers, whole=whole), 1, rngs(1))
    assert label[first].item() == 1


@settings(deadline=None)
@given(st.integers(0, 2**16))
def test_jlp_never_asks_twice_and_is_reached_more_with_every_pick(seed):
    shown = crowd(2, 40, seed)
    graph = affinity(shown.descriptors, 5, "sum", 3, True)
    chosen = least_reached(graph, shown.candidate, shown.answers != 0, 6, EXACT)
    for query, picks in enumerate(chosen):
        assert shown.candidate[query, picks].all()
        assert picks.unique().numel() == 6
        before = torch.zeros(40)
        for count in range(7):
            y = (shown.answers[query] != 0).double()
            y[picks[:count]] = 1.0
            reached = EXACT.solve(graph, y[:, None])[:, 0]
            assert (reached >= before - 1e-8).all()
            before = reached


def test_jlp_does_not_depend_on_how_queries_are_split(monkeypatch):
    shown = crowd(5, 40, seed=2)
    together = JLP(shown, 4, rngs(5))
    monkeypatch.setattr("seekloop.criteria.graphs._NUMBERS", 80)
    assert JLP(shown, 4, rngs(5)).equal(together)


def test_a_graph_is_built_once_for_views_that_share_a_cache(monkeypatch):
    """Two rounds of one loop: the second takes the graph, and the balls, of the first; a cache of its own does not."""
    built = []
    for name in ("seekloop.graphs.affinity.affinity", "seekloop.criteria.graphs.balls"):
        module, _, function = name.rpartition(".")
        plain = getattr(import_module(module), function)
        monkeypatch.setattr(name, lambda *args, plain=plain: [built.append(plain.__name__), plain(*args)][1])
    shown, cache = crowd(1, 40, seed=0), Cache()
    for criterion in (JLP, Probcover(0.75)):
        picks = [criterion(replace(shown, cache=one), 4, rngs(1)) for one in (cache, cache, Cache())]
        assert picks[0].equal(picks[1])
        assert picks[0].equal(picks[2])
    assert built == ["affinity", "affinity", "balls", "balls"]


@pytest.mark.parametrize("key", ["neighbours", "alpha", "iterations"])
def test_jlp_refuses_settings_that_cannot_work(key):
    with pytest.raises(ConfigError, match=f"Jlp: {key}="):
        Jlp(**{key: 1.5 if key == "alpha" else 0})


def test_probcover_by_hand():
    """Balls of 11 degrees on a circle, 0 labelled. 0, 10 and 20: 10 has three, but 0's ball holds 0 and 10. 40, 50, 60:
    50 covers three, so it is first. Then 20, 40 and 60 cover: 10 and 20 one new (20), 80 itself; the lowest is 10.
    Forgetting the label would give 10 first, which ties with 50; counting what is covered already, 40 second.
    """
    degrees = [0, 10, 20, 40, 50, 60, 80]
    shown = view(torch.zeros(1, 7), answers=[[1, 0, 0, 0, 0, 0, 0]], whole=on_circle(degrees))
    radius = 2 * math.sin(math.radians(11) / 2)
    assert Probcover(radius)(shown, 4, rngs(1)).tolist() == [[4, 1, 6, 2]]


@settings(deadline=None)
@given(st.integers(0, 2**16), st.floats(0.1, 1.9))
def test_probcover_equals_the_written_out_rule_and_gains_less_and_less(seed, radius):
    shown = crowd(1, 30, seed)
    candidate, labelled = shown.candidate[0], shown.answers[0] != 0
    inside = torch.from_numpy(balls(shown.descriptors, radius, 10**6).toarray()).bool()
    readable = shown.descriptors.norm(dim=1) > 0
    distance = torch.cdist(shown.descriptors, shown.descriptors, compute_mode="donot_use_mm_for_euclid_dist")
    clear = ((distance - radius).abs() > 1e-6) & readable & readable[:, None]
    assert (inside == (distance <= radius))[clear].all()
    covered, gains = inside[labelled].any(dim=0), []
    for pick in most_covering(balls(shown.descriptors, radius, 10**6), candidate, labelled, 8).tolist():
        gain = (inside & ~covered).sum(dim=1)
        assert gain[pick] == gain[candidate].max()
        gains.append(int(gain[pick]))
        covered |= inside[pick]
        candidate = candidate & (torch.arange(30) != pick)
    assert gains == sorted(gains, reverse=True)


def test_balls_in_blocks_are_the_same(monkeypatch):
    whole = crowd(1, 50, seed=4).descriptors
    dense = balls(whole, 0.5, 10**6).toarray()
    monkeypatch.setattr("seekloop.graphs.balls._PRODUCTS", 200)
    assert (balls(whole.clone(), 0.5, 10**6).toarray() == dense).all()


def test_balls_that_no_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr("seekloop.criteria.graphs._MOST", 100)
    with pytest.raises(ConfigError, match=r"Probcover: radius=1.9.*smaller"):
        Probcover(1.9)(crowd(1, 40, seed=0), 2, rngs(1))
    with pytest.raises(ConfigError, match=r"Probcover: radius=2.0"):
        Probcover(2.0)
