import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts import boxes as box_geometry
from seekloop.images.objects import ImageNames, RawObject, annotate, fractions


def test_boxes_are_clipped_and_empty_ones_reported_by_hand():
    """Sticks out left: cut at 0. Wholly right of the image, of no width, turned over, not a number: left out."""
    raw = [
        RawObject("keep", 1, "cat", (-0.5, 0.25, 0.5, 0.75)),
        RawObject("outside", 0, "cat", (1.25, 0.0, 1.5, 1.0)),
        RawObject("flat", 0, "ant", (0.5, 0.0, 0.5, 1.0)),
        RawObject("turned", 0, "cat", (0.9, 0.9, 0.1, 0.1)),
        RawObject("nan", 0, "cat", (math.nan, 0.0, 1.0, 1.0)),
        RawObject("endless", 0, "cat", (0.0, 0.0, math.inf, 1.0)),
        RawObject("first", 0, "dog", (0.0, 0.0, 1.0, 1.0), crowd=True, difficult=True),
    ]
    annotations, problems = annotate(raw, ["dog", "horse"])
    assert annotations.classes == ("dog", "cat")
    assert annotations.image.tolist() == [0, 1]
    assert annotations.label.tolist() == [0, 1]
    assert annotations.box.tolist() == [[0.0, 0.0, 1.0, 1.0], [0.0, 0.25, 0.5, 0.75]]
    assert annotations.crowd.tolist() == annotations.difficult.tolist() == [True, False]
    assert [problem.where for problem in problems] == ["outside", "flat", "turned", "nan", "endless"]
    assert problems[0].what == "box (1.25, 0, 1.5, 1) of 'cat' has no area in the image"


def test_nothing_annotated():
    annotations, problems = annotate([], ["dog"])
    assert annotations.classes == ()
    assert annotations.box.shape == (0, 4)
    assert problems == []


number = st.floats(-2, 2) | st.sampled_from([0.0, 1.0, 1e300, -1e-300])


@given(st.lists(st.tuples(st.integers(0, 3), st.tuples(number, number, number, number)), max_size=8))
def test_every_object_is_kept_inside_its_image_or_reported(raw):
    annotations, problems = annotate([RawObject("x", image, "c", box) for image, box in raw], ())
    assert len(annotations.box) + len(problems) == len(raw)
    assert not box_geometry.degenerate(annotations.box).any()
    assert annotations.box.equal(box_geometry.clip(annotations.box))
    assert annotations.image.equal(annotations.image.sort().values)


def test_pixels_to_fractions_by_hand():
    assert fractions((10.0, 10.0, 30.0, 50.0), (40, 100)) == (0.25, 0.1, 0.75, 0.5)


NAMES = ImageNames(["a/x.jpg", "b/x.jpg", "b/only one.jpg", "ü/é.png"])


@pytest.mark.parametrize(
    ("name", "found"),
    [("a/x.jpg", 0), ("b\\x.jpg", 1), ("./b/x.jpg", 1), ("only one.jpg", 2), (" b/only one.jpg ", 2), ("é.png", 3)],
)
def test_images_are_found_by_path_or_by_a_name_that_is_unique(name, found):
    assert NAMES.find(name) == found
    assert NAMES.find(unicodedata.normalize("NFD", name)) == found


def test_names_that_fit_two_images_or_none_say_so():
    assert "2 images are meant by 'x.jpg'" in NAMES.find("x.jpg")
    assert NAMES.find("c/x.jpg") == "no image 'c/x.jpg' in the collection"
    assert NAMES.find("") == "no image '' in the collection"
