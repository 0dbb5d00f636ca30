import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import ArpackNoConvergence

from seekloop.contracts.errors import ConfigError
from seekloop.regions import graph as graph_module
from seekloop.regions.claid import node_of
from seekloop.regions.cuts import VARIANTS, Node, NormalisedCut
from seekloop.regions.graph import later_vectors


def graph(size, edges):
    alike = np.eye(size, dtype=bool)
    for one, other in edges:
        alike[one, other] = alike[other, one] = True
    return alike


def cut(alike, solver="dense"):
    node = Node(np.arange(len(alike)), alike.astype(np.float32), alike.sum(axis=1), 0.5)
    return NormalisedCut(solver)(node, VARIANTS["paper"], torch.Generator())


def test_two_groups_and_a_bridge_by_hand():
    """Two and three tokens alike among themselves, and one alike to all: degrees 3, 4 and 6.

    With mu = 1 - lambda, a and b the values of the groups and 1 that of the bridge: 2 a + 1 = 3 mu a and
    3 b + 1 = 4 mu b, so a = 1 / (3 mu - 2), b = 1 / (4 mu - 3); the bridge gives 12 mu^2 - 7 mu - 1 = 0. Without D
    on the right the bridge's value would be 0, and b / a = -2 / 3.
    """
    alike = graph(6, [(0, 1), (2, 3), (2, 4), (3, 4), *((5, other) for other in range(5))])
    mu = (7 + math.sqrt(97)) / 24
    vector = later_vectors(np.where(alike, 1.0, 0.0), 1, "dense", torch.Generator())[:, 0]
    np.testing.assert_allclose(vector / vector[5], [1 / (3 * mu - 2)] * 2 + [1 / (4 * mu - 3)] * 3 + [1], rtol=1e-6)
    assert cut(alike).tolist() == [True, True, False, False, False, True]


def test_the_threshold_is_the_mean():
    """Above the mean are 0, 4 and 5; above 0 would be 6 too (it is between); without D it would be 4 and 5 alone."""
    edges = [(0, 3), (0, 5), (1, 2), (1, 5), (1, 7), (2, 3), (3, 5), (3, 7), (4, 5), (5, 6), (6, 7)]
    assert np.flatnonzero(cut(graph(8, edges))).tolist() == [0, 4, 5]


@settings(deadline=None, max_examples=50)
@given(st.integers(3, 90), st.integers(0, 2**32 - 1), st.sampled_from(["dense", "lanczos"]))
def test_the_vector_solves_its_equation(size, seed, solver):
    draw = np.triu(np.random.default_rng(seed).random((size, size)) < 0.4, 1)
    weights = np.where(draw | draw.T | np.eye(size, dtype=bool), 1.0, 1e-5)
    degree = weights.sum(axis=1)
    vector = later_vectors(weights, 1, solver, torch.Generator().manual_seed(1))[:, 0]
    value = 1 - vector @ weights @ vector / (degree @ vector**2)
    np.testing.assert_allclose(degree * vector - weights @ vector, value * degree * vector, atol=1e-4)
    assert degree @ vector == pytest.approx(0, abs=1e-4)
    every = np.linalg.eigvalsh(np.eye(size) - weights / np.sqrt(np.outer(degree, degree)))
    assert value == pytest.approx(every[1], abs=1e-8)


def test_where_all_pairs_are_alike_or_none_is_there_is_no_cut():
    for alike in (np.ones((5, 5), dtype=bool), np.eye(5, dtype=bool), np.zeros((5, 5), dtype=bool), graph(1, [])):
        assert not cut(alike).any()


@pytest.mark.parametrize("solver", ["dense", "lanczos"])
def test_two_clouds_are_told_apart(solver):
    centre = torch.eye(8)[torch.arange(90) % 2]
    node = node_of(centre + 0.1 * torch.randn(90, 8, generator=torch.Generator().manual_seed(0)), 0.2)
    side = NormalisedCut(solver)(node, VARIANTS["paper"], torch.Generator())
    assert {side[0], side[1]} == {True, False}
    assert len(set(side[::2])) == len(set(side[1::2])) == 1


def test_where_lanczos_does_not_converge_dense_takes_over(monkeypatch):
    def exhausted(*_, **__):
        raise ArpackNoConvergence("no", np.zeros(0), np.zeros((0, 0)))

    alike = np.kron(np.eye(2), np.ones((40, 40))).astype(bool)
    alike[0, 79] = alike[79, 0] = True
    wanted = cut(alike)
    monkeypatch.setattr(graph_module, "eigsh", exhausted)
    assert np.array_equal(cut(alike, "lanczos"), wanted)
    assert 0 < wanted.sum() < 80


def test_a_solver_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="'power'"):
        NormalisedCut("power")
