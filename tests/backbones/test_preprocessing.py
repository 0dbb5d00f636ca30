from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seekloop.backbones.preprocessing import choose, fitting_size, preprocessing
from seekloop.contracts.errors import ConfigError

OWN = SimpleNamespace(input_size=(3, 518, 504), mean=(0.1, 0.2, 0.3), std=(1, 2, 3), interpolation="random")


def test_the_models_own_settings_unless_overridden():
    own = preprocessing(OWN, None, None, (14, 14))
    assert (own.image_size, own.mean, own.std, own.interpolation) == (
        (518, 504),
        (0.1, 0.2, 0.3),
        (1.0, 2.0, 3.0),
        "bicubic",
    )
    other = preprocessing(OWN, 224, {"mean": [0, 0, 0], "std": [1, 1, 1]}, (14, 14))
    assert (other.image_size, other.mean, other.std) == ((224, 224), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("size", "near"),
    [
        (230, r"\[224, 224\] or \[238, 238\]"),
        ([224, 225], r"\[224, 224\] or \[224, 238\]"),
        (5, r"fit: \[14, 14\]\."),
        (-28, r"fit: \[14, 14\]\."),
    ],
)
def test_a_size_that_cuts_patches_names_the_nearest_that_do_not(size, near):
    with pytest.raises(ConfigError, match=near) as error:
        fitting_size(size, (14, 14))
    assert error.value.key == "image_size"


def test_a_size_of_three_numbers():
    with pytest.raises(ConfigError, match="one number or two"):
        fitting_size([3, 224, 224], (14, 14))


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 20), st.integers(1, 20))
def test_every_multiple_fits_and_height_comes_first(rows, columns, tall, wide):
    assert fitting_size([rows * tall, columns * wide], (tall, wide)) == (rows * tall, columns * wide)


def test_own_prefers_none_whatever_the_order():
    assert choose({"four": "b", "none": "a"}, "own") == ("none", "a")
    assert choose({"four": "b"}, "own") == ("four", "b")
    assert choose({"none": "a", "four": "b"}, "four") == ("four", "b")


def test_a_missing_variant_names_those_there_are():
    with pytest.raises(ConfigError, match="It has: own, four") as error:
        choose({"four": "b"}, "none")
    assert error.value.key == "registers"
