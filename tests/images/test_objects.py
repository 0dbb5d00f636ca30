import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.problems import ProblemKind, counted
from seekloop.images.objects import RawObject, annotate, as_number, flag


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
    lost = [problem for problem in problems if problem.kind is ProblemKind.OBJECT]
    assert [problem.where for problem in lost] == ["outside", "flat", "turned", "nan", "endless"]
    assert lost[0].what == "box (1.25, 0, 1.5, 1) of 'cat' has no area in the image"
    assert lost[2].what.endswith("has swapped corners (the second lies left of or above the first)")
    (note,) = [problem for problem in problems if problem.kind is ProblemKind.NOTE]
    assert (note.where, note.count) == ("keep", 1)
    assert "sticks out of the image; what is outside was cut off" in note.what


def test_nothing_annotated():
    annotations, problems = annotate([], ["dog"])
    assert annotations.classes == ()
    assert annotations.box.shape == (0, 4)
    assert problems == []


number = st.floats(-2, 2) | st.sampled_from([0.0, 1.0, 1e300, -1e-300])


@given(st.lists(st.tuples(st.integers(0, 3), st.tuples(number, number, number, number)), max_size=8))
def test_every_object_is_kept_inside_its_image_or_reported(raw):
    annotations, problems = annotate([RawObject("x", image, "c", box) for image, box in raw], ())
    counts = counted(problems)
    assert len(annotations.box) + counts["objects_lost"] + counts["objects_by_rule"] == len(raw)
    assert not box_geometry.degenerate(annotations.box).any()
    assert annotations.box.equal(box_geometry.clip(annotations.box))
    assert annotations.image.equal(annotations.image.sort().values)


def test_the_same_object_twice_counts_once_and_is_no_loss():
    one = RawObject("line 2", 0, "cat", (0.0, 0.0, 0.5, 0.5))
    raw = [one, RawObject("line 3", 0, "cat", (0.0, 0.0, 0.5, 0.25)), RawObject("line 4", 0, "cat", one.box), one]
    annotations, problems = annotate(raw, ())
    assert annotations.box.tolist() == [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.25]]
    assert [(problem.where, problem.kind, problem.count) for problem in problems] == [
        ("line 2", ProblemKind.BY_RULE, 2)
    ]


def test_a_class_named_twice_in_the_order_is_one_class():
    annotations, _ = annotate([RawObject("x", 0, "b", (0.0, 0.0, 1.0, 1.0))], ["b", "a", "b"])
    assert annotations.classes == ("b",)


def test_boxes_that_look_like_another_format_are_lost_where_they_stick_out():
    raw = [RawObject("in", 0, "c", (0.1, 0.1, 0.9, 0.9)), RawObject("out", 0, "c", (0.5, 0.5, 1.2, 0.9))]
    annotations, problems = annotate(raw, (), hint="; they look like sizes")
    assert len(annotations.box) == 1
    assert [(problem.where, problem.kind) for problem in problems] == [("out", ProblemKind.OBJECT)]
    assert problems[0].what.endswith("sticks out of the image; they look like sizes")


@pytest.mark.parametrize("text", [True, None, "1_0", "0,5", "", [1], 10**400])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="is no number"):
        as_number(text)


@pytest.mark.parametrize(
    ("value", "yes"), [("0.0", False), (None, False), ("Unspecified", None), (2, None), ("True", True)]
)
def test_flags_are_yes_no_or_refused(value, yes):
    if yes is None:
        with pytest.raises(ValueError, match="<difficult> should be 0 or 1"):
            flag(value, "<difficult>")
    else:
        assert flag(value, "<difficult>") is yes
