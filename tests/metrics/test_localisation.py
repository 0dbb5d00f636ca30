import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.records import Annotations, Regions
from seekloop.metrics.localisation import best_iou, corloc, mean_best_iou, recall_at_iou

LEFT, TOP, WHOLE = [0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 1.0, 1.0]
NOTHING = [math.nan] * 4


def objects(*rows):
    """Annotations of one class from (image, box)."""
    none = torch.zeros(len(rows), dtype=torch.bool)
    return Annotations(
        ("thing",),
        torch.tensor([image for image, _ in rows], dtype=torch.long),
        torch.zeros(len(rows), dtype=torch.long),
        torch.tensor([box for _, box in rows], dtype=torch.float32).reshape(-1, 4),
        none,
        none,
    )


def ragged(*images):
    """Regions from the boxes of each image."""
    counts = [0, *(len(boxes) for boxes in images)]
    flat = torch.tensor([box for boxes in images for box in boxes]).reshape(-1, 4)
    return Regions(flat, torch.tensor(counts).cumsum(0))


def test_mean_best_iou_by_hand():
    """Positives with known boxes: images 3, 5 and 8. Ranking: 7, 3, 5.

    On 3 the left half was returned, of which the top half covers 1/4 of 3/4, the left half all: the best is 1. On 5 the
    whole image for its left half: 1/2. The wrong image 7 and the 8 that is not ranked do not count: 3/4.
    """
    images, boxes = torch.tensor([[7, 3, 5]]), torch.tensor([[WHOLE, LEFT, WHOLE]])
    truth = [{3: torch.tensor([TOP, LEFT]), 5: torch.tensor([LEFT]), 8: torch.tensor([WHOLE])}]
    assert mean_best_iou(images, boxes, truth).tolist() == [0.75]
    assert mean_best_iou(images[:, 1:], boxes[:, 1:], truth).tolist() == [0.75]
    assert mean_best_iou(images[:, :2], boxes[:, :2], truth).tolist() == [1.0]


def test_queries_do_not_mix():
    """The same image and box, right for the first query, half right for the second, unknown to the third."""
    images, boxes = torch.tensor([[0], [0], [0]]), torch.tensor([[LEFT]] * 3)
    truth = [{0: torch.tensor([LEFT])}, {0: torch.tensor([WHOLE])}, {}]
    found = mean_best_iou(images, boxes, truth)
    assert found[:2].tolist() == [1.0, 0.5]
    assert found[2].isnan()


def test_nothing_returned_and_the_end_of_a_short_ranking():
    """An image without a returned box counts 0; places -1 are no images."""
    truth = [{0: torch.tensor([WHOLE]), 1: torch.tensor([WHOLE])}]
    found = mean_best_iou(torch.tensor([[0, 1, -1]]), torch.tensor([[NOTHING, WHOLE, WHOLE]]), truth)
    assert found.tolist() == [0.5]


def test_rankings_without_their_truth_are_refused():
    with pytest.raises(ValueError, match="1 rankings come with the truth about 2 queries"):
        mean_best_iou(torch.tensor([[0]]), torch.tensor([[WHOLE]]), [{}, {}])


def test_corloc_by_hand():
    """Images 0 to 3 have objects. 0: one of two objects is covered; 1: IoU exactly 0.5 counts; 2: 0.25 does not; 3:
    nothing found. Image 4 has none and does not count: 2 of 4. Per object it would be 2 of 5.
    """
    quarter = [0.0, 0.0, 0.5, 0.5]
    truth = objects((0, TOP), (0, LEFT), (1, LEFT), (2, quarter), (3, WHOLE))
    assert corloc(torch.tensor([LEFT, WHOLE, WHOLE, NOTHING, WHOLE]), truth, 0.5) == 0.5


def test_corloc_of_nothing_is_not_a_number():
    assert math.isnan(corloc(torch.tensor([WHOLE]), objects(), 0.5))


def test_recall_by_hand():
    """Image 0, regions whole and left: its top half is covered by 1/2, its left half by 1. Image 1 has no region, so
    its object counts 0. At 0.4, 0.5 and 0.6 there are 2, 2 and 1 of 3. Image 2 has a region and no object.
    """
    regions = ragged([WHOLE, LEFT], [], [WHOLE])
    truth = objects((0, TOP), (1, WHOLE), (0, LEFT))
    assert best_iou(regions, truth).tolist() == [0.5, 0.0, 1.0]
    found = recall_at_iou(regions, truth, torch.tensor([0.4, 0.5, 0.6]))
    assert found.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3])


def test_recall_of_the_same_regions_on_all_images():
    regions = Regions(torch.tensor([LEFT, TOP]), None)
    assert best_iou(regions, objects((5, WHOLE), (2, LEFT))).tolist() == [0.5, 1.0]


def test_recall_of_nothing_is_not_a_number():
    assert recall_at_iou(ragged([WHOLE]), objects(), torch.tensor([0.5])).isnan().all()


corner = st.integers(0, 5)
box = st.tuples(corner, corner, st.integers(1, 5), st.integers(1, 5)).map(
    lambda v: [v[0] / 10, v[1] / 10, (v[0] + v[2]) / 10, (v[1] + v[3]) / 10]
)
boxes_of_images = st.lists(st.lists(box, max_size=4), min_size=3, max_size=3)


@settings(deadline=None)  # times differ on a busy machine
@given(boxes_of_images, boxes_of_images, boxes_of_images)
def test_recall_falls_with_the_threshold_and_rises_with_more_regions(regions, more, truth):
    annotated = objects(*((image, one) for image, boxes in enumerate(truth) for one in boxes))
    if len(annotated.image):
        thresholds = torch.linspace(0, 1, 11)
        few = recall_at_iou(ragged(*regions), annotated, thresholds)
        many = recall_at_iou(ragged(*(a + b for a, b in zip(regions, more, strict=True))), annotated, thresholds)
        assert (few.diff() <= 0).all()
        assert (many >= few).all()
        assert few[0] == 1


@settings(deadline=None)  # times differ on a busy machine
@given(boxes_of_images, boxes_of_images)
def test_the_best_region_is_the_best_of_all_pairs(regions, truth):
    annotated = objects(*((image, one) for image, boxes in enumerate(truth) for one in boxes))
    found = best_iou(ragged(*regions), annotated)
    for value, image, one in zip(found, annotated.image.tolist(), annotated.box, strict=True):
        each = [box_geometry.iou(one[None], torch.tensor([region])).item() for region in regions[image]]
        assert value.item() == pytest.approx(max(each, default=0.0), abs=1e-5)


@settings(deadline=None)  # times differ on a busy machine
@given(boxes_of_images, st.permutations([0, 1, 2]))
def test_covering_every_object_exactly_earns_one(truth, order):
    """Returned are the first boxes of the truth: every image counts 1, whatever the order of the ranking."""
    known = {image: torch.tensor(boxes) for image, boxes in enumerate(truth) if boxes}
    returned = torch.tensor([[truth[image][0] if truth[image] else WHOLE for image in order]])
    found = mean_best_iou(torch.tensor([order]), returned, [known])
    assert found.tolist() == pytest.approx([1.0] if known else [math.nan], nan_ok=True)
