import math

import torch

from seekloop.contracts.records import Tokens
from seekloop.descriptors.crow import CroW


def tokens(patches):
    return Tokens(None, torch.zeros(len(patches), 0, patches.shape[-1]), patches)


def test_by_hand():
    """Two positions, (4, 0, 0) and (5, 4, 0). Sums 4 and 9, but weights are roots of their shares of the length.

    Channels are above zero at 1, 1/2 and 0 of the positions: weights log 1.5, log 3 and 0. The sum over channels
    (without the zero channel's log of infinity) times them. Without roots, 4 and 9 would weigh 0.41 and 0.91.
    """
    patches = torch.tensor([[[[4.0, 0.0, 0.0], [5.0, 4.0, 0.0]]]])
    length = math.hypot(4, 9)
    first, second = math.sqrt(4 / length), math.sqrt(9 / length)
    want = [math.log(1.5) * (first * 4 + second * 5), math.log(3) * second * 4, 0.0]
    torch.testing.assert_close(CroW()(tokens(patches)), torch.tensor([want]))


def test_against_a_slow_transcription_of_the_formula():
    patches = torch.randn(3, 4, 5, 7, generator=torch.Generator().manual_seed(0)).relu()
    patches[..., 2] = 0
    for image, found in zip(patches, CroW()(tokens(patches)), strict=True):
        planes = [image[..., k] for k in range(7)]
        total = sum(planes)
        strength = torch.sqrt(total / math.sqrt(sum(float(one) ** 2 for one in total.flatten())))
        shares = [float((plane > 0).sum()) / 20 for plane in planes]
        for k, plane in enumerate(planes):
            weight = math.log(sum(shares) / shares[k]) if shares[k] else 0.0
            assert math.isclose(float(found[k]), weight * float((strength * plane).sum()), rel_tol=1e-5, abs_tol=1e-6)


def test_a_map_without_activation_and_one_of_a_single_channel_give_zeros():
    """A single channel has all of the activation: log 1."""
    assert CroW()(tokens(torch.zeros(2, 3, 3, 4))).tolist() == [[0.0] * 4] * 2
    assert CroW()(tokens(torch.tensor([[[[2.0], [3.0]]]]))).tolist() == [[0.0]]
    assert CroW()(tokens(-torch.ones(1, 2, 2, 3))).tolist() == [[0.0] * 3]


def test_channels_that_are_rarer_weigh_more_and_order_of_positions_does_not_count():
    patches = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]])
    (found,) = CroW()(tokens(patches))
    assert found[1] / 1 > found[0] / 4
    torch.testing.assert_close(CroW()(tokens(patches.flip(1, 2)))[0], found)
