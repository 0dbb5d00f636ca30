import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seekloop.images.transforms import to_pixels

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def test_shrinking_averages_every_pixel_by_hand():
    """Stripes of 0 and 255, 8 wide, squashed to 1: the mean is 0.5; picking single pixels would give 0 or 1."""
    stripes = Image.fromarray(np.tile(np.array([0, 255], dtype=np.uint8), (4, 4)))
    pixels = to_pixels(stripes.convert("RGB"), (1, 1), ZERO, ONE, "bilinear")
    torch.testing.assert_close(pixels, torch.full((3, 1, 1), 0.5), atol=0.01, rtol=0)


def test_height_width_channels_and_normalisation_by_hand():
    """Red 255, green 51: (1 - 0.5) / 0.25 = 2, (0.2 - 0.1) / 0.5 = 0.2, (0 - 0.3) / 0.1 = -3."""
    image = Image.new("RGB", (7, 5), (255, 51, 0))
    pixels = to_pixels(image, (2, 3), (0.5, 0.1, 0.3), (0.25, 0.5, 0.1), "bicubic")
    torch.testing.assert_close(pixels, torch.tensor([2.0, 0.2, -3.0])[:, None, None].expand(3, 2, 3))


@given(st.integers(0, 3), st.integers(0, 3))
def test_boxes_in_fractions_stay_right(column, row):
    """A bright quarter-by-quarter cell of a wide picture is the same cell of the square one."""
    image = Image.new("RGB", (160, 80))
    image.paste((255, 255, 255), (40 * column, 20 * row, 40 * column + 40, 20 * row + 20))
    cells = to_pixels(image, (32, 32), ZERO, ONE, "bilinear")[0].reshape(4, 8, 4, 8).mean(dim=(1, 3))
    assert cells.argmax().item() == 4 * row + column
    assert cells[row, column] > 0.9


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="bilinear, bicubic, not 'nearest'"):
        to_pixels(Image.new("RGB", (2, 2)), (2, 2), ZERO, ONE, "nearest")
