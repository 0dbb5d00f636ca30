import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.loop.placement import Engine

GOOD = {"memory": "auto", "device": "cpu", "precision": "float32", "together": True}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("memory", value) for value in (0, -1, float("nan"), float("inf"), "much", True)],
        *[("device", value) for value in ("meta", "mps", "tpu", "cuda:99", "")],
        ("precision", "float16"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(key, value):
    with pytest.raises(ConfigError, match=rf"^Engine: {key}=") as refused:
        Engine(**GOOD | {key: value})
    assert "\n" not in str(refused.value)


def test_half_of_what_is_free_or_what_was_said():
    assert Engine(**GOOD | {"memory": 0.5}).bytes() == 2**29
    assert Engine(**GOOD).bytes() > 2**20
