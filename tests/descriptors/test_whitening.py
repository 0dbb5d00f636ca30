import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from seekloop.descriptors.whitening import learn_centring, learn_whitening, whitened


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
