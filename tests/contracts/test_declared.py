"""Declared arguments: one message, nothing coerced, nothing checked that is no plain value."""

from collections.abc import Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Gt, Interval
from omegaconf import OmegaConf

from seekloop.contracts.declared import Count, Positive, Share, component, declared
from seekloop.contracts.errors import ConfigError


class Network:
    """Stands for what is no plain value."""


@component
class Part:
    network: Any
    rows: Count = 20
    rate: Positive = 0.1
    kept: Share = 0.5
    tol: Annotated[float, Interval(gt=0, lt=1)] = 1e-3
    side: Annotated[int, Gt(0)] | None = None
    mode: Literal["cls", "mean"] = "cls"
    grids: Sequence[Count] = (1, 2)
    pair: tuple[float, float] = (0.5, 1.5)
    blocks: list[int] | None = None
    near: Literal[1, 4, 8] = 4
    file: Path = Path("a")
    root: Path | str | None = None
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.nesterov and self.rate > 1:
            raise ConfigError("nesterov", True, "rate is above 1", "Set rate=1.", self)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rows": 0}, "Part: rows=0 cannot work: it must be an int of at least 1. Usual: 20."),
        ({"rows": 1.0}, "rows=1.0 cannot work"),
        ({"rows": True}, "rows=True cannot work"),
        ({"rows": "3"}, "rows='3' cannot work"),
        ({"rate": float("inf")}, "it must be a number above 0 and that is finite"),
        ({"rate": float("nan")}, "rate=nan"),
        ({"kept": 1.01}, "it must be a number of at least 0 and of at most 1"),
        ({"tol": 1.0}, "above 0 and below 1"),
        ({"side": 0}, "it must be an int above 0, or null. Usual: None."),
        ({"mode": "max"}, "it must be one of: cls, mean. Usual: cls."),
        ({"grids": [1, 0]}, "a list, each an int of at least 1"),
        ({"grids": "12"}, "grids='12'"),
        ({"pair": [1.0]}, "a list of 2: a number, a number"),
        ({"pair": np.ones(3)}, "a list of 2: a number, a number"),
        ({"rows": np.int64(0)}, "it must be an int of at least 1"),
        ({"rows": np.float32(2)}, "it must be an int of at least 1"),
        ({"blocks": [1.5]}, "it must be a list, each an int, or null"),
        ({"near": True}, "near=True cannot work: it must be one of: 1, 4, 8"),
        ({"file": 1}, "file=1 cannot work: it must be a path. Usual: a."),
        ({"root": 1}, "it must be a path, or null"),
        ({"nesterov": True, "rate": 2.0}, "Part: nesterov=True cannot work: rate is above 1. Set rate=1."),
    ],
)
def test_what_does_not_fit_is_named_with_its_type_range_and_default(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Part(Network(), **given)
    assert told in str(raised.value)
    assert isinstance(raised.value.owner, Part)


def test_what_fits_is_kept_as_it_was_given() -> None:
    lists = OmegaConf.create({"grids": [1, 4], "pair": [1, 2]})
    part = Part(Network(), rate=1, grids=lists.grids, pair=lists.pair)
    assert type(part.rate) is int
    assert part.grids is lists.grids
    with pytest.raises(FrozenInstanceError):
        part.rows = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", np.int64(3)),
        ("rate", np.float32(3)),
        ("nesterov", np.bool_(True)),
        ("pair", np.array([0.5, 1])),
        ("grids", np.arange(1, 3)),
        ("blocks", [0, 1]),
        ("blocks", (0, 1)),
        ("near", np.int64(8)),
        ("file", "a.pth"),
        ("file", Path("a.pth")),
        ("root", "photographs"),
        ("root", Path("photographs")),
    ],
)
def test_values_of_numpy_paths_and_lists_fit(name: str, value: Any) -> None:
    assert getattr(Part(Network(), **{name: value}), name) is value


def test_functions_and_methods_are_checked_when_they_are_called() -> None:
    @declared
    def crop(size: Count, scale: float = 1.0) -> float:
        return size * scale

    class Net:
        @declared
        def __init__(self, width: Count = 8) -> None:
            self.width = width

    assert crop(3) == 3
    assert Net(4).width == 4
    with pytest.raises(ConfigError, match=r"crop: size=0 cannot work: it must be an int of at least 1"):
        crop(size=0)
    with pytest.raises(ConfigError, match="Net: width=0 cannot work") as raised:
        Net(0)
    assert isinstance(raised.value.owner, Net)


def test_the_root_adds_the_path_and_the_file() -> None:
    with pytest.raises(ConfigError) as raised:
        Part(Network(), rows=0)
    located = raised.value.located("criterion", "conf/criterion/part.yaml")
    assert str(located).startswith("criterion.rows=0 cannot work (conf/criterion/part.yaml): it must be an int")
    assert located.owner is raised.value.owner


@component
class Wider(Part):
    more: Count = 1


def test_a_subclass_keeps_the_checks_of_its_base() -> None:
    with pytest.raises(ConfigError, match="Wider: nesterov=True"):
        Wider(Network(), nesterov=True, rate=2.0)
    with pytest.raises(ConfigError, match="Wider: rows=0"):
        Wider(Network(), rows=0)
    with pytest.raises(ConfigError, match="Wider: more=0"):
        Wider(Network(), more=0)


def test_errors_about_a_parts_argument_from_what_it_calls_become_its_own() -> None:
    def read(path: str) -> None:
        raise ConfigError("checkpoint", path, "there is no such file", "Give another.")

    class Backbone:
        @declared
        def __init__(self, checkpoint: str) -> None:
            read(checkpoint)

    class Other:
        @declared
        def __init__(self, model: str) -> None:
            read(model)

    with pytest.raises(ConfigError, match="Backbone: checkpoint='a' cannot work") as raised:
        Backbone("a")
    assert isinstance(raised.value.owner, Backbone)
    with pytest.raises(ConfigError, match=r"^checkpoint='a' cannot work") as raised:
        Other("a")
    assert raised.value.owner is None
