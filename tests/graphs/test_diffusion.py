import math

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.graphs.affinity import Graph, adjacency, affinity, normalised
from seekloop.graphs.centrality import centrality
from seekloop.graphs.diffusion import (
    Diffusion,
    answered,
    democratic,
    diffused,
    highest,
    iterated,
    of_images,
    offline,
    start_from_neighbours,
    start_from_verified,
)
from seekloop.graphs.neighbours import nearest
from seekloop.graphs.propagation import Solver
from tests.graphs.clouds import clouds, on_circle

EXACTLY = Solver(0.99, 2000, 1e-13)
METHODS = ("cg", "iteration", "exact")
SEEDS = st.integers(0, 2**16)


def world(seed, kind="reciprocal", size=(14, 10), k=5):
    """Features, normalised weights, weights, and starts of three queries."""
    points, _ = clouds(list(size), seed=seed, spread=0.4)
    start = torch.rand(len(points), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return points, affinity(points, k, kind, 3, True), adjacency(points, k, kind, 3, True), start * (start > 0.7)


def dense(graph, start, alpha):
    """Eq. 2.9."""
    inverse = np.linalg.inv(np.eye(graph.shape[0]) - alpha * graph.toarray())
    return torch.from_numpy((1 - alpha) * inverse @ start.numpy())


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_and_a_lonely_vertex_by_hand(method):
    """Alpha 1/2: (1/2) (1, 1/2) / (3/4) = (2/3, 1/3), and 1/2 g for whoever is alone; without 1 - alpha all doubles."""
    pair = sparse.csr_array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])
    start = torch.tensor([[1.0, 0], [0, 0], [0, 4]], dtype=torch.float64)
    found = diffused(pair, start, Solver(0.5, 200, 1e-12), method)
    wanted = torch.tensor([[2 / 3, 0], [1 / 3, 0], [0, 2]], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.sampled_from(["reciprocal", "sum", "max"]), st.sampled_from([0.3, 0.9, 0.99]))
def test_iteration_conjugate_gradient_and_direct_solutions_agree(seed, kind, alpha):
    _, graph, _, start = world(seed, kind)
    wanted = dense(graph, start, alpha)
    for method in METHODS:
        found = diffused(graph, start, Solver(alpha, 5000, 1e-13), method)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.sampled_from([0.5, 0.9, 0.99]))
def test_each_step_shrinks_the_error_by_alpha(seed, alpha):
    _, graph, _, start = world(seed)
    limit = dense(graph, start, alpha)
    for steps in (1, 2, 7):
        before, after = (
            torch.linalg.norm(u - limit, dim=0) for u in iterated(graph, start, Solver(alpha, steps, 1e-30))
        )
        assert (after <= alpha * before + 1e-12).all()
    first = torch.from_numpy(alpha * (graph.toarray() @ start.numpy())) + (1 - alpha) * start  # eq. 2.8, from g
    torch.testing.assert_close(iterated(graph, start, Solver(alpha, 1, 1e-30))[1], first)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_twenty_iterations_are_enough_for_the_order(seed):
    """The published 20 steps; METHODS found 2.5e-8 of the direct solution on random unit vectors."""
    _, graph, _, start = world(seed)
    exact, twenty = dense(graph, start, 0.99), diffused(graph, start, Solver())
    assert (exact - twenty).abs().max() <= 0.02 * exact.abs().max() + 1e-12


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.sampled_from(METHODS))
def test_laws(seed, method):
    points, graph, _, start = world(seed)
    found = diffused(graph, start, Solver(0.9, 2000, 1e-13), method)
    assert found.min() >= -1e-12
    torch.testing.assert_close(diffused(graph, start, Solver(0.0, 50, 1e-12), method), start)
    apart = torch.cat([diffused(graph, start[:, [i]], Solver(0.9, 2000, 1e-13), method) for i in range(3)], dim=1)
    torch.testing.assert_close(found, apart, rtol=0, atol=1e-10)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
    moved = diffused(affinity(points[order], 5, "reciprocal", 3, True), start[order], Solver(0.9, 2000, 1e-13), method)
    torch.testing.assert_close(moved, found[order], rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_katz_is_the_sum_of_all_single_queries(seed):
    """Also twice the query is twice the answer: the solution is linear in its start."""
    _, graph, weights, start = world(seed)
    alone = diffused(graph, torch.eye(24, dtype=torch.float64), EXACTLY)
    torch.testing.assert_close(alone.sum(dim=1), centrality(weights, "katz"), rtol=0, atol=1e-8)
    torch.testing.assert_close(alone @ start, diffused(graph, start, EXACTLY), rtol=0, atol=1e-8)
    torch.testing.assert_close(alone, alone.T, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", ["iteration", "exact"])
def test_on_transition_probabilities_it_is_personalised_pagerank(method):
    """With a start of sum 1; the symmetric matrix would give no probabilities."""
    _, graph, weights, _ = world(3, "sum")
    degree = weights.sum(axis=1)
    start = torch.zeros(24, 1, dtype=torch.float64)
    start[[2, 5], 0] = torch.tensor([0.25, 0.75], dtype=torch.float64)
    walk = sparse.csr_array(weights.T / degree)
    found = diffused(walk, start, Solver(0.85, 5000, 1e-14), method)[:, 0]
    wanted = networkx.pagerank(
        networkx.from_scipy_sparse_array(weights),
        alpha=0.85,
        personalization={2: 0.25, 5: 0.75},
        tol=1e-13,
        max_iter=1000,
    )
    torch.testing.assert_close(
        found, torch.tensor([wanted[i] for i in range(24)], dtype=torch.float64), rtol=0, atol=1e-9
    )
    assert found.sum() == pytest.approx(1)
    assert diffused(graph, start, Solver(0.85, 5000, 1e-14), method).sum() != pytest.approx(1)


def test_a_start_from_several_vectors_by_hand():
    """Lists of two; similarities .9 .5 .1 .0 and .2 .6 .5 -.3 (not listed: .1 0 and .2 -.3).

    Sums: .9, 1.1, .5, 0; the first two are 1.1 and .9, cubed: 1.331 and .729. Powers before the sum would give .729 +
    0 and .125 + .216, and another order; whole columns instead of lists 1.1 and 1.1.
    """
    similarity = torch.tensor([[0.9, 0.5, 0.1, 0.0], [0.2, 0.6, 0.5, -0.3]])
    start = start_from_neighbours(similarity, torch.tensor([0, 0]), 1, 2, 2, 3)
    torch.testing.assert_close(start, torch.tensor([[0.729], [1.331], [0], [0]]).double(), rtol=0, atol=1e-6)
    apart = start_from_neighbours(similarity, torch.tensor([0, 1]), 3, 2, 1, 3)
    wanted = torch.tensor([[0.729, 0, 0], [0, 0.216, 0], [0, 0, 0], [0, 0, 0]]).double()
    torch.testing.assert_close(apart, wanted, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_a_start_written_out(seed):
    rng = torch.Generator().manual_seed(seed)
    similarity = torch.rand(5, 8, generator=rng) * 2 - 1
    similarity[:, 3] = -torch.inf  # an unreadable image
    query = torch.randint(0, 2, (5,), generator=rng)
    found = start_from_neighbours(similarity, query, 2, 4, 3, 2.5)
    assert found.isfinite().all()
    for number in range(2):
        total = [0.0] * 8
        for vector in (similarity[i].tolist() for i in range(5) if query[i] == number):
            for i in sorted(range(8), key=lambda j: -vector[j])[:4]:
                total[i] += vector[i]
        chosen = sorted(range(8), key=lambda j: -total[j])[:3]
        wanted = [max(total[i], 0) ** 2.5 if i in chosen else 0 for i in range(8)]
        torch.testing.assert_close(found[:, number], torch.tensor(wanted).double(), rtol=0, atol=1e-6)


def test_a_start_from_verified_images_by_hand():
    """Inliers 10 20 0 5 of similarities .8 .3 .9 .9: products .4 .3 0 .225. The best two start, with no power."""
    similarity, inliers = torch.tensor([[0.8, 0.3, 0.9, 0.9]]), torch.tensor([[10.0, 20, 0, 5]])
    found = start_from_verified(similarity, inliers, verified=10, best=2)
    torch.testing.assert_close(found, torch.tensor([[0.4], [0.3], [0], [0]]).double(), rtol=0, atol=1e-6)
    # of the two with the most inliers, whatever their products
    found = start_from_verified(similarity, torch.tensor([[5.0, 20, 0, 10]]), verified=2, best=5)
    torch.testing.assert_close(found, torch.tensor([[0], [0.3], [0], [0.45]]).double(), rtol=0, atol=1e-6)
    # equally many inliers: the more similar
    found = start_from_verified(similarity, torch.tensor([[7.0, 7, 0, 7]]), verified=1, best=5)
    torch.testing.assert_close(found, torch.tensor([[0], [0], [0], [0.9]]).double(), rtol=0, atol=1e-6)
    # nothing similar: the inliers alone; nothing verified: nothing starts
    found = start_from_verified(-similarity, inliers)
    torch.testing.assert_close(found, torch.tensor([[0.5], [1], [0], [0.25]]).double(), rtol=0, atol=1e-6)
    assert start_from_verified(similarity, torch.zeros(1, 4)).eq(0).all()


def test_of_equal_values_the_first_are_highest():
    values = torch.tensor([[1.0, 2, 1, 1], [0, 0, 0, 0], [-torch.inf, -torch.inf, 3, -torch.inf]])
    wanted = [[True, True, False, False], [True, True, False, False], [True, False, True, False]]
    assert highest(values, 2).tolist() == wanted
    assert highest(values, 9).all()
    assert highest(torch.zeros(2, 0), 3).shape == (2, 0)


def test_regional_diffusion_puts_it_together():
    """Image scores are sums over regions; a query of two regions starts from both of its neighbourhoods."""
    points, label = clouds([9, 9, 9], spread=0.1)
    image = torch.arange(27) % 9  # every image has a region of each kind
    queries = points[[0, 9]]
    start = start_from_neighbours(queries @ points.T, torch.tensor([0, 0]), 1, 5, 10, 3)
    assert start[label == 2].eq(0).all()
    scores = Diffusion().rank(Graph(8).of(points), start)
    assert scores[label != 2].gt(0).all()
    found = of_images(scores, image, 10)
    torch.testing.assert_close(found[:9, 0], scores.reshape(3, 9).sum(dim=0))
    assert found[9] == 0
    weighted = of_images(scores, image, 10, democratic(points, image))
    assert (weighted[:9] > 0).all()
    assert weighted[9] == 0


def test_democratic_weights_by_hand():
    """Twin regions share what a lone one has: 1 / (1 + lambda) alone, 1 / (2 + lambda) each."""
    vectors = on_circle(0, 0, 90, 45)
    found = democratic(vectors, torch.tensor([3, 3, 3, 0]))
    torch.testing.assert_close(found, torch.tensor([1 / 3, 1 / 3, 1 / 2, 1 / 2]).double())
    assert democratic(vectors, torch.tensor([3, 3, 3, 0]), ridge=0.5)[3] == pytest.approx(1 / 1.5)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_democratic_weights_written_out(seed):
    rng = torch.Generator().manual_seed(seed)
    vectors, image = (
        F.normalize(torch.randn(12, 4, generator=rng), dim=1).double(),
        torch.randint(0, 5, (12,), generator=rng),
    )
    found = democratic(vectors, image)
    for one in image.unique():
        v = vectors[image == one].T
        wanted = torch.linalg.inv(v.T @ v + torch.eye(v.shape[1])) @ torch.ones(v.shape[1]).double()
        torch.testing.assert_close(found[image == one], wanted)


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.sampled_from(["late", "early"]))
def test_truncation_written_out(seed, cut):
    points, graph, weights, start = world(seed, "sum")
    similarity = (points[:3] @ points.T).float()
    diffusion = Diffusion(truncation=9, cut=cut, iterations=2000, tolerance=1e-13)
    found = diffusion.rank(graph, start, similarity, weights)
    for query in range(3):
        kept = similarity[query].argsort(descending=True, stable=True)[:9].sort().values
        part = weights.toarray()[kept][:, kept]
        part = normalised(sparse.csr_array(part)).toarray() if cut == "early" else graph.toarray()[kept][:, kept]
        wanted = torch.zeros(24).double()
        wanted[kept] = dense(sparse.csr_array(part), start[kept, query], 0.99)
        torch.testing.assert_close(found[:, query], wanted, rtol=0, atol=1e-8)
    whole = Diffusion(truncation=24, cut=cut).rank(graph, start, similarity, weights)
    assert whole.equal(Diffusion().rank(graph, start))


def test_early_and_late_by_hand():
    """A path 0 - 1 - 2 of weights 1, of which 0 and 1 are kept: by themselves a pair of weight 1, else of sqrt(1/2)."""
    weights = sparse.csr_array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    similarity, start = torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[1.0], [0], [0]]).double()
    settings_ = {"alpha": 0.5, "truncation": 2, "tolerance": 1e-12}
    late = Diffusion(**settings_).rank(normalised(weights), start, similarity)
    torch.testing.assert_close(late, torch.tensor([[4 / 7], [math.sqrt(2) / 7], [0]]).double())
    early = Diffusion(**settings_, cut="early").rank(normalised(weights), start, similarity, weights)
    torch.testing.assert_close(early, torch.tensor([[2 / 3], [1 / 3], [0]]).double())


def test_offline_columns_are_the_online_solution():
    """With whole lists exactly; with short ones each column is a truncated solution of its own."""
    points, graph, _, start = world(5)
    whole = offline(graph, nearest(points, 23)[1], EXACTLY)
    torch.testing.assert_close(answered(whole, start), diffused(graph, start, EXACTLY), rtol=0, atol=1e-9)
    lists = nearest(points, 4)[1]
    short = offline(graph, lists, EXACTLY).toarray()
    for vertex in range(24):
        kept = torch.cat([lists[vertex], torch.tensor([vertex])]).sort().values
        one = (kept == vertex).double()[:, None]
        wanted = torch.zeros(24).double()
        wanted[kept] = dense(sparse.csr_array(graph.toarray()[kept][:, kept]), one, 0.99)[:, 0]
        np.testing.assert_allclose(short[:, vertex], wanted, atol=1e-9)
    assert offline(sparse.csr_array((0, 0)), torch.zeros(0, 3, dtype=torch.long), EXACTLY).shape == (0, 0)


def test_it_reaches_along_the_manifold():
    """Images every 10 degrees from 0 to 90, and one at -35: nearer to a query at -3 than 40 is, but joined to none."""
    angles = [*range(0, 100, 10), -35]
    points, query = on_circle(*angles), on_circle(-3)
    similarity = query @ points.T
    assert similarity[0, 10] > similarity[0, 4]
    machine = Diffusion(neighbours=2, query_neighbours=1)
    scores = machine(machine.of(points), similarity)
    assert scores[0, 10] == 0
    assert (scores[0, :10] > 0).all()
    assert scores[0, 1:10].argsort(descending=True).tolist() == list(range(9))  # the end of a line has a small degree


def test_odd_collections():
    """One image; identical images; a query that resembles nothing; an unreadable image."""
    machine = Diffusion(neighbours=4)
    found = machine(machine.of(on_circle(0)), on_circle(60) @ on_circle(0).T)
    torch.testing.assert_close(found, torch.tensor([[0.01 * 0.5**3]]).double(), rtol=0, atol=1e-9)
    same = on_circle(20, 20, 20, 20)
    found = machine(machine.of(same), on_circle(20) @ same.T)
    torch.testing.assert_close(found, found[:, :1].expand(1, 4))
    assert found.isfinite().all()
    assert machine(machine.of(same), on_circle(200) @ same.T).eq(0).all()
    points = torch.cat([on_circle(0, 10), torch.zeros(1, 2).double()])
    similarity = (on_circle(0) @ points.T).masked_fill(torch.tensor([False, False, True]), -torch.inf)
    assert machine(machine.of(points), similarity)[0, 2] == 0


def test_settings_that_cannot_work_are_named():
    with pytest.raises(ConfigError, match="Diffusion: query_neighbours=0"):
        Diffusion(query_neighbours=0)
    with pytest.raises(ConfigError, match="Diffusion: truncation=0"):
        Diffusion(truncation=0)
    with pytest.raises(ConfigError, match=r"Diffusion: cut='early' .*Set truncation"):
        Diffusion(cut="early")
    _, graph, _, start = world(0)
    with pytest.raises(ValueError, match="needs similarity="):
        Diffusion(truncation=3).rank(graph, start)
    with pytest.raises(ValueError, match="needs similarity="):
        Diffusion(truncation=3, cut="early").rank(graph, start, torch.rand(3, 24))
