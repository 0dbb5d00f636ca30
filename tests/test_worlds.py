import pytest
import torch

from seekloop.contracts.protocols import Descriptors
from tests.worlds import ArrayDescriptors, blobs, grid_boxes


@pytest.mark.parametrize("ragged", [False, True])
def test_every_class_is_separable_globally_and_by_its_best_region(ragged):
    world = blobs(30, 6, classes=("star", "moon"), ragged=ragged)
    block = world.descriptors.read(torch.arange(30), local=True)
    for label, relevant in enumerate(world.relevant):
        whole = block.global_[:, label]
        local = torch.full((30,), -1.0).scatter_reduce(0, block.owner, block.local[:, label], "amax")
        for scores in (whole, local):
            assert scores[relevant].min() > scores[~relevant].max() + 0.3


@pytest.mark.parametrize("ragged", [False, True])
def test_the_object_fills_the_region_that_looks_like_it(ragged):
    world = blobs(24, ragged=ragged, grid=(2, 3))
    for image in world.relevant[0].nonzero()[:, 0].tolist():
        local = world.descriptors.read(torch.tensor([image]), local=True).local
        best = world.descriptors.regions.of(image)[local[:, 0].argmax()]
        torch.testing.assert_close(world.annotations.largest_box(image, 0), best)


def test_reads_in_the_order_asked_for_also_when_ragged():
    world = blobs(9, ragged=True).descriptors
    block = world.read(torch.tensor([7, 0, 2]), local=True)
    assert block.offsets.tolist() == [0, 4, 5, 8]
    torch.testing.assert_close(block.local[5:8], world.local[world.offsets[2] : world.offsets[3]])
    torch.testing.assert_close(block.global_, world.global_[[7, 0, 2]])
    assert isinstance(world, Descriptors)
    assert world.read(torch.tensor([1]), local=False).local is None


def test_unit_length_and_zeros_where_unreadable():
    regions = blobs(2, grid=(1, 1)).descriptors.regions
    held = ArrayDescriptors(torch.tensor([[3.0, 4], [1, 0]]), torch.ones(2, 2), regions, torch.tensor([True, False]))
    torch.testing.assert_close(held.global_, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert held.local[1].tolist() == [0, 0]


def test_a_grid_by_hand():
    assert grid_boxes(1, 2).tolist() == [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]
