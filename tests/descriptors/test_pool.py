import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import (
    check_not_finer,
    common_grid,
    divides,
    grid_boxes,
    parse_grid,
    pool_cells,
    write_grid,
)
from seekloop.descriptors.pool import box_means, region_means


def cell_means(patches, rows, columns):
    return region_means(patches, grid_boxes([(rows, columns)])).unflatten(1, (rows, columns))


def test_three_tokens_in_two_columns():
    """Tokens 0, 3, 9; each column is 1.5 tokens wide: (0 + 3/2) / 1.5 = 1 and (3/2 + 9) / 1.5 = 7.

    Giving the middle token to one side only: 1.5 and 9, or 0 and 6; to both as a whole: 1.5 and 6.
    """
    patches = torch.tensor([0.0, 3.0, 9.0]).reshape(1, 1, 3, 1)
    assert cell_means(patches, 1, 2).flatten().tolist() == pytest.approx([1.0, 7.0])


def test_rows_and_columns_are_not_swapped():
    """Map 2 x 4: the upper row holds 1, the lower 3, plus 10 in the right half."""
    patches = torch.tensor([[1.0, 1.0, 11.0, 11.0], [3.0, 3.0, 13.0, 13.0]]).reshape(1, 2, 4, 1)
    assert cell_means(patches, 2, 1).flatten().tolist() == [6.0, 8.0]
    assert cell_means(patches, 1, 2).flatten().tolist() == [2.0, 12.0]
    assert cell_means(patches, 2, 2).flatten().tolist() == [1.0, 11.0, 3.0, 13.0]


def test_a_box_weighs_tokens_by_area():
    """Map 2 x 2 with 1, 2, 4, 8; the box spans x 0.25..1 and y 0..0.75: halves of the left column and lower row.

    Areas 0.5, 1, 0.25, 0.5: (0.5 + 2 + 1 + 4) / 2.25 = 10/3.
    """
    patches = torch.tensor([[1.0, 2.0], [4.0, 8.0]])[..., None]
    assert box_means(patches, torch.tensor([[0.25, 0.0, 1.0, 0.75]])).item() == pytest.approx(10 / 3)


def test_thin_and_empty_boxes_give_the_token_they_lie_in():
    """Columns 1, 2, 3. Inside the second third; at the right border; beyond it (clipped)."""
    patches = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    boxes = torch.tensor([[0.5, 0.2, 0.5, 0.2], [1.0, 0.0, 1.0, 1.0], [1.2, 0.0, 1.4, 1.0], [0.4, 0.1, 0.4000001, 0.1]])
    assert box_means(patches, boxes).flatten().tolist() == pytest.approx([2.0, 3.0, 3.0, 2.0])


sides = st.integers(1, 7)


@settings(deadline=None, max_examples=40)
@given(h=sides, w=sides, rows=st.integers(1, 3), columns=st.integers(1, 3), seed=st.integers(0, 99))
def test_coarse_cells_from_fine_ones_equal_coarse_cells_from_tokens(h, w, rows, columns, seed):
    """The law behind the pyramid, for maps that nothing divides: 2R x 3C cells averaged to R x C."""
    patches = torch.randn(2, h, w, 3, generator=torch.Generator().manual_seed(seed))
    fine = cell_means(patches, 2 * rows, 3 * columns)
    torch.testing.assert_close(
        pool_cells(fine, (rows, columns)), cell_means(patches, rows, columns).flatten(1, 2), atol=1e-5, rtol=1e-5
    )


@settings(deadline=None, max_examples=40)
@given(h=sides, w=sides, seed=st.integers(0, 99))
def test_the_whole_image_is_the_plain_mean(h, w, seed):
    patches = torch.randn(2, h, w, 3, generator=torch.Generator().manual_seed(seed))
    whole = region_means(patches, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))[:, 0]
    torch.testing.assert_close(whole, patches.mean(dim=(1, 2)), atol=1e-5, rtol=1e-5)


def test_half_precision_tokens_are_averaged_in_float32():
    """bfloat16 has steps of 16 from 2048 on: 2048 and 2064 average to 2056 only in float32."""
    patches = torch.tensor([2048.0, 2064.0], dtype=torch.bfloat16).reshape(1, 1, 2, 1)
    assert cell_means(patches, 1, 1).item() == 2056.0


@pytest.mark.parametrize("text", ["", "2", "2x", "0x2", "2x2+", "2x-2", "2X2", "a", "2x2+2x2", "2.0x2"])
def test_nonsense_is_no_grid(text):
    with pytest.raises(ConfigError, match="grid="):
        parse_grid(text)


def test_grids_by_hand():
    assert parse_grid("1x1 + 2x3") == ((1, 1), (2, 3))
    assert write_grid(((1, 1), (2, 3))) == "1x1+2x3"
    assert common_grid([(4, 2), (6, 1)]) == (12, 2)
    assert divides((2, 1), (4, 3))
    assert not divides((2, 2), (4, 3))


def test_a_grid_finer_than_the_tokens_names_both():
    check_not_finer([(7, 7)], (7, 7))
    with pytest.raises(ConfigError, match="1x8 cells are finer than the backbone's 7x7 tokens"):
        check_not_finer([(7, 7), (1, 8)], (7, 7))


def test_cells_cannot_be_pooled_to_a_grid_that_does_not_divide_them():
    with pytest.raises(ConfigError, match="3x3"):
        pool_cells(torch.zeros(1, 4, 4, 2), (3, 3))
