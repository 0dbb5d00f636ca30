import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.training.views import moved, normalised


def row(values):
    """An image one pixel high, the same in every channel."""
    return torch.tensor(values, dtype=torch.uint8).expand(1, 3, 1, -1).contiguous()


def test_a_row_by_hand():
    """Two to the right, 1 2 3 4 5 begins with its reflection: 3 2 | 1 2 3; mirrored first: 3 4 | 5 4 3."""
    shift = torch.tensor([[0, 2]])
    assert moved(row([1, 2, 3, 4, 5]), shift, torch.tensor([False]))[0, 0, 0].tolist() == [3, 2, 1, 2, 3]
    assert moved(row([1, 2, 3, 4, 5]), shift, torch.tensor([True]))[0, 0, 0].tolist() == [3, 4, 5, 4, 3]
    assert moved(row([1, 2, 3, 4, 5]), -shift, torch.tensor([False]))[0, 0, 0].tolist() == [3, 4, 5, 4, 3]


@given(st.integers(-3, 3), st.integers(-3, 3), st.booleans(), st.integers(0, 9))
def test_it_is_cropping_from_an_image_padded_by_reflection(down, right, mirror, seed):
    image = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (1, 3, 6, 5), dtype=np.uint8))
    source = image[0].numpy()[:, :, ::-1] if mirror else image[0].numpy()
    padded = np.pad(source, ((0, 0), (3, 3), (3, 3)), mode="reflect")
    expected = padded[:, 3 - down : 9 - down, 3 - right : 8 - right]
    found = moved(image, torch.tensor([[down, right]]), torch.tensor([mirror]))
    np.testing.assert_array_equal(found[0].numpy(), expected)


def test_normalised_by_hand():
    """Pixel 51 is 0.2; less 0.1, over 0.5, that is 0.2."""
    found = normalised(row([51]), (0.1, 0.2, 0.0), (0.5, 1.0, 0.1))
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([0.2, 0.0, 2.0]))
