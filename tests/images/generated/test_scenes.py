import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection
from seekloop.images.generated.scenes import (
    Layer,
    Scenes,
    arrange,
    digit_split,
    paint,
    photographs,
    visible_digits,
    visible_masks,
)


@pytest.fixture(scope="module")
def scenes():
    return Scenes(images=120, size=128, seed=0)


def test_scenes_are_a_collection(scenes):
    assert isinstance(scenes, Collection)
    assert scenes.read(0).size == (128, 128)
    assert scenes.read(0).mode == "RGB"


def test_the_seed_and_the_position_alone_decide_the_pixels(scenes):
    again, other, fewer = Scenes(120, 128, 0), Scenes(120, 128, 1), Scenes(8, 128, 0)
    assert scenes.read(7).tobytes() == again.read(7).tobytes() == fewer.read(7).tobytes()
    assert scenes.read(7).tobytes() != other.read(7).tobytes()
    assert scenes.read(7).tobytes() != scenes.read(6).tobytes()


def test_the_fingerprint_follows_every_argument(scenes):
    prints = [
        Scenes(*arguments).fingerprint() for arguments in ((120, 128, 0), (119, 128, 0), (120, 96, 0), (120, 128, 1))
    ]
    assert prints[0] == scenes.fingerprint()
    assert len(set(prints)) == 4


def test_the_two_halves_of_the_digits_share_no_scan_and_have_every_class_alike():
    training, search = digit_split("training"), digit_split("search")
    assert len(training.scans) + len(search.scans) == 1797
    counts = np.stack([np.bincount(part.labels) for part in (training, search)])
    assert np.abs(counts[0] - counts[1]).max() <= 1
    assert not {scan.tobytes() for scan in training.scans} & {scan.tobytes() for scan in search.scans}


def test_another_part_is_refused():
    with pytest.raises(ValueError, match="training and search"):
        digit_split("test")


def layer(rows, label):
    return Layer(np.array(rows, dtype=np.uint8) * 255, label)


def test_a_box_fits_what_is_visible_by_hand():
    """A 3 of 2 x 4 pixels on the left; a clutter bar over its lower two rows leaves rows 0 and 1: y from 0 to 2/4."""
    three = layer([[1, 1, 0, 0]] * 4, 3)
    bar = layer([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]], None)
    labels, boxes = visible_digits([three, bar])
    assert labels.tolist() == [3]
    assert boxes.tolist() == [[0.0, 0.0, 0.5, 0.5]]
    assert visible_digits([bar, three])[1].tolist() == [[0.0, 0.0, 0.5, 1.0]]


@given(st.integers(0, 10_000))
def test_boxes_hold_all_visible_pixels_of_their_digit_and_touch_them_on_all_sides(seed):
    layers = arrange(digit_split("search"), 64, np.random.Generator(np.random.PCG64(seed)))
    seen = [mask for one, mask in zip(layers, visible_masks(layers), strict=True) if one.label is not None]
    _, boxes = visible_digits(layers)
    assert len(boxes) == len(seen) >= 1
    for mask, box in zip(seen, boxes, strict=True):
        x0, y0, x1, y1 = (round(64 * v) for v in box.tolist())
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
        assert mask[y0].any()
        assert mask[y1 - 1].any()
        assert mask[:, x0].any()
        assert mask[:, x1 - 1].any()


@pytest.mark.parametrize("seed", range(8))
def test_a_digit_changes_the_pixels_of_its_box_and_no_others(seed):
    """One digit alone on a background: the soft edge may reach two pixels beyond the box of what is half opaque."""
    layers = arrange(digit_split("search"), 128, np.random.Generator(np.random.PCG64(seed)))
    digit = [one for one in layers if one.label is not None][:1]
    with_it, without = (
        np.asarray(paint(what, photographs(), 128, np.random.Generator(np.random.PCG64(seed))), dtype=np.int64)
        for what in (digit, [])
    )
    changed = np.abs(with_it - without).max(axis=2) > 8
    x0, y0, x1, y1 = (round(128 * v) for v in visible_digits(digit)[1][0].tolist())
    assert changed[y0:y1, x0:x1].mean() > 0.15
    changed[max(y0 - 4, 0) : y1 + 4, max(x0 - 4, 0) : x1 + 4] = False
    assert not changed.any()


def test_every_class_has_positives_and_negatives_and_every_size_occurs(scenes):
    share = scenes.annotations.relevance(120).float().mean(dim=1)
    assert share.min() > 0.1
    assert share.max() < 0.35
    assert set(box_geometry.stratum(scenes.annotations.box)) == {"small", "medium", "large"}
    counts = scenes.annotations.image.bincount(minlength=120)
    assert counts.min() >= 1
    assert counts.max() <= 4


def test_annotations_are_valid(scenes):
    boxes = scenes.annotations.box
    assert not box_geometry.degenerate(boxes).any()
    assert boxes.equal(box_geometry.clip(boxes))
    assert scenes.annotations.image.equal(scenes.annotations.image.sort().values)


def test_extent_by_hand():
    """Marked pixels (row 1, columns 2 and 3) of 4 x 4: x from 2/4 to 4/4, y from 1/4 to 2/4."""
    seen = np.zeros((4, 4), dtype=bool)
    seen[1, 2:] = True
    assert visible_digits([Layer(np.uint8(255) * seen, 3)])[1].tolist() == [[0.5, 0.25, 1.0, 0.5]]


def test_scenes_travel_light():
    assert len(pickle.dumps(Scenes(600, 256, 0))) < 50_000
    copy = pickle.loads(pickle.dumps(Scenes(3, 64, 0)))
    assert copy.read(2).tobytes() == Scenes(3, 64, 0).read(2).tobytes()


@pytest.mark.parametrize(("images", "size", "key"), [(0, 256, "images=0"), (3, 8, "size=8")])
def test_impossible_scenes_are_refused(images, size, key):
    with pytest.raises(ConfigError, match=key):
        Scenes(images, size, 0)


def test_one_scene_is_enough():
    assert torch.equal(Scenes(1, 64, 0).annotations.image.unique(), torch.tensor([0]))
