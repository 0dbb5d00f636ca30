import importlib.util
import json
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import numpy as np
import pytest
import torch

from seekloop.contracts.recipe import NOT_IN_RECIPE, Recipe, settings
from seekloop.criteria.scores import Uncertainty


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    rate: float


@dataclass(frozen=True)
class Part:
    inner: Inner
    size: int
    threads: int = field(default=1, metadata=NOT_IN_RECIPE)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Imports a module from its text, as a user's own file is imported."""

    def imported(text):
        (tmp_path / "own_part.py").write_text(text)
        spec = importlib.util.spec_from_file_location("own_part", tmp_path / "own_part.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "own_part", module)
        spec.loader.exec_module(module)
        return module

    return imported


def test_plain_values_stay_and_keys_are_sorted():
    assert settings({"b": (1, 2.5), "a": {"x": None}, "c": {3, 1}, "d": Colour.RED, "e": float("inf")}) == {
        "a": {"x": None},
        "b": [1, 2.5],
        "c": [1, 3],
        "d": "red",
        "e": "inf",
    }


def test_scalars_of_numpy_count_as_those_of_python():
    part = settings(Part(Inner(np.float32(0.5)), np.int64(3)))
    assert part == settings(Part(Inner(0.5), 3))
    json.dumps(part)


def test_a_dataclass_gives_its_fields_but_those_that_cannot_change_a_result():
    part = settings(Part(Inner(0.5), 3, threads=8))
    assert {key: part[key] for key in ("size", "inner")}["size"] == 3
    assert part["inner"]["rate"] == 0.5
    assert "threads" not in part
    assert part == settings(Part(Inner(0.5), 3, threads=1)) != settings(Part(Inner(0.25), 3))


def test_one_of_ours_is_known_by_name_and_revision(monkeypatch):
    before = settings(Uncertainty())
    assert before == {"class": "Uncertainty", "revision": 1}
    monkeypatch.setattr(Uncertainty, "revision", 2, raising=False)
    assert settings(Uncertainty()) == {"class": "Uncertainty", "revision": 2}


OWN = "class Mine:\n    def __init__(self, below):\n        self.below = below\n        self._cache = object()\n"


def test_a_component_from_outside_is_another_one_once_its_file_changes(load):
    """Else a run with a repaired component would be taken for the run with the broken one."""
    first = settings(load(OWN).Mine(3))
    assert first["below"] == 3
    assert first["class"] == "own_part.Mine"
    assert first == settings(load(OWN).Mine(3))
    assert settings(load(OWN + "# repaired\n").Mine(3)) != first


def test_what_cannot_be_known_equals_nothing_and_is_named():
    class Closed:
        def __init__(self):
            self.model = object()

    once = Recipe("run", {"criterion": settings(Closed())})
    again = Recipe("run", {"criterion": settings(Closed())})
    assert once.key != again.key
    assert once.unknown == ["test_what_cannot_be_known_equals_nothing_and_is_named.<locals>.Closed"]
    assert Recipe("x", {}, (once,)).unknown == once.unknown
    assert Recipe("run", {"criterion": settings(Uncertainty())}).unknown == []


def test_components_are_asked_what_they_know_of_themselves():
    class Says:
        def settings(self):
            return {"only": 1}

    class Printed:
        def fingerprint(self):
            return "abc"

    class Network:
        name, weights_hash = "net", "w"

    assert settings(Says())["only"] == 1
    assert settings(Printed())["content"] == "abc"
    assert (settings(Network())["name"], settings(Network())["weights"]) == ("net", "w")


@pytest.mark.parametrize("make", [torch.tensor, np.array])
def test_arrays_count_by_type_shape_and_values(make):
    assert settings(make([1, 2])) == settings(make([1, 2])) != settings(make([2, 1]))
    assert settings(make([1, 2])) != settings(make([1.0, 2.0]))
    assert settings(make([[1, 2]])) != settings(make([1, 2]))


def test_a_call_counts_by_function_and_arguments():
    assert settings(partial(json.dumps, indent=1)) != settings(partial(json.dumps, indent=2))
    assert settings(partial(json.dumps)) != settings(partial(json.loads))


def test_the_key_depends_on_kind_settings_and_inputs_and_not_on_order():
    base = Recipe("run", {"a": 1, "b": 2}, (Recipe("descriptors", {"c": 3}),))
    assert base.key == Recipe("run", {"b": 2, "a": 1}, (Recipe("descriptors", {"c": 3}),)).key
    others = [
        Recipe("index", base.settings, base.inputs),
        Recipe("run", {"a": 1, "b": 3}, base.inputs),
        Recipe("run", base.settings, (Recipe("descriptors", {"c": 4}),)),
        Recipe("run", base.settings),
        base.without("a"),
    ]
    assert len({base.key, *(other.key for other in others)}) == 6


def test_a_recipe_survives_json():
    base = Recipe("run", settings({"a": [1, {"b": None}]}), (Recipe("descriptors", {"c": "é"}),))
    back = Recipe.from_plain(json.loads(json.dumps(base.plain())))
    assert back == base
    assert back.key == base.key
