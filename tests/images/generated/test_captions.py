import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seekloop.images.generated import captions
from seekloop.images.generated.captions import (
    ANY,
    ATTRIBUTES,
    CENTRE,
    COLOURS,
    DIGITS,
    KINDS,
    ROWS,
    SAME,
    SIZES,
    WORDS,
    captions_of,
    cielab,
    colour_name,
    looks,
    looks_of,
    named,
    relevant,
    sentence,
    shows,
)
from seekloop.images.generated.scenes import Layer, Scenes

RED, GREEN, BLUE = (COLOURS.index(name) for name in ("red", "green", "blue"))
NONE = [ANY] * len(ATTRIBUTES)


def square(x, y, width, height, label):
    """A layer of 100 x 100 pixels, opaque in a rectangle."""
    mask = np.zeros((100, 100), dtype=np.uint8)
    mask[y : y + height, x : x + width] = 255
    return Layer(mask, label)


def test_looks_are_those_of_the_visible_part_by_hand():
    """A dark red seven of 50 x 40 pixels, of which green clutter hides all but the rightmost 20: then it is small.

    Whole it would be medium, and green on average. Beside it is a pale blue two at the lower left.
    """
    layers = [square(5, 70, 30, 20, 2), square(40, 10, 50, 30, 7), square(40, 10, 30, 30, None)]
    picture = Image.new("RGB", (100, 100), (128, 128, 128))
    picture.paste((170, 200, 230), (5, 70, 35, 90))
    picture.paste((90, 20, 20), (40, 10, 90, 40))
    picture.paste((20, 90, 20), (40, 10, 70, 40))
    attributes, boxes = looks(picture, layers)
    assert attributes.tolist() == [[0, BLUE, 2, 2, 0], [0, RED, 7, 0, 2]]
    torch.testing.assert_close(boxes, torch.tensor([[0.05, 0.7, 0.35, 0.9], [0.7, 0.1, 0.9, 0.4]]))
    whole, _ = looks(picture, layers[:2])
    assert whole[1].tolist() == [1, GREEN, 7, 0, 2]


@pytest.mark.parametrize(("side", "size"), [(24, 0), (25, 1), (47, 1), (48, 2)])
def test_sizes_by_hand(side, size):
    """Areas of 0.0576, 0.0625, 0.2209 and 0.2304 of the picture; the limits are 0.061 and 0.23."""
    attributes, _ = looks(Image.new("RGB", (100, 100)), [square(10, 10, side, side, 1)])
    assert attributes[0, captions.SIZE] == size


@pytest.mark.parametrize(("left", "column"), [(29, 0), (30, 1), (49, 1), (50, 2)])
def test_places_by_hand(left, column):
    """Centres at 0.39, 0.40, 0.59 and 0.60; rows likewise."""
    for layer, axis in ((square(left, 0, 20, 9, 1), captions.COLUMN), (square(0, left, 9, 20, 1), captions.ROW)):
        attributes, _ = looks(Image.new("RGB", (100, 100)), [layer])
        assert attributes[0, axis] == column


def test_cielab_has_the_published_values():
    """Of sRGB's red and blue under D65, as tables give them to two digits."""
    assert cielab(255, 0, 0) == pytest.approx((53.24, 80.09, 67.20), abs=0.01)
    assert cielab(0, 0, 255) == pytest.approx((32.30, 79.19, -107.86), abs=0.01)
    assert cielab(255, 255, 255) == pytest.approx((100, 0, 0), abs=0.01)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((250, 250, 250), "white"),
        ((25, 25, 25), "black"),
        ((128, 128, 128), None),  # grey is neither
        ((231, 220, 212), None),  # of too little chroma for a hue, of too much for white
        ((90, 20, 20), "red"),
        ((80, 15, 30), "red"),  # on the other side of the hue of 0 degrees
        ((240, 190, 190), "pink"),
        ((70, 45, 15), "brown"),
        ((240, 205, 170), "orange"),
        ((230, 225, 160), "yellow"),
        ((20, 60, 20), "green"),
        ((180, 230, 180), "green"),
        ((170, 230, 230), "cyan"),
        ((25, 25, 80), "blue"),
        ((60, 15, 70), "purple"),
    ],
)
def test_colours_by_hand(rgb, name):
    assert colour_name(*rgb) == name


def test_a_caption_is_right_for_every_scene_that_shows_such_digits_by_hand():
    """A red two beside a blue seven is no red seven; a small seven alone is not a small seven and a two."""
    scenes = torch.tensor(
        [
            [[0, RED, 2, 0, 0], [0, BLUE, 7, 2, 2]],
            [[0, RED, 7, 0, 1], NONE],
            [[2, RED, 7, 1, 1], [0, RED, 2, 1, 0]],
            [NONE, NONE],
        ]
    )
    asked = torch.tensor(
        [
            [[ANY, RED, 7, ANY, ANY], NONE],
            [[0, ANY, 7, ANY, ANY], [ANY, ANY, 2, ANY, ANY]],
            [[ANY, ANY, ANY, ANY, 1], NONE],
            [NONE, NONE],
        ]
    )
    want = [[False, True, False, True], [True, False, True, True], [True, False, True, True], [False] * 4]
    assert relevant(asked, scenes).tolist() == want


DIGIT = st.tuples(*(st.integers(-1 if row == captions.COLOUR else 0, 2) for row in range(5))).map(list)


@given(st.lists(st.tuples(DIGIT, DIGIT), min_size=1, max_size=6), st.integers(0, 4))
def test_more_attributes_never_gain_a_scene(scenes, dropped):
    attributes = torch.tensor([list(two) for two in scenes])
    narrow = torch.stack([attributes[:, 0], attributes[:, 1]], dim=1)
    wide = narrow.clone()
    wide[:, 0, dropped] = ANY
    more, fewer = relevant(wide, attributes), relevant(narrow, attributes)
    assert bool((more | ~fewer).all())
    assert bool(fewer.diagonal().all())  # a scene shows what it shows


@given(DIGIT, st.lists(st.booleans(), min_size=5, max_size=5))
def test_what_is_named_is_true_and_can_be_said(digit, chosen):
    """Nothing is named but what was chosen; the centre of a row alone is not."""
    condition = named(torch.tensor([digit]), torch.tensor([chosen]))[0]
    assert bool(shows(condition[None], torch.tensor([digit])))
    kept = condition != ANY
    assert not bool((kept & ~torch.tensor(chosen)).any())
    row, column = condition[captions.ROW], condition[captions.COLUMN]
    assert (row == CENTRE) == (column == CENTRE)


def test_sentences_by_hand():
    def said(*conditions):
        return sentence(torch.tensor([*conditions, *[NONE] * (2 - len(conditions))]))

    assert said([0, RED, 7, 0, 0]) == "a small red seven at the top left"
    assert said([ANY, COLOURS.index("orange"), 1, ANY, 2]) == "an orange one at the right"
    assert said([ANY, ANY, 8, 1, 1]) == "an eight in the centre"
    assert said([ANY, ANY, 1, ANY, ANY], [2, ANY, ANY, ANY, ANY]) == "a one and a large digit"


@pytest.fixture(scope="module")
def attributes():
    return looks_of(Scenes(60, 128, seed=3))


@pytest.mark.parametrize("kind", KINDS)
def test_captions_of_a_kind_are_different_said_in_known_words_and_shown_often_enough(kind, attributes):
    drawn = captions_of(kind, attributes, 2)
    assert len(drawn)
    assert int(relevant(drawn, attributes).sum(dim=0).min()) >= 2
    said = [sentence(caption) for caption in drawn]
    assert len(set(said)) == len(said)
    assert {word for one in said for word in one.split()} <= {*WORDS, *SAME}


def test_every_word_is_read_as_one_that_is_learnt():
    assert {same for same in SAME.values() if same} <= set(WORDS)
    assert not set(SAME) & set(WORDS)
    assert {*SIZES, *DIGITS, *ROWS} < set(WORDS)


def test_looks_of_a_collection_are_those_of_its_annotations(attributes):
    """Classes in the same order, and sizes that follow from the annotated boxes."""
    known = Scenes(60, 128, seed=3).annotations
    there = attributes[attributes[..., captions.DIGIT] != ANY]
    assert there[:, captions.DIGIT].tolist() == known.label.tolist()
    area = (known.box[:, 2:] - known.box[:, :2]).prod(dim=1)
    assert there[:, captions.SIZE].tolist() == [int(one >= 0.061) + int(one >= 0.23) for one in area.tolist()]
