import pytest
import torch

from seekloop.contracts.records import Tokens
from seekloop.descriptors.rmac import Max, RMac, windows


def tokens(patches):
    return Tokens(None, torch.zeros(len(patches), 0, patches.shape[-1]), patches)


@pytest.mark.parametrize(("size", "count"), [((14, 14), 15), ((12, 20), 21), ((23, 11), 27), ((3, 4), 21)])
def test_as_many_regions_as_published(size, count):
    """The whole map counts besides."""
    found = windows(*size)
    assert 1 + len(found) == count
    for row, column, side in found:
        assert 0 <= row <= size[0] - side
        assert 0 <= column <= size[1] - side


def test_a_map_of_one_token_by_hand():
    """Level 1 has the token as its region, levels 2 and 3 have none of a token's size: twice the unit vector."""
    found = RMac()(tokens(torch.tensor([[[[3.0, 4.0]]]])))
    torch.testing.assert_close(found, torch.tensor([[1.2, 1.6]]))


def test_a_map_of_two_by_two_by_hand():
    """The whole map twice: maxima (4, 3), of length 5. Level 2: four single tokens. Level 3: sides of 2 x 2 // 4 = 1,
    nine of them, at rows and columns 0, 0 and 1 (rounded down), so that the tokens count 4, 2, 2 and 1 times."""
    patches = torch.tensor([[[[4.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [2.0, 0.0]]]])
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    want = 2 * torch.tensor([0.8, 0.6]) + (2 * east + 2 * north) + (4 * east + 2 * north + 2 * north + 1 * east)
    torch.testing.assert_close(RMac()(tokens(patches))[0], want)
    assert Max()(tokens(patches)).tolist() == [[4, 3]]


def test_a_map_of_one_by_two_by_hand():
    """The whole map: maxima (3, 5). Level 1: three single tokens, of the columns 0, 1 / 2 (rounded down) and 1."""
    patches = torch.tensor([[[[3.0, 4.0], [0.0, 5.0]]]])
    want = torch.tensor([3.0, 5.0]) / 34**0.5 + 2 * torch.tensor([0.6, 0.8]) + torch.tensor([0.0, 1.0])
    torch.testing.assert_close(RMac()(tokens(patches))[0], want)


def test_regions_start_at_whole_tokens_rounded_down():
    """Five by five: sides 5, 10 // 3 = 3 and 10 // 4 = 2; the last begin at 0, 1.5 and 3."""
    starts = {side: sorted({column for _, column, own in windows(5, 5) if own == side}) for side in (5, 3, 2)}
    assert starts == {5: [0], 3: [0, 2], 2: [0, 1, 3]}


@pytest.mark.parametrize(("size", "count"), [((10, 17), 2), ((20, 37), 3), ((2, 8), 6)])
def test_neighbours_of_level_one_overlap_by_about_two_fifths(size, count):
    """Of sides of 10 that begin 7 apart 0.3 is shared, with a third one 0.65. Of 20, 17 apart 0.15, with a third 0.575.

    Of 2, 6 / 5 apart, 0.4.
    """
    assert sum(side == size[0] for _, _, side in windows(*size)) == count


def test_the_longer_side_is_the_one_with_more_regions():
    wide, high = windows(4, 10), windows(10, 4)
    assert sorted(wide) == sorted((column, row, side) for row, column, side in high)
    assert len({column for _, column, _ in wide}) > len({row for row, _, _ in wide})
