"""Arrays of one's own as descriptors, by hand."""

import numpy as np
import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Descriptors
from seekloop.store.arrays import array_descriptors

HALVES = [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]


def test_one_descriptor_per_image_is_global_and_its_only_region():
    """(3, 4) has length 5; the row of zeros is an image that could not be described."""
    held = array_descriptors(np.array([[3, 4], [0, 0], [0, 2]]))
    assert isinstance(held, Descriptors)
    block = held.read(torch.tensor([2, 0]), local=True)
    assert torch.allclose(block.global_, torch.tensor([[0, 1], [0.6, 0.8]]))
    assert torch.equal(block.local, block.global_)
    assert held.regions.boxes.tolist() == [[0, 0, 1, 1]]
    assert held.readable.tolist() == [True, False, True]


def test_ragged_regions_and_their_mean():
    """Image 0 has (2, 0) and (0, 5), of unit length (1, 0) and (0, 1): their mean points to (1, 1). Image 1 has one."""
    held = array_descriptors([[2.0, 0], [0, 5], [0, 1]], boxes=[*HALVES, [0, 0, 1, 1]], offsets=[0, 2, 3])
    block = held.read(torch.tensor([1, 0]), local=True)
    assert torch.allclose(block.global_, torch.tensor([[0, 1], [0.5**0.5, 0.5**0.5]]))
    assert block.local.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert block.offsets.tolist() == [0, 1, 3]
    assert held.regions.of(1).tolist() == [[0, 0, 1, 1]]


def test_regions_that_every_image_has():
    """(n, m, d) and its rows say the same; global descriptors may be given apart."""
    cube = torch.arange(1, 9, dtype=torch.float32).reshape(2, 2, 2)
    held = array_descriptors(cube, boxes=HALVES, global_descriptors=[[1, 0], [0, 1]])
    flat = array_descriptors(cube.flatten(0, 1), boxes=HALVES, global_descriptors=[[1, 0], [0, 1]])
    assert held.recipe == flat.recipe
    assert held.read(torch.tensor([0, 1]), local=False).global_.tolist() == [[1, 0], [0, 1]]
    assert held.recipe != array_descriptors(cube, boxes=HALVES).recipe


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"vectors": [1.0, 2.0]}, "vectors=.*no rows"),
        ({"vectors": [[1.0, np.nan]]}, "row 0 .*not finite"),
        ({"vectors": [[1.0, 2.0]], "offsets": [0, 1]}, "need the boxes"),
        ({"vectors": np.ones((2, 2, 2))}, r"\(n, d\) is needed"),
        ({"vectors": [[1.0, 2.0]], "boxes": [[10, 20, 30, 40]]}, r"row 0 is \[10.0, 20.0, 30.0, 40.0\].*divide pixels"),
        ({"vectors": [[1.0, 2.0]], "boxes": [[0, 0, 1]]}, "four numbers"),
        ({"vectors": np.ones((3, 2)), "boxes": HALVES}, "2 boxes for every image do not fit"),
        ({"vectors": np.ones((2, 2)), "boxes": HALVES, "offsets": [0, 2, 2]}, "at least one region"),
        ({"vectors": np.ones((2, 2)), "boxes": HALVES, "offsets": [0, 1]}, "rise from 0 to 2"),
        ({"vectors": np.ones((3, 2)), "boxes": HALVES, "offsets": [0, 3]}, "one box per vector"),
        ({"vectors": np.ones((2, 2)), "boxes": HALVES, "global_descriptors": np.ones((2, 2))}, r"Give shape \(1, 2\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        array_descriptors(**given)
