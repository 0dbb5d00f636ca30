import pytest

from seekloop.backbones.variants import choose
from seekloop.contracts.errors import ConfigError


def test_own_prefers_none_whatever_the_order():
    assert choose({"four": "b", "none": "a"}, "own") == ("none", "a")
    assert choose({"four": "b"}, "own") == ("four", "b")
    assert choose({"none": "a", "four": "b"}, "four") == ("four", "b")


def test_a_missing_variant_names_those_there_are():
    with pytest.raises(ConfigError, match="It has: own, four") as error:
        choose({"four": "b"}, "none")
    assert error.value.key == "registers"
