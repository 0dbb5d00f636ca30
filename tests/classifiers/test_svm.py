"""One objective, four solvers: by hand, against each other, and warm against cold."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.classifiers.objective import gradient_norm, row_factors
from seekloop.classifiers.svm_cuml import SvmCuml
from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.classifiers.svm_sklearn import SvmSklearn
from seekloop.classifiers.svm_torch import SvmTorch, step_length
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import TrainingRows
from tests.classifiers import cuml_double
from tests.classifiers.rows import batch, problems

SOLVERS = {
    "sklearn": lambda cost, weight: SvmSklearn(cost, weight, 1e-8, 1_000_000),
    "numba": lambda cost, weight: SvmNumba(cost, weight, 1e-4, 10_000, 1),
    "torch": lambda cost, weight: SvmTorch(cost, weight, 1e-9, 200, "cpu", "float64"),
    "torch32": lambda cost, weight: SvmTorch(cost, weight, 1e-3, 200, "cpu", "float32"),
    "cuml": lambda cost, weight: SvmCuml(cost, weight, 1e-8, 1000, 1e-2),
}


@pytest.fixture(autouse=True)
def _cuml(monkeypatch):
    for name, module in cuml_double.modules().items():
        monkeypatch.setitem(sys.modules, name, module)


def disagreement(found, wanted, descriptors):
    """Largest difference of decision values over the largest decision value, of the worst query."""
    reference = wanted.scores(descriptors)
    return ((found.scores(descriptors) - reference).abs().amax(1) / reference.abs().amax(1)).max()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("weight", "plane"), [("none", (10 / 11, -4 / 11)), (2.0, (20 / 19, -6 / 19))])
def test_a_line_by_hand(solver, weight, plane):
    """A positive at 1 (weight s), a negative at 0, C = 1: minimise w²/2 + b²/2 + s (1 - w - b)² + (1 + b)².

    w = 2s (1 - w - b) and b = w - 2 (1 + b), so b = (w - 2) / 3; s = 1 gives w = 10/11, s = 2 gives w = 20/19.
    A free intercept gives w = 1, b = -1/2 for s = 1; half the cost gives w = 3/5 there, negatives weighed up others.
    """
    scorer = SOLVERS[solver](1.0, weight).fit(batch([[[1.0], [0.0]]], [[1, -1]]), None)
    found = (scorer.weights.item(), scorer.intercept.item())
    assert found == pytest.approx(plane, abs=1e-3 if solver == "torch32" else 1e-4)


@pytest.mark.parametrize("solver", ["numba", "torch", "torch32", "cuml"])
@pytest.mark.parametrize("weight", ["none", "balanced", 10.0])
@pytest.mark.parametrize(("sizes", "dim"), [([6, 16, 250], 384), ([6, 90], 1536), ([500, 700], 384)])
def test_solvers_agree_with_liblinear(solver, weight, sizes, dim):
    rows = problems(sizes, dim)
    images = torch.nn.functional.normalize(torch.randn(200, dim, generator=torch.Generator().manual_seed(5)), dim=1)
    seen = torch.cat([images, rows.rows[rows.mask]])
    wanted = SOLVERS["sklearn"](1.0, weight).fit(rows, None)
    found = SOLVERS[solver](1.0, weight).fit(rows, None)
    assert disagreement(found, wanted, seen) < (1e-5 if solver == "torch" else 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["numba", "torch"])
@pytest.mark.parametrize("weight", ["none", "balanced"])
@pytest.mark.parametrize("positives", [0.3, 0.0])
@pytest.mark.parametrize(("size", "dim"), [(4096, 384), (4096, 768), (4096, 1536), (1500, 2048), (2200, 2048)])
def test_solvers_agree_with_liblinear_on_the_largest_problems(solver, weight, positives, size, dim):
    """`positives` 0: one positive against all the rest, as a query's first round with many regions per image."""
    rows = problems([size], dim, positives=positives)
    wanted = SvmSklearn(1.0, weight, 1e-6, 1_000_000).fit(rows, None)
    found = SOLVERS[solver](1.0, weight).fit(rows, None)
    assert disagreement(found, wanted, rows.rows[0]) < 1e-3


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(6, 40), min_size=1, max_size=3),
    dim=st.integers(2, 30),
    cost=st.sampled_from([0.01, 1.0, 30.0]),
    weight=st.sampled_from(["none", "balanced", 4.0]),
    spread=st.sampled_from([0.05, 1.0]),
)
def test_the_gradient_vanishes_at_every_solution(seed, sizes, dim, cost, weight, spread):
    """Strong convexity: the distance to the only solution is at most the gradient."""
    rows = problems(sizes, dim, seed, spread=spread)
    costs = cost * row_factors(rows, weight)
    for solver in (SvmNumba(cost, weight, 1e-7, 100_000, 1), SOLVERS["torch"](cost, weight)):
        scorer = solver.fit(rows, None)
        for q in range(len(sizes)):
            plane = torch.cat([scorer.weights[q], scorer.intercept[q : q + 1]]).double()
            left = gradient_norm(rows.rows[q].double(), rows.labels[q].double(), costs[q], plane)
            rounding = 1e-6 * (1 + 2 * costs[q].sum())  # of float32 hyperplanes
            assert left < 1e-3 * plane.norm() + rounding


@pytest.mark.parametrize("solver", ["numba", "torch"])
@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_warm_starts_change_nothing_above_the_tolerance(solver, weight):
    whole = problems([200, 200], 96)
    classifier, previous = SOLVERS[solver](1.0, weight), None
    for size in (6, 16, 90, 200):
        rows = TrainingRows.padded(
            whole.rows[:, :size], whole.labels[:, :size], whole.weights[:, :size], whole.mask[:, :size], whole.query
        )
        previous = classifier.fit(rows, previous)
        assert disagreement(previous, classifier.fit(rows, None), whole.rows[0]) < 1e-4


def test_a_warm_start_from_a_wider_batch_is_cut_to_the_rows_there_are():
    rows = problems([12, 60], 20)
    both = SOLVERS["numba"](1.0, "none").fit(rows, None)
    first = problems([12], 20)
    again = SOLVERS["numba"](1.0, "none").fit(first, both.select(torch.tensor([0])))
    assert disagreement(again, both.select(torch.tensor([0])), rows.rows[1]) < 1e-4


def test_warm_duals_need_fewer_passes():
    """With its own solution to start from, one pass confirms it."""
    rows = problems([80], 20)
    cold = SvmNumba(1.0, "none", 1e-4, 1000, 1).fit(rows, None)
    SvmNumba(1.0, "none", 1e-3, 1, 1).fit(rows, cold)
    with pytest.raises(ConfigError, match=r"SvmNumba: max_iter=1 "):
        SvmNumba(1.0, "none", 1e-3, 1, 1).fit(rows, None)


def test_threads_and_repetition_change_no_bit():
    rows = problems([30, 6, 80, 50, 12], 40)
    one = SvmNumba(1.0, "none", 1e-4, 1000, 1).fit(rows, None)
    for threads in (1, 3, "auto"):
        many = SvmNumba(1.0, "none", 1e-4, 1000, threads).fit(rows, None)
        assert many.weights.equal(one.weights)
        assert many.intercept.equal(one.intercept)
        assert many.duals.equal(one.duals)


@pytest.mark.parametrize("threads", [0, "many"])
def test_threads_must_be_a_count(threads):
    with pytest.raises(ConfigError, match=r"SvmNumba: threads="):
        SvmNumba(1.0, "none", 1e-4, 10, threads)


@pytest.mark.parametrize(
    "solver",
    [
        SvmSklearn(1.0, "none", 1e-9, 2),
        SvmNumba(1.0, "none", 1e-9, 2, 1),
        SvmTorch(1.0, "none", 1e-9, 1, "cpu", "float64"),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_not_converging_is_an_error_that_names_the_key(solver):
    with pytest.raises(ConfigError, match=r"max_iter=.*tol=1e-09") as raised:
        solver.fit(problems([60], 20), None)
    assert raised.value.owner is solver


def test_an_unknown_device_or_precision_is_refused():
    with pytest.raises(ConfigError, match=r"SvmTorch: dtype='half'"):
        SvmTorch(1.0, "none", 1e-9, 1, "cpu", "half")
    with pytest.raises(ConfigError, match=r"SvmTorch: device='cuda:99'"):
        SvmTorch(1.0, "none", 1e-9, 1, "cuda:99", "float64")


def test_a_step_that_goes_too_far_is_halved_until_it_gains():
    """f(w) = w^2 / 2 + max(0, 1 - w)^2, f(0) = 1. Steps: f(10) = 50, f(5) = 12.5, f(2.5) = 3.1, f(1.25) = 0.8."""
    one = torch.ones(1, 1, dtype=torch.float64)
    length = step_length(one[None], one, one, 0 * one, 10 * one, -2 * one)
    assert length.item() == 1 / 8
