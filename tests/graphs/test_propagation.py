import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import cg

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Propagation
from seekloop.graphs import propagation as module
from seekloop.graphs.affinity import affinity
from seekloop.graphs.propagation import LabelPropagation, Solver, certainty, propagate, seeds
from tests.graphs.clouds import clouds

EXACT = Solver(0.99, 1000, 1e-12)
TWENTY = Solver(0.99, 20, 1e-6)
THESIS = {"balanced": False, "relative_weights": False}
# A path 0 - 1 - 2 whose middle has degree 5: squares of its weights are .8 and .2.
PATH = sparse.csr_array(np.sqrt([[0, 0.8, 0], [0.8, 0, 0.2], [0, 0.2, 0]]))


def graph_of(points, kind="reciprocal", k=6):
    return affinity(points, k, kind, 3, True)


def known(label, positions):
    labels = torch.full_like(label, -1)
    labels[positions] = label[positions]
    return labels


def test_a_path_by_hand():
    """Alpha 1/2: the inverse's first column is (1 - .2/4, sqrt(.8)/2, .4/4) / (3/4), its last (.4/4, sqrt(.2)/2, .8).

    So the middle gets two thirds of class 0 and one of class 1. The end at 0 has 19 and 2 parts, the other 1 and 8.
    The first end is the surest, so the middle's weight is its own over the first end's: a maximum over the unlabelled
    alone would give 1. Labelled images have weight 1.
    """
    z = Solver(0.5, 20, 1e-12).solve(PATH, seeds(torch.tensor([0, -1, 1]), 2, True))
    wanted = torch.tensor([[0.95, 0.1], [math.sqrt(0.8) / 2, math.sqrt(0.2) / 2], [0.1, 0.8]]).double() / 0.75
    torch.testing.assert_close(z, wanted)
    found = propagate(PATH, torch.tensor([0, -1, 1]), 2, Solver(0.5, 20, 1e-12), balanced=True, relative_weights=True)
    assert found.labels.tolist() == [0, 0, 1]

    def sure(p):
        return 1 + p * math.log2(p) + (1 - p) * math.log2(1 - p)

    torch.testing.assert_close(found.weights, torch.tensor([1.0, sure(2 / 3) / sure(19 / 21), 1.0]).double())
    absolute = propagate(PATH, torch.tensor([0, -1, 1]), 2, Solver(0.5, 20, 1e-12), **THESIS)
    torch.testing.assert_close(absolute.weights, torch.tensor([1.0, sure(2 / 3), 1.0]).double())


def test_class_counts_by_hand():
    """Both ends of a path and its middle: zeros and ones (eq. 3.8), or a class of two labels counts half for each."""
    labels = torch.tensor([0, 1, 0])
    assert seeds(labels, 3, True).tolist() == [[0.5, 0, 0], [0, 1, 0], [0.5, 0, 0]]
    assert seeds(labels, 3, False).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert seeds(torch.tensor([-1, -1]), 1, True).tolist() == [[0], [0]]


def test_certainty_by_hand():
    """Even shares: weight 0. All of one class: 1. Nothing at all, or less than nothing: no label, no weight, no NaN."""
    labels, weights = certainty(torch.tensor([[1.0, 1.0], [0.0, 3.0], [0.0, 0.0], [-1.0, -2.0], [-5.0, 2.0]]).double())
    assert labels.tolist() == [0, 1, -1, -1, 1]
    assert weights.tolist() == [0, 1, 0, 0, 1]


def test_an_image_that_no_label_reaches_has_none():
    points, label = clouds([12, 12, 12])
    found = propagate(graph_of(points, "sum"), known(label, [0, 12]), 3, TWENTY, **THESIS)
    assert found.labels.tolist() == [0] * 12 + [1] * 12 + [-1] * 12
    assert found.weights[24:].eq(0).all()
    assert found.weights[:24].gt(0).all()


def test_nobody_is_labelled():
    points, label = clouds([8, 8])
    found = propagate(graph_of(points), torch.full_like(label, -1), 2, TWENTY, **THESIS)
    assert found.labels.eq(-1).all()
    assert found.weights.eq(0).all()


@settings(deadline=None)  # compiled code is loaded once
@given(st.integers(0, 2**16), st.sampled_from(["reciprocal", "sum"]), st.booleans(), st.booleans())
def test_laws(seed, kind, balanced, relative_weights):
    """Scale and order of the images do not matter; weights are in [0, 1]; labels given are kept, with weight 1."""
    points, label = clouds([14, 10, 8], spread=0.35, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    labels = known(label, torch.randperm(32, generator=rng)[:7])
    found = propagate(graph_of(points, kind), labels, 3, EXACT, balanced=balanced, relative_weights=relative_weights)
    assert found.weights.min() >= 0
    assert found.weights.max() <= 1
    assert found.weights[labels >= 0].eq(1).all()
    assert found.labels[labels >= 0].equal(labels[labels >= 0])
    assert (found.labels.eq(-1) <= found.weights.eq(0)).all()
    order = torch.randperm(32, generator=rng)
    for points_, labels_, back in ((points * 40, labels, torch.arange(32)), (points[order], labels[order], order)):
        again = propagate(
            graph_of(points_, kind), labels_, 3, EXACT, balanced=balanced, relative_weights=relative_weights
        )
        torch.testing.assert_close(again.weights, found.weights[back], rtol=0, atol=1e-4)
        clear = found.weights[back] > 1e-3
        assert again.labels[clear].equal(found.labels[back][clear])


@settings(deadline=None)  # compiled code is loaded once
@given(st.integers(0, 2**16))
def test_a_cluster_with_labels_of_one_class_gets_that_class(seed):
    points, label = clouds([15, 12, 9], spread=0.1, seed=seed)
    found = propagate(graph_of(points, "sum", 8), known(label, [0, 16, 17, 30]), 3, TWENTY, **THESIS)
    assert found.labels.equal(label)


@settings(deadline=None)  # compiled code is loaded once
@given(st.integers(0, 2**16))
def test_twenty_iterations_give_the_labels_of_the_exact_solution(seed):
    points, label = clouds([20, 20, 20], spread=0.2, seed=seed)
    labels = known(label, [0, 20, 40, 41])
    graph = graph_of(points, "sum", 10)
    exact = propagate(graph, labels, 3, EXACT, **THESIS)
    twenty = propagate(graph, labels, 3, TWENTY, **THESIS)
    assert twenty.labels.equal(exact.labels)
    torch.testing.assert_close(twenty.weights, exact.weights, rtol=0, atol=1e-3)


@settings(deadline=None)  # compiled code is loaded once
@given(st.integers(0, 2**16), st.sampled_from([0.5, 0.9, 0.99]), st.integers(1, 60))
def test_solves_like_scipy_one_column_at_a_time(seed, alpha, iterations):
    points, _ = clouds([15, 15], spread=0.4, seed=seed)
    graph = graph_of(points, "sum")
    y = torch.rand(30, 19, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    system = sparse.eye_array(30) - alpha * graph
    wanted = [cg(system, column.numpy(), rtol=1e-6, atol=0, maxiter=iterations)[0] for column in y.T]
    found = Solver(alpha, iterations, 1e-6).solve(graph, y)
    # One of two that stop on either side of the tolerance has made one step more.
    np.testing.assert_allclose(found.numpy().T, wanted, rtol=0, atol=1e-4 / (1 - alpha))


@pytest.mark.parametrize(("iterations", "tolerance"), [(20, 1e-6), (100, 1e-2)])
def test_a_column_does_not_depend_on_its_company_nor_on_threads(monkeypatch, iterations, tolerance):
    """With the second tolerance some columns are done long before others, and must then be left alone."""
    points, _ = clouds([30, 30], spread=0.4)
    graph, y = graph_of(points), torch.rand(60, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y[:, ::2] = torch.eye(60, 20, dtype=torch.float64)
    solver = Solver(0.99, iterations, tolerance)
    together = solver.solve(graph, y)
    for column in range(0, 40, 7):
        alone = solver.solve(graph, y[:, column : column + 1].clone())
        assert alone[:, 0].equal(together[:, column])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert solver.solve(graph, y).equal(together)
    assert solver.solve(graph, y[:, :0]).shape == (60, 0)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 1e-2)])
def test_in_torch_it_is_the_same(dtype, close):
    points, label = clouds([30, 30], spread=0.4)
    graph, y = graph_of(points), seeds(known(label, [0, 31, 32]), 3, True).to(dtype)
    wanted = TWENTY.solve(graph, y)
    found = module._solve_in_torch(graph, y, 0.99, 20, 1e-6)
    assert found.dtype == wanted.dtype == dtype
    torch.testing.assert_close(found, wanted, rtol=close, atol=close)
    assert found[:, 2].eq(0).all()


def test_y_is_left_as_it_was():
    points, label = clouds([10, 10])
    y = seeds(known(label, [0, 11]), 2, True)
    before = y.clone()
    TWENTY.solve(graph_of(points), y)
    assert y.equal(before)


def test_label_propagation_puts_it_together():
    points, label = clouds([20, 20, 20], spread=0.1)
    machine = LabelPropagation(neighbours=8, kind="sum")
    assert isinstance(machine, Propagation)
    assert machine(points, known(label, [0, 20, 40]), 3).labels.equal(label)


@pytest.mark.parametrize(
    ("key", "value"),
    [("alpha", 1.0), ("alpha", -0.1), ("iterations", 0), ("tolerance", 0.0), ("kind", "mutual"), ("balanced", 1)],
)
def test_settings_that_cannot_work_are_named(key, value):
    with pytest.raises(ConfigError, match=f"LabelPropagation: {key}="):
        LabelPropagation(**{key: value})


def test_settings_that_cannot_work_together_are_named():
    """The check of a graph holds for all that have its settings, and names them."""
    with pytest.raises(ConfigError, match=r"LabelPropagation: power=2.5 .*Choose 3, or clamp=true") as raised:
        LabelPropagation(power=2.5, clamp=False)
    assert isinstance(raised.value.owner, LabelPropagation)
