import torch

from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.records import Batch, Regions, Tokens
from seekloop.descriptors.encoding import Encoding, FromCrops, FromTokens
from seekloop.descriptors.pooling import Mean


def network(pixels):
    """Every pixel of the first channel is a token."""
    patches = pixels[:, 0, :, :, None]
    return Tokens(None, patches.new_zeros(len(pixels), 0, 1), patches)


def batch(pixels, image):
    rows = torch.stack([torch.as_tensor(p, dtype=torch.float32).expand(3, 2, 2) for p in pixels])
    return Batch(rows, torch.tensor(image), torch.tensor([True] * len(image)))


def test_tokens_give_cells_and_the_whole_from_one_pass():
    """Image 5 holds 1, 2 / 3, 6: cells are the pixels, the whole their mean."""
    regions = Regions(grid_boxes([(2, 2)]), None)
    described = FromTokens().describe(network, Mean(), batch([[[1.0, 2.0], [3.0, 6.0]]], [5]), regions, 8)
    assert described.local.flatten().tolist() == [1, 2, 3, 6]
    assert described.global_.item() == 3


def test_ragged_boxes_follow_their_own_image():
    """Image 0 has the left half, image 1 nothing but the whole and the lower right pixel."""
    boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]])
    regions = Regions(boxes, torch.tensor([0, 1, 3]))
    pixels = batch([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [4.0, 8.0]]], [0, 1])
    described = FromTokens().describe(network, Mean(), pixels, regions, 8)
    assert described.local.flatten().tolist() == [2, 3, 8]


def test_crops_follow_the_whole_image_whatever_goes_through_at_once():
    """Image 3 with two crops, image 4 with one: rows 10 | 1 2 | 20 | 5."""
    pixels = batch([[[float(v)]] for v in (10, 1, 2, 20, 5)], [3, 3, 3, 4, 4])
    regions = Regions(torch.zeros(0, 4), torch.zeros(6, dtype=torch.long))
    for rows in (1, 2, 9):
        described = FromCrops().describe(network, Mean(), pixels, regions, rows)
        assert described.image.tolist() == [3, 4]
        assert described.global_.flatten().tolist() == [10, 20]
        assert described.local.flatten().tolist() == [1, 2, 5]


def test_crops_make_smaller_batches():
    """32 rows hold one image with 21 crops; 3 images with 2.5 crops on average (3, rounded up) hold 8."""
    assert FromCrops().images_per_batch(Regions(grid_boxes([(1, 1), (2, 2), (4, 4)]), None), 100, 32) == 1
    assert FromCrops().images_per_batch(Regions(torch.zeros(10, 4), torch.tensor([0, 1, 2, 3, 10])), 4, 32) == 8
    assert FromTokens().images_per_batch(Regions(grid_boxes([(4, 4)]), None), 100, 32) == 32
    assert all(isinstance(encoding, Encoding) for encoding in (FromTokens(), FromCrops()))
