"""Groups of images that look alike."""

import torch

from seekloop.app import overview
from seekloop.app.overview import Group, groups
from seekloop.contracts.records import Regions
from seekloop.store.arrays import ArrayDescriptors


def turned(degrees, readable=None):
    """One image for each angle: its descriptor points there."""
    angle = torch.tensor(degrees, dtype=torch.float32).deg2rad()
    rows = torch.stack([angle.cos(), angle.sin()], dim=1)
    known = None if readable is None else torch.tensor(readable)
    return ArrayDescriptors(rows, rows, Regions(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), None), known)


def test_groups_hold_what_looks_alike_the_largest_first_and_the_typical_image_first():
    """Around 0 degrees: 0, 10, 30, whose mean points to 13.2; around 180: 178, 182, of which the first of equals."""
    found = groups(turned([178, 0, 10, 30, 182]), count=2)
    assert found == [Group(2, (2, 1, 3)), Group(0, (0, 4))]


def test_unreadable_images_are_in_no_group():
    found = groups(turned([0, 1, 90, 2], readable=[True, False, True, True]), count=2)
    assert [sorted(group.members) for group in found] == [[0, 3], [2]]
    assert groups(turned([0, 1], readable=[False, False])) == []


def test_equal_images_are_one_group_and_there_may_be_fewer_groups_than_asked_for():
    found = groups(turned([0, 90, 0, 0]), count=48)
    assert found == [Group(0, (0, 2, 3)), Group(1, (1,))]


def test_groups_learnt_from_a_sample_hold_all_images(monkeypatch):
    """Three directions of 40 images each; ten images teach the means, and every block has images of each direction."""
    monkeypatch.setattr(overview, "SAMPLE", 10)
    monkeypatch.setattr(overview, "BLOCK", 7)
    descriptors = turned([120 * (image % 3) + image / 20 for image in range(120)])
    for seed in range(3):
        found = groups(descriptors, count=3, seed=seed)
        assert sorted(image for group in found for image in group.members) == list(range(120))
        assert all(len({image % 3 for image in group.members}) == 1 for group in found)
        assert found == groups(descriptors, count=3, seed=seed)
