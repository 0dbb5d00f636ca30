import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from seekloop.classifiers.logistic_anchored import LogisticAnchored, LogisticSmoothed, loss, roughness
from seekloop.contracts.errors import ConfigError
from tests.classifiers.rows import batch, problems
from tests.classifiers.test_transductive import IMAGES, LABELS, collection, rows_of


def test_between_the_rows_and_the_query_by_hand():
    """Rows at (1, 0) and (-1, 0), moved by (5, 5), the query at (0, 9): w = r (sin a, cos a), a from the query.

    2 C log(1 + exp(-r sin a)) + (r - 1)^2 + k (1 - cos a) / 2 is least where 2 C sin a / (1 + exp(r sin a)) = 2 (r - 1)
    and 2 C r cos a / (1 + exp(r sin a)) = k sin a / 2. With a = 45 degrees and r = sqrt 2 that is
    C = (2 - sqrt 2) (1 + e) and k = 8 (sqrt 2 - 1): w = (1, 1), b = -10. Without the half, with r^2 - 1, or without
    centring, other numbers.
    """
    rows = batch([[[6.0, 5.0], [4.0, 5.0]]], [[1, -1]], query=[[0.0, 9.0]])
    cost, anchor = (2 - math.sqrt(2)) * (1 + math.e), 8 * (math.sqrt(2) - 1)
    scorer = LogisticAnchored(cost=cost, tol=1e-9, anchor=anchor).fit(rows, None)
    assert scorer.weights[0].tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
    assert scorer.intercept.item() == pytest.approx(-10.0, abs=1e-3)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_the_slope_is_the_loss_slope(seed):
    rng = np.random.default_rng(seed)
    points, labels, costs = rng.normal(size=(7, 4)), rng.choice([-1.0, 1.0], 7), rng.uniform(0, 2, 7)
    query, root, normal = rng.normal(size=4), rng.normal(size=(4, 4)), rng.normal(size=4)
    query /= np.linalg.norm(query)

    def value(at):
        return loss(at, points, labels, costs, query, 3.0, root @ root.T)

    step = 1e-6
    slopes = [(value(normal + step * e)[0] - value(normal - step * e)[0]) / (2 * step) for e in np.eye(4)]
    assert value(normal)[1].tolist() == pytest.approx(slopes, rel=1e-4, abs=1e-4)


def test_the_anchor_decides_how_near_the_query_the_normal_stays():
    rows = problems([30], 8, seed=1)

    def cosine(anchor):
        scorer = LogisticAnchored(cost=1.0, anchor=anchor).fit(rows, None)
        return torch.nn.functional.cosine_similarity(scorer.weights, rows.query).item()

    free, held, fixed = (cosine(anchor) for anchor in (0.0, 10.0, 1e4))
    assert free + 0.1 < held < fixed
    assert fixed == pytest.approx(1, abs=1e-3)


def test_the_boundary_is_half_way_between_the_means():
    rows = problems([30], 8, seed=3)
    means = [rows.rows[0][rows.labels[0] == label].mean(0) for label in (1, -1)]
    scorer = LogisticAnchored().fit(rows, None)
    assert scorer.scores((means[0] + means[1])[None] / 2).abs().item() < 1e-5


def test_roughness_by_hand():
    """Two joined images at (1, 0) and (0, 1), and one without neighbours: w M w = (w_1 - w_2)^2 / 2."""
    graph = sparse.csr_array(np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    found = roughness(graph, torch.tensor([[1.0, 0.0], [0.0, 1.0], [7.0, 7.0]]))
    assert found.tolist() == [[0.5, -0.5], [-0.5, 0.5]]


def test_smoothness_makes_scores_smooth_and_none_is_the_anchored_machine():
    whole, _ = collection()
    rows = replace(rows_of(whole, IMAGES, LABELS), read_global=lambda: whole)
    plain = LogisticAnchored(cost=1.0).fit(rows, None)
    none, much = (LogisticSmoothed(cost=1.0, neighbours=5, smoothness=s).fit(rows, None) for s in (0.0, 30.0))
    torch.testing.assert_close(none.weights, plain.weights, rtol=0, atol=1e-6)
    matrix = roughness(LogisticSmoothed(neighbours=5).of(whole), whole)

    def rough(scorer):
        unit = torch.nn.functional.normalize(scorer.weights, dim=1)
        return torch.einsum("qd,de,qe->q", unit, matrix, unit)

    assert (rough(much) < rough(plain)).all()


def test_what_cannot_be_fitted_is_said():
    rows = problems([30], 8)
    with pytest.raises(ConfigError, match="max_iter=1 cannot work: L-BFGS needs more iterations"):
        LogisticAnchored(max_iter=1).fit(rows, None)
    with pytest.raises(ValueError, match="own descriptor is 0"):
        LogisticAnchored().fit(replace(rows, query=torch.zeros(1, 8)), None)
