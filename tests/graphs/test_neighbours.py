import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.graphs import neighbours
from seekloop.graphs.neighbours import nearest
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
