"""The numbers of `seekloop detect`, by hand."""

from pathlib import Path

import pytest
import torch

from seekloop.commands.detect import located
from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import KINDS, Regions
from seekloop.extraction.detect import Detection, with_cells
from seekloop.protocol.region_measures import first_boxes, images_table, recall_table, without_stand_ins
from seekloop.regions.grid import Grid
from seekloop.store import found as found_files
from seekloop.store.found import FoundImage, FoundRegions, FoundWriter
from tests.extraction.fakes import Noise, annotations

LEFT, RIGHT, TOP = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5)
QUARTER = (0.0, 0.0, 0.5, 0.5)


def found(readable=(True, True, True, True)):
    """Image 0: two halves with equal scores; 1: nothing; 2: three, the second of the highest score; 3: a quarter."""
    boxes = torch.tensor([LEFT, RIGHT, LEFT, TOP, RIGHT, QUARTER])
    offsets, level = torch.tensor([0, 2, 2, 5, 6]), torch.ones(6, dtype=torch.long)
    scores = torch.tensor([0.5, 0.5, 0.2, 0.9, 0.3, 0.1])
    affine = torch.tensor([0.1, 0.2, 0.3, 0.4])
    return FoundRegions(
        Path("unread"), offsets, boxes, level, scores, affine, torch.tensor(readable), torch.zeros(4, dtype=torch.bool)
    )


class Given(Detection):
    """Regions that were found before."""

    def __init__(self, given):
        object.__setattr__(self, "given", given)

    def located(self, found):
        return with_cells(found, torch.zeros(0, 4))

    def found(self, collection, say):
        return self.given


def test_the_one_box_of_an_image_is_that_of_the_highest_score_the_first_of_equals():
    first = first_boxes(with_cells(found(), torch.zeros(0, 4)), found(), 4)
    assert first[[0, 2, 3]].tolist() == [list(LEFT), list(TOP), list(QUARTER)]
    assert first[1].isnan().all()
    cells = Regions(torch.tensor([RIGHT, LEFT]), None)
    assert first_boxes(cells, None, 2).tolist() == [list(RIGHT), list(RIGHT)]


def test_images_are_told_by_what_covers_an_object_best():
    """Image 0 has an object on the right half, which the second region is, and one in a quarter, half of the first.

    Image 1 has one in its upper half: nothing was found, and the image itself, its only region, is twice as large.
    Image 2 has none. The region of image 3 is half of its object.
    """
    boxes = with_cells(found(), torch.zeros(0, 4))
    truth = annotations([(0, RIGHT), (0, QUARTER), (1, TOP), (3, TOP)])
    table = images_table(Noise(4), boxes, found(), first_boxes(boxes, found(), 4), truth)
    assert table["regions"].tolist() == [2, 1, 3, 1]
    assert table["affine"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert table["first_iou"].fillna(-1).tolist() == [0.5, 0, -1, 0.5]
    assert table["best_iou"].fillna(-1).tolist() == [1, 0.5, -1, 0.5]


def test_recall_of_each_size_by_hand():
    """A large object is found exactly, one in the upper half half of it; a medium one never, and none is small."""
    truth = annotations([(0, RIGHT), (3, TOP), (0, (0.5, 0.0, 0.75, 0.25 + 1e-3)), (3, (0.5, 0.5, 0.9, 0.9))])
    table = recall_table(with_cells(found(), torch.zeros(0, 4)), truth).set_index("iou")
    assert table.index.tolist() == pytest.approx([number / 20 for number in range(1, 20)])
    at_half, above = table.iloc[9], table.iloc[10]
    assert (at_half["recall"], at_half["recall_large"], at_half["recall_medium"]) == (0.5, 1, 0)
    assert (above["recall"], above["recall_large"]) == (0.25, 0.5)
    assert table["recall_small"].isna().all()


def test_numbers_of_a_grid_by_hand():
    """Four cells an image. Objects: the second cell; the first; the first, but for 0.28 of it; a crowd.

    The first cell is right on two images of three. Recall is 1 up to 0.7, then 2 / 3: at 5 of 19 overlaps.
    """
    objects = [(0, (0.5, 0.0, 1.0, 0.5)), (1, QUARTER), (2, (0.0, 0.0, 0.5, 0.36)), (1, (0.0, 0.0, 1.0, 1.0))]
    images = Noise(3, objects)
    images.annotations.crowd[3] = True
    summary = located(images, Grid("2x2", "4x4"), print).measure(0.5)[1]
    assert set(summary.pop("left_out").values()) == {0}
    assert summary == pytest.approx(
        {
            "corloc": 2 / 3,
            "recall_50": 1.0,
            "recall_75": 2 / 3,
            "recall_mean": (14 * 3 + 5 * 2) / 57,
            "regions_per_image": 4.0,
            "affine_share": None,
            "saliency_precision": None,
            "without_saliency": None,
            "images": 3,
            "objects": 3,
        }
    )


def test_images_that_could_not_be_read_do_not_count():
    """Of the objects on images 0 and 3 the latter is not looked for; two are left whose first box is right."""
    images = Noise(4, [(0, LEFT), (2, TOP), (3, RIGHT)])
    summary = located(images, Given(found((True, True, True, False))), print).measure(0.5)[1]
    assert (summary["corloc"], summary["recall_mean"], summary["objects"], summary["images"]) == (1, 1, 2, 3)
    assert summary["affine_share"] == pytest.approx(0.25)
    assert summary["regions_per_image"] == 6 / 4  # the whole image in place of nothing is none


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


def test_saliency_precision_of_a_run_by_hand(tmp_path):
    """Maps of 1 x 2 cells. Image 0: 1 and 3, object on the left: .25; 1: zeros; 2: no object; 3: on the right: .75."""
    maps = [torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([[1.0, 3.0]])]
    found_files.begin(tmp_path, Recipe("regions", {}), 4)
    writer = FoundWriter(tmp_path, 4)
    for image, saliency in enumerate(maps):
        nothing = torch.zeros(0, dtype=torch.long), torch.zeros(0), torch.zeros(0, 1, 2, dtype=torch.bool)
        writer.add(image, FoundImage(torch.zeros(0, 4), *nothing, float("nan"), saliency=saliency))
    detected, _ = found_files.read_found(tmp_path)
    assert [detected.image(image).saliency.tolist() for image in range(4)] == [one.tolist() for one in maps]
    images = Noise(4, [(0, LEFT), (1, LEFT), (3, RIGHT)])
    tables, summary = located(images, Given(detected), print).measure(0.5)
    assert tables["images"]["saliency_precision"].fillna(-1).tolist() == [0.25, -1, -1, 0.75]
    assert (summary["saliency_precision"], summary["without_saliency"]) == (0.5, 1)
