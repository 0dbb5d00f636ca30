import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.graphs import neighbours
from seekloop.graphs.neighbours import lookup, nearest, others, recall
from tests.graphs.clouds import clouds, on_circle

SEARCHES = [neighbours._by_blocks]
if importlib.util.find_spec("faiss"):
    SEARCHES.append(neighbours._by_faiss)


@pytest.fixture(params=SEARCHES, ids=lambda search: search.__name__, autouse=True)
def search(request, monkeypatch):
    monkeypatch.setattr(neighbours, "_by_blocks", request.param)
    monkeypatch.setattr(neighbours, "_by_faiss", request.param)


def test_on_a_circle_by_hand():
    similarity, position = nearest(on_circle(0, 20, 60), 1)
    assert position.tolist() == [[1], [0], [1]]
    wanted = torch.deg2rad(torch.tensor([[20.0], [20.0], [40.0]])).cos()
    torch.testing.assert_close(similarity, wanted, rtol=0, atol=1e-6)


def test_among_copies_a_row_is_known_by_its_position():
    """Four copies: whichever the search lists first, nobody is its own neighbour; dropping column 0 would fail."""
    _, position = nearest(on_circle(0, 0, 0, 0, 90), 2)
    assert not (position == torch.arange(5)[:, None]).any()
    assert all(len(set(row)) == 2 for row in position.tolist())
    assert position[:4].max() <= 3


def test_there_are_no_more_neighbours_than_others():
    assert nearest(on_circle(0, 20, 60), 50)[1].tolist() == [[1, 2], [0, 2], [1, 0]]
    assert nearest(on_circle(0), 3)[1].shape == (1, 0)


@settings(deadline=None)  # compiled code is loaded once
@given(st.integers(0, 2**16), st.integers(1, 8))
def test_equals_a_sort_of_all_products(seed, k):
    points, _ = clouds([9, 7, 5], seed=seed)
    similarity, position = nearest(points, k)
    products = (points @ points.T).fill_diagonal_(-torch.inf)
    wanted = products.sort(dim=1, descending=True)
    assert all(len(set(row)) == k for row in position.tolist())
    for found in (
        similarity.double(),
        products.gather(1, position),
    ):  # of two as near as rounding either may come first
        torch.testing.assert_close(found, wanted.values[:, :k], rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    points = on_circle(0, 20, 60)
    points[1, 0] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        nearest(points, 1)


def test_no_neighbours_are_refused():
    with pytest.raises(ValueError, match="k=0"):
        nearest(on_circle(0, 20), 0)


def test_in_blocks_is_the_same(monkeypatch):
    points, _ = clouds([20, 20])
    whole = nearest(points, 5)[1]
    monkeypatch.setattr(neighbours, "_PRODUCTS", 100)
    assert nearest(points, 5)[1].equal(whole)


def test_neighbours_of_some_rows_are_those_of_all():
    points, _ = clouds([20, 20])
    whole = nearest(points, 5)
    rows = points.float()
    for first, end in ((0, 7), (7, 40), (39, 40)):
        similarity, position = others(lookup(rows), rows, first, end, 5)
        assert position.equal(whole[1][first:end])
        torch.testing.assert_close(similarity, whole[0][first:end], rtol=0, atol=1e-6)


@pytest.mark.skipif(not importlib.util.find_spec("faiss"), reason="needs faiss")
@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_an_index_finds_most_of_them(index, monkeypatch):
    """Nobody is its own neighbour unless too few were found; and again it is the same, whatever the threads."""
    points, _ = clouds([400] * 3, spread=0.3)
    rows, everything = points.float(), torch.arange(1200)
    similarity, position = others(lookup(rows, index), rows, 0, 1200, 10)
    assert recall(rows, position, everything) > 0.7
    assert recall(rows, nearest(rows, 10)[1], everything) == 1
    itself = position == everything[:, None]
    assert similarity[itself].eq(0).all()
    assert itself.double().mean() < 0.01
    torch.testing.assert_close(similarity[~itself], (rows[position] * rows[:, None]).sum(dim=2)[~itself])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    again = others(lookup(rows, index), rows, 0, 1200, 10)
    assert again[1].equal(position)


def test_a_row_stands_for_neighbours_that_were_not_found():
    rows = on_circle(0, 20, 60).float()

    def few(asked, count):
        return torch.full((len(asked), count), -9.0), torch.tensor([[1, -1, -1]]).expand(len(asked), count)

    similarity, position = others(few, rows, 0, 3, 2)
    assert position.tolist() == [[1, 0], [1, 1], [1, 2]]
    assert similarity.tolist() == [[-9, 0], [0, 0], [-9, 0]]


def test_recall_by_hand():
    """Of 0, its nearest two of 20, 60, 61, 180 are 20 and 60: two found, then one, then none; equals count alike."""
    rows, first = on_circle(0, 20, 60, 61, 180).float(), torch.tensor([0])
    for found, share in (([1, 2], 1.0), ([1, 3], 0.5), ([3, 4], 0.0)):
        assert recall(rows, torch.tensor([found]), first) == share
    assert recall(on_circle(0, 20, 20, 20).float(), torch.tensor([[3]]), first) == 1
    assert recall(on_circle(0).float(), torch.zeros(1, 0, dtype=torch.long), first) == 1
