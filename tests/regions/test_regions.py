import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import grid_boxes, parse_grid
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import KINDS
from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.regions.grid import Grid
from seekloop.regions.parts import PartsOfImages, ragged
from tests.extraction.fakes import Noise

NOTHING = Noise(9)


def test_boxes_run_row_by_row_and_grid_by_grid():
    boxes = grid_boxes(parse_grid("1x1+2x3"))
    assert boxes[0].tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(boxes[2], torch.tensor([1 / 3, 0.0, 2 / 3, 0.5]))
    torch.testing.assert_close(boxes[4], torch.tensor([0.0, 0.5, 1 / 3, 1.0]))
    assert len(boxes) == 7


@pytest.mark.parametrize(
    ("asked", "stored"),
    [("2x2", (4, 4)), ("4x4", (4, 4)), ("1x1+2x2+4x4", (4, 4)), ("1x4", (4, 4)), ("3x3", (3, 3)), ("2x2+3x1", (6, 2))],
)
def test_grids_that_divide_the_finest_share_a_store(asked, stored):
    parts = Grid(asked, "4x4").parts(NOTHING, poolable=True)
    assert (parts.grids, parts.poolable, parts.regions.offsets) == ((stored,), True, None)
    assert len(parts.regions.boxes) == stored[0] * stored[1]
    assert parts.asked == parse_grid(asked)
    assert parts.recipe == Recipe("regions", {"class": "Grid", "grids": f"{stored[0]}x{stored[1]}"})


def test_crops_are_stored_as_asked_in_any_order():
    one, two = (Grid(g, "4x4").parts(NOTHING, poolable=False) for g in ("2x2+1x1", "1x1+2x2"))
    assert one.grids == two.grids == ((1, 1), (2, 2))
    assert one.recipe == two.recipe


def test_the_finest_grid_is_one_grid():
    with pytest.raises(ConfigError, match=r"^Grid: finest="):
        Grid("2x2", "2x2+4x4")


def ragged_boxes(image, box, images):
    """Offsets and boxes of regions whose levels are their positions, and whose kind is that of annotated boxes."""
    level = torch.arange(len(image))
    regions = ragged(image, box, level, torch.full_like(level, KINDS.index("box")), images)
    assert [KINDS[kind] == "whole" for kind in regions.kind] == (regions.boxes[:, 2] == 1).tolist()
    return regions.offsets, regions.boxes


def test_boxes_are_sorted_by_image_and_gaps_filled_with_the_whole():
    """Annotations for images 2, 0, 2 of 4; images 1 and 3 have none."""
    box = torch.tensor([[0.1, 0.1, 0.2, 0.2], [0.3, 0.3, 0.4, 0.4], [0.5, 0.5, 0.6, 0.6]])
    offsets, boxes = ragged_boxes(torch.tensor([2, 0, 2]), box, 4)
    assert offsets.tolist() == [0, 1, 2, 4, 5]
    torch.testing.assert_close(boxes[:, 0], torch.tensor([0.3, 0.0, 0.1, 0.5, 0.0]))
    assert boxes[1].tolist() == boxes[4].tolist() == [0, 0, 1, 1]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 5), max_size=12))
def test_every_image_has_a_region_and_no_box_is_lost(owners):
    box = torch.arange(len(owners))[:, None].expand(-1, 4) / 100
    offsets, boxes = ragged_boxes(torch.tensor(owners, dtype=torch.long), box, 6)
    assert offsets.diff().tolist() == [max(1, owners.count(image)) for image in range(6)]
    for image in range(6):
        mine = boxes[offsets[image] : offsets[image + 1], 0]
        expected = [row / 100 for row, owner in enumerate(owners) if owner == image] or [0.0]
        assert mine.tolist() == pytest.approx(expected)


def test_other_boxes_are_another_store():
    one, other = Noise(2, [(0, (0, 0, 0.5, 0.5))]), Noise(2, [(0, (0, 0, 0.5, 0.6))])
    parts = [AnnotatedBoxes().parts(images, poolable=True) for images in (one, one, other)]
    assert parts[0].recipe == parts[1].recipe != parts[2].recipe
    assert not parts[0].poolable
    assert parts[0].truth
    assert [KINDS[kind] for kind in parts[0].regions.kind] == ["box", "whole"]
    assert all(isinstance(kind, PartsOfImages) for kind in (AnnotatedBoxes(), Grid("2x2", "4x4")))
