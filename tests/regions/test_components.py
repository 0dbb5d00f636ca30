import numpy as np

from seekloop.regions.segments import components

MASK = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 1, 1]], dtype=bool)


def found(neighbours, smallest):
    return [part.tolist() for part in components(MASK, neighbours, smallest)]


def test_by_hand_with_and_without_corners():
    """X..X / .X.. / X.XX. With corners: 0, 5, 8, 10, 11 in one piece and 3; without: only 10 and 11 touch."""
    assert found(8, 1) == [[0, 5, 8, 10, 11], [3]]
    assert found(4, 1) == [[0], [3], [5], [8], [10, 11]]


def test_pieces_below_the_smallest_are_left_out_and_those_of_its_size_kept():
    assert found(8, 2) == [[0, 5, 8, 10, 11]]
    assert found(4, 2) == [[10, 11]]
    assert found(4, 3) == []


def test_the_ends_of_neighbouring_rows_do_not_touch():
    assert len(components(np.array([[0, 0, 1], [1, 0, 0]], dtype=bool), 8, 1)) == 2


def test_nothing_in_nothing_out():
    assert components(np.zeros((3, 3), dtype=bool), 8, 1) == []
