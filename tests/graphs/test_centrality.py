import math

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import spearmanr

from seekloop.graphs.affinity import adjacency, lengths, normalised
from seekloop.graphs.centrality import PATHS, SHORTEST, centrality
from tests.graphs.clouds import clouds, on_circle

MEASURES = ("degree", "eigenvector", "pagerank", "katz", *PATHS)


def graph_of(entries, size):
    """Symmetric weights from {(i, j): weight}."""
    dense = np.zeros((size, size))
    for (i, j), weight in entries.items():
        dense[i, j] = dense[j, i] = weight
    return sparse.csr_array(dense)


# 0 - 1 - 2 at 0, 60 and 90 degrees: chords of 1 and 2 sin 15 degrees.
PATH, ON_PATH = graph_of({(0, 1): 1.0, (1, 2): 2.0}, 3), on_circle(0, 60, 90)
CHORD = 2 * math.sin(math.radians(15))


def of(measure, weights=PATH, features=ON_PATH, **more):
    return centrality(weights, measure, features=features, **more)


def same(found, wanted, close=1e-9):
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=close)


def test_the_degree_of_a_path_by_hand():
    same(of("degree"), [1, 3, 2])


def test_the_eigenvector_of_a_path_by_hand():
    """W (1, sqrt 5, 2) = sqrt 5 (1, sqrt 5, 2). That of the normalised weights would be the root of the degrees."""
    same(of("eigenvector"), [1 / math.sqrt(10), math.sqrt(0.5), 2 / math.sqrt(10)])


def test_the_pagerank_of_a_path_by_hand():
    """Alpha 1/2: r0 = 1/6 + r1 / 6, r2 = 1/6 + r1 / 3, r1 = 1/6 + (r0 + r2) / 2, so that r1 = 4/9.

    The right eigenvector would be flat.
    """
    same(of("pagerank", alpha=0.5), [13 / 54, 4 / 9, 17 / 54])


def test_katz_of_a_path_by_hand():
    """Alpha 1/2; the normalised weights are sqrt(1/3) and sqrt(2/3) =: a, b, whose squares add to 1.

    u1 = (1/2 + (a + b) / 4) / (3/4), and the ends are (1 + a u1) / 2 and (1 + b u1) / 2. Without normalising, alpha
    would be too large for any solution; without 1 - alpha all would be twice as large.
    """
    a, b = math.sqrt(1 / 3), math.sqrt(2 / 3)
    middle = (2 + a + b) / 3
    same(of("katz", alpha=0.5), [(1 + a * middle) / 2, middle, (1 + b * middle) / 2])


def test_paths_by_hand():
    """Only the middle is between; the mean of 1 and 1 + c is that of the first end; lengths are no weights."""
    same(of("betweenness"), [0, 1, 0])
    same(of("closeness"), [2 / (2 + CHORD), 2 / (1 + CHORD), 2 / (1 + 2 * CHORD)])
    ends = 1 / (1 + CHORD)
    same(of("harmonic"), [1 + ends, 1 + 1 / CHORD, 1 / CHORD + ends])


def test_a_star():
    """Four ends around a middle, whose graph has two sides, on which power iteration would swing for ever."""
    star, points = graph_of({(0, i): 1.0 for i in range(1, 5)}, 5), torch.eye(5).double()
    same(of("eigenvector", star, points), [math.sqrt(0.5), *[math.sqrt(1 / 8)] * 4])
    same(of("betweenness", star, points), [1, 0, 0, 0, 0])
    root = math.sqrt(2)
    same(of("closeness", star, points), [1 / root, *[4 / (7 * root)] * 4])
    # middle: r = .03 + .85 * 4 e; an end: e = .03 + .85 r / 4
    middle = (0.03 + 3.4 * 0.03) / (1 - 0.85**2)
    same(of("pagerank", star, points), [middle, *[(1 - middle) / 4] * 4])


def test_two_components_and_a_lonely_vertex():
    """A triangle of light edges, a heavy pair, one alone: 'largest' is of vertices, not of weight."""
    weights = graph_of({(0, 1): 0.5, (1, 2): 0.5, (0, 2): 0.5, (3, 4): 9.0}, 6)
    points = torch.eye(6).double()
    same(of("eigenvector", weights, points), [*[math.sqrt(1 / 3)] * 3, 0, 0, 0])
    same(of("katz", weights, points), [1, 1, 1, 1, 1, 0.01])
    root = math.sqrt(2)
    same(of("closeness", weights, points), [*[1 / root] * 5, 0])
    same(of("harmonic", weights, points), [*[2 / root] * 3, 1 / root, 1 / root, 0])
    same(of("betweenness", weights, points), [0] * 6)
    # the five with edges are alike: e = a + .85 e, and the lonely one gets what anybody gets, a
    rank = of("pagerank", weights, points)
    lonely = 0.15 / (5 + 0.15)
    same(rank, [*[lonely / 0.15] * 5, lonely], 1e-6)
    assert rank.sum() == pytest.approx(1)


@pytest.mark.parametrize("measure", MEASURES)
def test_graphs_without_edges_or_vertices(measure):
    wanted = {"pagerank": 1 / 3, "katz": 0.01}.get(measure, 0.0)
    same(of(measure, sparse.csr_array((3, 3)), torch.eye(3)), [wanted] * 3)
    assert of(measure, sparse.csr_array((0, 0)), torch.zeros(0, 3)).shape == (0,)
    wanted = {"pagerank": 1.0, "katz": 0.01}.get(measure, 0.0)
    same(of(measure, sparse.csr_array((1, 1)), torch.eye(1)), [wanted])
    same(
        of(measure, graph_of({(0, 1): 1.0}, 2), torch.eye(2)),
        [of(measure, graph_of({(0, 1): 1.0}, 2), torch.eye(2))[0]] * 2,
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_identical_images_matter_alike(measure):
    """Their edges have no length, and are taken to have a short one."""
    points = on_circle(30, 30, 30, 30)
    found = of(measure, adjacency(points, 3, "reciprocal", 3, True), points)
    assert found.isfinite().all()
    torch.testing.assert_close(found, found[:1].expand(4))
    if measure == "closeness":
        same(found * SHORTEST, [1.0] * 4)


def theirs(weights, features):
    """The measures by networkx."""
    graph = networkx.from_scipy_sparse_array(weights)
    for i, j in graph.edges:
        graph.edges[i, j]["length"] = float((features[i] - features[j]).norm())
    inverse = np.linalg.inv(np.eye(len(features)) - 0.99 * normalised(weights).toarray())
    found = {
        "degree": dict(graph.degree(weight="weight")),
        "pagerank": networkx.pagerank(graph, alpha=0.85, tol=1e-12, max_iter=1000),
        "katz": dict(enumerate(0.01 * inverse.sum(axis=1))),
        "betweenness": networkx.betweenness_centrality(graph, weight="length"),
        "closeness": networkx.closeness_centrality(graph, distance="length", wf_improved=False),
        "harmonic": networkx.harmonic_centrality(graph, distance="length"),
    }
    if networkx.is_connected(graph):
        found["eigenvector"] = networkx.eigenvector_centrality_numpy(graph, weight="weight")
    return {name: [values[i] for i in range(len(features))] for name, values in found.items()}


@settings(deadline=None, max_examples=25)  # igraph and compiled code are loaded once
@given(st.integers(0, 2**16), st.sampled_from(["reciprocal", "sum", "max"]))
def test_equal_to_networkx(seed, kind):
    points, _ = clouds([10, 8, 5], seed=seed, spread=0.4)
    weights = adjacency(points, 4, kind, 3, True)
    for measure, wanted in theirs(weights, points).items():
        same(of(measure, weights, points), wanted, 1e-6 * max(1.0, *map(abs, wanted)))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.sampled_from(MEASURES))
def test_the_order_of_the_vertices_does_not_matter(seed, measure):
    points, _ = clouds([12, 9], seed=seed, spread=0.5)
    weights = adjacency(points, 5, "sum", 3, True)
    order = torch.randperm(21, generator=torch.Generator().manual_seed(seed))
    moved = sparse.csr_array(weights.toarray()[order][:, order])
    found = of(measure, weights, points)
    torch.testing.assert_close(of(measure, moved, points[order]), found[order], rtol=1e-6, atol=1e-7)
    assert found.min() >= 0


def test_katz_tends_to_the_root_of_the_degrees():
    """On a connected graph, as alpha goes to 1 (checklist, law 50): so its order is told with that of the degrees."""
    points, _ = clouds([60], spread=0.6)
    weights = adjacency(points, 10, "sum", 3, True)
    degree = of("degree", weights, points)
    near, far = (of("katz", weights, points, alpha=alpha) / degree.sqrt() for alpha in (0.9999, 0.5))
    assert near.std() / near.mean() < 1e-3 < far.std() / far.mean()
    assert spearmanr(of("katz", weights, points), degree).statistic > 0.99


def test_equal_vectors_are_no_distance_apart_and_still_joined():
    points = on_circle(0, 0, 60)
    edges = lengths(adjacency(points, 2, "reciprocal", 3, True), points * 7)
    np.testing.assert_allclose(edges.toarray(), [[0, 0, 1], [0, 0, 1], [1, 1, 0]], atol=1e-6)
    assert edges.nnz == 6


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="give features="):
        centrality(PATH, "closeness")
    for alpha in (1.0, -0.1):
        with pytest.raises(ValueError, match="alpha="):
            centrality(PATH, "katz", alpha=alpha)
