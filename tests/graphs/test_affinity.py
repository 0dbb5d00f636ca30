import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.cache import Cache
from seekloop.contracts.errors import ConfigError
from seekloop.graphs.affinity import Graph, adjacency, affinity, normalised
from seekloop.graphs.propagation import LabelPropagation
from tests.graphs.clouds import clouds, cos3, on_circle


def test_the_reciprocal_graph_by_hand():
    """0 and 20 degrees have chosen each other; 60 has chosen 20 in vain, and stays alone."""
    graph = affinity(on_circle(0, 20, 60), 1, "reciprocal", 3, True).toarray()
    np.testing.assert_allclose(graph, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_the_sum_graph_by_hand():
    """A mutual neighbour counts twice (a = cos^3 20), a one-sided one once (b = cos^3 40); degrees 2a, 2a + b, b.

    Without the 2 the entry would be (a / (a + b))^.5; a random walk would not be symmetric; a power of 1 differs.
    """
    a, b = cos3(20), cos3(40)
    left, right = math.sqrt(2 * a / (2 * a + b)), math.sqrt(b / (2 * a + b))
    graph = affinity(on_circle(0, 20, 60), 1, "sum", 3, True).toarray()
    np.testing.assert_allclose(graph, [[0, left, 0], [left, 0, right], [0, right, 0]], atol=1e-6)


def test_weights_that_are_not_normalised_by_hand():
    """0 and 20 degrees are mutual neighbours; 60 has chosen 20: a = cos^3 20 and b = cos^3 40, as they are."""
    a, b = cos3(20), cos3(40)
    for kind, mutual, one_sided in (("reciprocal", a, 0), ("sum", 2 * a, b), ("max", a, b)):
        weights = Graph(1, kind).weights(on_circle(0, 20, 60)).toarray()
        np.testing.assert_allclose(weights, [[0, mutual, 0], [mutual, 0, one_sided], [0, one_sided, 0]], atol=1e-6)


def written_out(products, k, clamp):
    """Similarities of every row with its k neighbours, cubed; 0 elsewhere."""
    size = len(products)
    directed = np.zeros((size, size))
    for i in range(size):
        near = sorted((j for j in range(size) if j != i), key=lambda j: -products[i, j])[:k]
        for j in near:
            directed[i, j] = (max(products[i, j], 0) if clamp else products[i, j]) ** 3
    return directed


@settings(deadline=None)  # compiled code is loaded once
@given(st.integers(0, 2**16), st.sampled_from(["reciprocal", "sum", "max"]), st.booleans())
def test_the_formulas_written_out(seed, kind, clamp):
    """Entry by entry: eq. 2.1 to 2.3 with each operation, 0/0 = 0; and the two Laplacians of 2.5 and 2.7."""
    points, _ = clouds([6, 5], seed=seed, spread=0.6)
    size, k = 11, 3
    directed = written_out((points @ points.T).numpy(), k, clamp)
    weights = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            both = directed[i, j], directed[j, i]
            mutual = min(both, key=abs) if 0 in both else both[0]
            weights[i, j] = {"reciprocal": mutual, "sum": sum(both), "max": max(both)}[kind]
    np.testing.assert_allclose(adjacency(points, k, kind, 3, clamp).toarray(), weights, atol=1e-6)
    degree = weights.sum(axis=1)
    scaled = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            if degree[i] > 0 and degree[j] > 0:
                scaled[i, j] = weights[i, j] / math.sqrt(degree[i] * degree[j])
    if clamp:
        found = affinity(points, k, kind, 3, clamp).toarray()
        np.testing.assert_allclose(found, scaled, atol=1e-5)
        joined = np.diag((degree > 0).astype(float))  # L is D - W; normalised, a vertex without edges has a row of 0
        np.testing.assert_allclose(np.eye(size) - 0.7 * found, 0.7 * (joined - found) + np.eye(size) - 0.7 * joined)
        assert np.linalg.eigvalsh(np.eye(size) - 0.7 * found).min() >= 0.3 - 1e-9


def test_a_part_of_the_graph_is_normalised_by_its_own_degrees():
    weights = adjacency(on_circle(0, 20, 45, 200), 3, "reciprocal", 3, True)
    part = normalised(weights[[0, 1]][:, [0, 1]])
    np.testing.assert_allclose(part.toarray(), [[0, 1], [1, 0]], atol=1e-6)


def test_negative_similarities_by_hand():
    """0 and 180 degrees, told to be neighbours: clamped they are strangers, else a weight of -1 has no root."""
    for clamp in (True, False):
        assert affinity(on_circle(0, 180), 1, "sum", 3, clamp).nnz == 0
    # 0, 60, 170: clamped, one edge is left; else 0 and 170 owe more than they have, and nobody is left for 60
    assert affinity(on_circle(0, 60, 170), 2, "sum", 3, True).nnz == 2
    assert affinity(on_circle(0, 60, 170), 2, "sum", 3, False).nnz == 0
    assert affinity(on_circle(0, 30, 100), 2, "reciprocal", 3, False).toarray()[0, 2] < 0


def test_an_unreadable_image_stays_alone():
    points = torch.cat([on_circle(0, 10, 20), torch.zeros(1, 2, dtype=torch.float64)])
    graph = affinity(points, 3, "sum", 3, True).toarray()
    assert np.isfinite(graph).all()
    assert (graph[3] == 0).all()
    assert (graph[:, 3] == 0).all()


@settings(deadline=None)  # compiled code is loaded once
@given(st.integers(0, 2**16), st.sampled_from(["reciprocal", "sum", "max"]), st.booleans())
def test_what_holds_for_every_graph(seed, kind, clamp):
    points, _ = clouds([12, 9, 6], seed=seed, spread=0.5)
    graph = affinity(points, 4, kind, 3, clamp)
    dense = graph.toarray()
    assert (dense == dense.T).all()
    assert (dense.diagonal() == 0).all()
    if clamp:
        assert dense.min() >= 0
        assert np.abs(np.linalg.eigvalsh(dense)).max() <= 1 + 1e-9
    if kind == "reciprocal":
        assert (np.diff(graph.indptr) <= 4).all()
    longer = points * torch.linspace(0.5, 9.0, 27)[:, None]  # every image by a factor of its own
    np.testing.assert_allclose(affinity(longer, 4, kind, 3, clamp).toarray(), dense, atol=1e-6)
    order = torch.randperm(27, generator=torch.Generator().manual_seed(seed)).numpy()
    np.testing.assert_allclose(affinity(points[order], 4, kind, 3, clamp).toarray(), dense[order][:, order], atol=1e-6)


def test_a_cache_keeps_a_graph_for_each_setting():
    points, _ = clouds([9, 9])
    cache = Cache()
    first = Graph(3, "sum").of(points, cache)
    assert Graph(3, "sum").of(points, cache) is first
    assert LabelPropagation(neighbours=3, kind="sum", balanced=False, alpha=0.5).of(points, cache) is first
    for other in (Graph(4, "sum"), Graph(3), Graph(3, "sum", 2), Graph(3, "sum", clamp=False)):
        assert other.of(points, cache) is not first
    assert Graph(3, "sum").of(points) is not first


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("neighbours", (0, "sum", 3, True)),
        ("neighbours", (True, "sum", 3, True)),
        ("kind", (50, "mutual", 3, True)),
        ("power", (50, "sum", 0, True)),
        ("power", (50, "sum", 2.5, False)),
    ],
)
def test_settings_that_cannot_work_are_named(key, values):
    with pytest.raises(ConfigError, match=f"Graph: {key}="):
        Graph(*values)
