import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, InterpolationKeyError

from seekloop.commands.hints import known_keys


def raised(cause):
    error = ValueError("what Hydra says")
    error.__cause__ = cause
    return error


def missing(key):
    error = ConfigAttributeError("no such key")
    error.full_key = key
    return raised(error)


def test_the_likely_key_comes_first():
    told = known_keys("retrieve", ["loop.budgets=3"], missing("loop.budgets"))
    assert told == (
        "There is no loop.budgets. Did you mean loop.budget? "
        "Known below loop: budget, classes, negatives, queries, rounds."
    )


def test_an_error_about_a_key_that_exists_gets_no_hint():
    """Such as one whose value refers to something that is not there."""
    assert known_keys("retrieve", [], missing("loop.budget")) is None


def test_errors_of_other_kinds_get_none():
    assert known_keys("retrieve", [], ValueError("other")) is None
    assert known_keys("retrieve", [], None) is None
    with pytest.raises(InterpolationKeyError) as broken:
        OmegaConf.to_container(OmegaConf.create({"seed": "${nowhere}"}), resolve=True)
    assert known_keys("retrieve", [], raised(broken.value)) is None
