import torch

from seekloop.contracts.learning import Dataset, ImageSet
from seekloop.training.conv13 import Conv13
from seekloop.training.networks import Sobel, seen_by


def test_sobel_by_hand():
    """Columns 0, 3, 6 in every row: in the middle left minus right is -6, times 1 + 2 + 1; downwards it is 0."""
    pixels = torch.tensor([0.0, 3.0, 6.0]).expand(1, 3, 3, 3)
    across, down = Sobel()(pixels)[0, :, 1, 1].tolist()
    assert (across, down) == (-24.0, 0.0)


def test_sobel_of_a_turned_picture_is_turned():
    pixels = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    edges, turned = Sobel()(pixels)[0], Sobel()(pixels.transpose(2, 3))[0]
    torch.testing.assert_close(turned, edges.flip(0).transpose(1, 2))


def test_nothing_of_sobel_is_learnt_or_saved():
    assert list(Sobel().parameters()) == []
    assert Sobel().state_dict() == {}


class Trained:
    name = "trained"
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)

    def build(self, classes, seed):
        return Conv13(16, 0.0, False).build(classes, seed)


def test_networks_trained_before_see_images_as_they_did_then():
    images = ImageSet(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, dtype=torch.long))
    dataset = Dataset("p", ("a",), images, images, (0.0,) * 3, (1.0,) * 3, 0, False)
    assert seen_by(dataset, Conv13(16, 0.0, False)) is dataset
    seen = seen_by(dataset, Trained())
    assert (seen.mean, seen.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert seen.train is images
