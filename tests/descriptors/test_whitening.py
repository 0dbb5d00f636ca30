import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from seekloop.descriptors.whitening import learn_centring, learn_supervised, learn_whitening, whitened


def test_by_hand():
    """Points (+-3, 0) and (0, +-1): variances 9 / 2 and 1 / 2, so 3 becomes 3 / sqrt(4.5) = sqrt 2, and 1 as well.

    Dividing by the variance instead would give 2 / 3 and 2; not dividing 3 and 1.
    """
    rows = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]) + torch.tensor([10.0, -5.0])
    root = 2**0.5
    expected = torch.tensor([[root, 0.0], [root, 0.0], [0.0, root], [0.0, root]])
    torch.testing.assert_close(whitened(rows, 2).abs(), expected)
    torch.testing.assert_close(whitened(rows, 1).abs(), expected[:, :1])  # the direction of the greater variance


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 8))
def test_the_covariance_is_the_identity(seed, dim, dims):
    rng = Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=rng, dtype=torch.float64) + 2 * torch.eye(dim)
    found = whitened(torch.randn(50, dim, generator=rng, dtype=torch.float64) @ mixing + 7, dims)
    assert found.shape[1] == min(dim, dims)
    centred = found - found.mean(dim=0)
    torch.testing.assert_close(centred.T @ centred / 50, torch.eye(found.shape[1], dtype=torch.float64))
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(found.shape[1], dtype=torch.float64))


def test_directions_without_variance_are_left_out():
    """Three dimensions, of which the third is the sum of the others, and the fourth is constant."""
    rows = torch.randn(40, 2, generator=Generator().manual_seed(0))
    rows = torch.cat([rows, rows.sum(dim=1, keepdim=True), torch.ones(40, 1)], dim=1)
    assert whitened(rows, 4).shape == (40, 2)
    assert bool(whitened(torch.ones(5, 3), 3).isfinite().all())


def test_equal_rows_leave_one_column_of_zeros():
    assert whitened(torch.ones(4, 3), 2).tolist() == [[0.0]] * 4


def test_a_map_learnt_on_some_descriptors_serves_others():
    """From (+-3, 0) and (0, +-1) around (10, -5), a point (16, -5) is 6 / sqrt(4.5) along the first axis; its direction
    is that axis, and not (16, -5)'s, nor what centring by its own mean would give."""
    rows = torch.tensor([[13.0, -5.0], [7.0, -5.0], [10.0, -4.0], [10.0, -6.0]])
    other = torch.tensor([[16.0, -5.0], [13.0, -4.0]])
    root = 2**0.5
    torch.testing.assert_close(learn_whitening(rows)(other).abs(), torch.tensor([[2 * root, 0.0], [root, root]]))
    torch.testing.assert_close(learn_whitening(rows).unit(other).abs(), torch.tensor([[1.0, 0.0], [0.5**0.5] * 2]))
    torch.testing.assert_close(learn_whitening(rows, 1)(other).abs(), torch.tensor([[2 * root], [root]]))
    torch.testing.assert_close(learn_centring(rows)(other), torch.tensor([[6.0, 0.0], [3.0, 1.0]]))
    torch.testing.assert_close(learn_centring(rows).unit(other)[1], torch.tensor([3.0, 1.0]) / 10**0.5)


def objects(labels, classes=None):
    """One column per object, from the number of the object of each row."""
    return torch.nn.functional.one_hot(torch.tensor(labels), classes or max(labels) + 1).bool()


def unit_rows(count, dim, seed=0):
    rows = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=1)


def pairs_of(shown):
    both = [(i, j) for i, j in itertools.combinations(range(len(shown)), 2)]
    matching = [(i, j) for i, j in both if bool((shown[i] & shown[j]).any())]
    return matching, [pair for pair in both if pair not in matching]


def covariance(rows, pairs):
    """Equation (5.12), pair by pair."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for i, j in pairs:
        difference = (rows[i] - rows[j]).numpy()
        total += np.outer(difference, difference)
    return total / len(pairs)


def test_supervised_by_hand():
    """Two objects on the unit circle: rows at +-a degrees around east, and around north.

    Matching differences are 2 sin(a) along the tangents, north for the first object and east for the second: C1 is
    2 sin(a) ** 2 times the identity, so T changes lengths only. All four other pairs' mean outer product, of
    (cos a, +-sin a) - (+-sin a, cos a), has cos(a) ** 2 + sin(a) ** 2 = 1 on its diagonal and -cos(a) ** 2 beside it:
    the first direction is (1, -1) / sqrt 2, which parts the objects.
    """
    a = torch.tensor(0.3, dtype=torch.float64)
    rows = torch.stack([torch.stack([a.cos(), a.sin()]), torch.stack([a.cos(), -a.sin()])])
    rows = torch.cat([rows, rows.flip(1)]) * torch.tensor([[1.0], [2.0], [3.0], [4.0]])  # lengths do not count
    learnt = learn_supervised(rows, objects([0, 0, 1, 1]), ridge=0.0)
    torch.testing.assert_close(learnt.mean, torch.full((2,), a.cos().item() / 2, dtype=torch.float64))
    scale = 1 / (2**0.5 * a.sin())
    want = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64) / 2**0.5 * scale
    torch.testing.assert_close(learnt.axes.abs(), want.abs())
    assert float(learnt.axes[0, 0] * learnt.axes[1, 0]) < 0
    first = learnt.unit(torch.nn.functional.normalize(rows, dim=1))[:, 0]
    assert float(first[0] * first[2]) < 0 < float(first[0] * first[1])


@pytest.mark.parametrize("parity", [False, True])
def test_transformed_differences_of_matching_rows_have_the_identity_as_covariance(parity):
    labels = [row % 6 for row in range(40)]
    rows = unit_rows(40, 5)
    learnt = learn_supervised(rows, objects(labels), ridge=0.0, parity=parity)
    found = covariance(learnt(rows), pairs_of(objects(labels))[0])
    np.testing.assert_allclose(found, np.eye(5), atol=1e-9)


def test_supervised_against_the_formula_pair_by_pair():
    """Rows that show several objects, some that show none; eigenvectors up to sign."""
    shown = torch.rand(30, 4, generator=torch.Generator().manual_seed(3)) < 0.2
    rows = unit_rows(30, 6, 1)
    matching, others = pairs_of(shown)
    intra = covariance(rows, matching)
    intra += 0.01 * np.trace(intra) / 6 * np.eye(6)
    values, vectors = np.linalg.eigh(intra)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    moved = torch.from_numpy(rows.numpy() @ root)
    order, directions = np.linalg.eigh(covariance(moved, others))
    want = root @ directions[:, np.argsort(-order)[:3]]
    learnt = learn_supervised(rows, shown, dims=3, ridge=0.01)
    np.testing.assert_allclose(learnt.axes.abs(), np.abs(want), atol=1e-8)
    np.testing.assert_allclose(learnt.mean, rows.mean(dim=0), atol=1e-12)


def released(rows, queries, positives):
    """`whitenlearn` of cirtorch, with numpy's symmetric eigenvectors; rows here are its columns."""
    data = rows.numpy().T
    mean = data[:, queries].mean(axis=1, keepdims=True)
    difference = data[:, queries] - data[:, positives]
    inverse = np.linalg.inv(np.linalg.cholesky(difference @ difference.T / difference.shape[1]))
    centred = inverse @ (data - mean)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    return mean[:, 0], vectors[:, np.argsort(-values)].T @ inverse


def test_parity_is_the_released_code():
    rows = unit_rows(24, 4, 2)
    queries, positives = list(range(0, 24, 2)), list(range(1, 24, 2))
    mean, projection = released(rows, queries, positives)
    learnt = learn_supervised(rows, objects([row // 2 for row in range(24)]), parity=True)
    np.testing.assert_allclose(learnt.mean, mean, atol=1e-12)
    np.testing.assert_allclose(learnt.axes.T.abs(), np.abs(projection), atol=1e-9)


def test_where_queries_have_the_mean_of_all_both_agree_up_to_signs():
    """Each pair once in either order. In general they differ by the mean alone, and by what follows from it."""
    some = unit_rows(24, 4, 5)
    rows = torch.cat([some, some.reshape(12, 2, 4).flip(1).flatten(0, 1)])
    shown = objects([row // 2 for row in range(48)])
    thesis, parity = (learn_supervised(rows, shown, ridge=0.0, parity=parity) for parity in (False, True))
    torch.testing.assert_close(thesis.mean, parity.mean)
    torch.testing.assert_close(thesis.axes.abs(), parity.axes.abs())
    thesis, parity = (learn_supervised(some, shown[:24, :12], ridge=0.0, parity=parity) for parity in (False, True))
    assert not torch.allclose(thesis.axes.abs(), parity.axes.abs(), atol=1e-3)


@pytest.mark.parametrize("parity", [False, True])
def test_fewer_pairs_than_dimensions(parity):
    """Two pairs in ten dimensions: the ridge, or the released code's growing diagonal, keeps the map finite."""
    learnt = learn_supervised(unit_rows(8, 10, 7), objects([0, 0, 1, 1, 2, 3, 4, 5]), parity=parity)
    assert bool(learnt.axes.isfinite().all())
    assert bool(learn_supervised(torch.ones(4, 3), objects([0, 0, 1, 1])).unit(torch.ones(2, 3)).isfinite().all())


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
def test_pairs_of_both_kinds_are_needed(labels):
    with pytest.raises(ValueError, match="two rows that match, and two that do not"):
        learn_supervised(unit_rows(3, 2), objects(labels))


def test_many_rows_are_looked_at_block_by_block(monkeypatch):
    rows, shown = unit_rows(50, 5, 8), objects([row % 7 for row in range(50)])
    whole = learn_supervised(rows, shown)
    monkeypatch.setattr("seekloop.descriptors.whitening.BLOCK", 7)
    torch.testing.assert_close(learn_supervised(rows, shown).axes.abs(), whole.axes.abs())
