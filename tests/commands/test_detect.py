import torch

from seekloop.commands.detect import without_stand_ins
from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.records import KINDS, Regions


def test_a_whole_image_that_stands_where_nothing_was_found_is_no_find():
    """Two images with a region each, and none between them; a region as large as its image is one."""
    whole = torch.tensor([WHOLE_IMAGE])
    boxes = torch.cat([torch.tensor([[0.0, 0.0, 0.5, 0.5]]), whole, whole])
    kind = torch.tensor([KINDS.index(name) for name in ("found", "whole", "found")])
    judged = without_stand_ins(Regions(boxes, torch.tensor([0, 1, 2, 3]), torch.zeros(3, dtype=torch.long), kind))
    assert [len(judged.of(image)) for image in range(3)] == [1, 0, 1]
    assert judged.of(0).equal(boxes[:1])
    assert judged.of(2).equal(whole)


def test_cells_are_judged_as_they_are():
    cells = Regions(grid_boxes(((2, 2),)), None)
    assert without_stand_ins(cells) is cells
