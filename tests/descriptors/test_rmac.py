import pytest
import torch

from seekloop.contracts.recipe import settings
from seekloop.contracts.records import Tokens
from seekloop.descriptors.rmac import Max, RGeM, RMac, windows
from seekloop.descriptors.whitening import Whitening


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


def test_without_the_whole_map_the_grid_alone_is_summed():
    """One token: its region of level 1 alone. The vector of the map besides would double it."""
    patches = torch.tensor([[[[3.0, 4.0]]]])
    torch.testing.assert_close(RMac(whole=False)(tokens(patches)), torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(RGeM(whole=False)(tokens(patches)), torch.tensor([[0.6, 0.8]]))


def test_regions_are_whitened_one_by_one_before_the_sum():
    """One by two tokens, e1 and e2, the grid alone: the tokens, column 0 twice. Centred by (0.2, 0), unit, summed.

    Whitening the sum (2, 1) / sqrt 5 instead would give another direction: (0.694, 0.447).
    """
    patches = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    centring = Whitening(torch.tensor([0.2, 0.0], dtype=torch.float64), None)
    tilted = torch.tensor([-0.2, 1.0]) / 1.04**0.5
    want = 2 * torch.tensor([1.0, 0.0]) + tilted
    torch.testing.assert_close(RMac(centring, whole=False)(tokens(patches))[0], want)


def test_fewer_dimensions_are_filled_up_with_zeros():
    axis = Whitening(torch.zeros(2, dtype=torch.float64), torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    found = RMac(axis, whole=False)(tokens(torch.tensor([[[[3.0, 4.0]]]])))
    assert found.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [(5, 8), (6, 3)])
def test_rgem_against_a_slow_transcription(whole, size):
    """And R-MAC, as its limit: p = 100 is the maximum up to the root of the number of tokens, 40 ** (1 / 100) = 1.04."""
    patches = torch.rand(2, *size, 6, generator=torch.Generator().manual_seed(1)) + 0.6
    regions = [patches[:, r : r + s, c : c + s] for r, c, s in windows(*size)] + ([patches] if whole else [])
    for image in range(2):
        want = torch.zeros(6)
        for region in regions:
            rows = region[image].flatten(0, 1)
            vector = torch.tensor([(sum(float(x) ** 3 for x in rows[:, k]) / len(rows)) ** (1 / 3) for k in range(6)])
            want += vector / vector.norm()
        torch.testing.assert_close(RGeM(whole=whole)(tokens(patches))[image], want)
    exact = RMac(whole=whole)(tokens(patches))
    torch.testing.assert_close(RGeM(p=100.0, whole=whole)(tokens(patches)), exact, rtol=0.05, atol=0.0)


def test_recipes_of_before_stay_and_what_changes_results_is_in_them():
    assert settings(RMac()) == {"class": "RMac", "revision": 1}
    whitening = Whitening(torch.zeros(2, dtype=torch.float64), None)
    kinds = [RMac(), RMac(whole=False), RMac(whitening), RGeM(), RGeM(2.0), RGeM(whole=False), RGeM(whitening=whitening)]
    assert len({str(settings(kind)) for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("pooling", [RMac(), RGeM()])
def test_a_map_without_activation(pooling):
    """A zero vector for maxima; for generalised means that of equal channels, from the least value."""
    found = pooling(tokens(torch.zeros(1, 3, 4, 2)))[0]
    assert bool(found.isfinite().all())
    assert found[0] == found[1]
