"""Mistakes in a config of one's own: told with path, file and remedy, before any image is described."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from annotated_types import Ge
from omegaconf import OmegaConf

from seekloop.commands.compose import resolve
from seekloop.commands.parts import build, file_of, located
from seekloop.contracts.declared import component, declared
from seekloop.contracts.errors import ConfigError
from tests.commands.runs import SMALL, places, refused, seekloop

MODULE = """
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Ge
from seekloop.contracts.declared import component
from seekloop.contracts.errors import ConfigError

@component
class NearestFirst:
    below: float
    rows: Annotated[int, Ge(1)] = 3

    def __call__(self, view, budget, rngs):
        raise ConfigError("below", self.below, "no score is below it", "Usual: 0.5.", owner=self)

class Labelled:
    def __call__(self, view, budget, rngs):
        return view.scores.topk(budget).indices

class NoFit:
    pass

class Odd:
    def __init__(self, k, detector=None, backbone=None):
        self.detector, self.backbone = detector, backbone
        if k == 0:
            raise KeyError("k")
        if k % 2 == 0:
            raise ValueError("k must be odd")

    def parts(self, collection, poolable):
        return None
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Run a search with a criterion (or a classifier) of one's own, of which this is the YAML."""
    (tmp_path / "theirs_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def search(text, *changes, group="criterion"):
        (tmp_path / "mine" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / group / "own.yaml").write_text(text)
        words = ("--config-dir", str(tmp_path / "mine"), *SMALL, f"{group}=own", *changes)
        message = refused(seekloop("retrieve", *words, *places(tmp_path / "runs", tmp_path / "stores")))
        assert not list(tmp_path.glob("stores/*/whole-*.npy"))
        return message.replace(f"{tmp_path}/", "")

    return search


def test_an_unknown_key_is_told_with_its_file_and_what_the_class_takes(own):
    assert own("_target_: theirs_parts.NearestFirst\nbelo: 0.5\n") == (
        "error: criterion.belo=0.5 cannot work (mine/criterion/own.yaml): theirs_parts.NearestFirst takes no such "
        "argument. Did you mean below? It takes: below, rows."
    )


def test_a_missing_argument_is_told_with_its_file(own):
    message = own("_target_: theirs_parts.NearestFirst\n")
    assert message.startswith("error: criterion.below='(missing)' cannot work (mine/criterion/own.yaml): ")
    assert "theirs_parts.NearestFirst needs it" in message
    message = own("_target_: theirs_parts.NearestFirst\nbelow: ???\n")
    assert message.endswith("it has no default. Give it: criterion.below=...")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("theirs_part.NearestFirst", "ModuleNotFoundError: No module named 'theirs_part'"),
        ("theirs_parts.Nearest", "has no attribute 'Nearest'"),
    ],
)
def test_a_wrong_target_shows_its_root_cause(own, target, why):
    message = own(f"_target_: {target}\n")
    assert message.startswith(f"error: criterion._target_='{target}' cannot work (mine/criterion/own.yaml): ")
    assert why in message
    assert ("PYTHONPATH=<folder> seekloop ..." in message) == ("ModuleNotFound" in why)


def test_a_part_without_the_methods_of_its_place_is_refused_before_the_work(own):
    message = own("_target_: theirs_parts.NoFit\n", group="classifier")
    assert "classifier._target_='NoFit' cannot work (mine/classifier/own.yaml): it has no fit." in message
    assert "see seekloop.contracts.protocols.Classifier." in message
    assert "it cannot be called" in own("_target_: theirs_parts.NoFit\n")
    message = own("_target_: theirs_parts.NoFit\n", "representation/local=own", group="representation/local")
    assert (
        "representation.local._target_='NoFit' cannot work (mine/representation/local/own.yaml): it has no" in message
    )


def test_a_criterion_that_asks_about_an_answered_image_is_refused_before_the_work(own):
    message = own("_target_: theirs_parts.Labelled\n")
    assert "criterion._target_='Labelled' cannot work (mine/criterion/own.yaml): in round 0 it returned [0, " in message
    assert "an image is no candidate (answered already, or unreadable)" in message


def test_a_file_without_a_target_has_keys_that_nothing_reads(own):
    assert "criterion._traget_='x' cannot work: nothing reads it. Did you mean criterion._target_?" in own(
        "_traget_: x\n"
    )


def test_a_value_out_of_range_is_told_with_the_file_that_says_it(own):
    text = "_target_: theirs_parts.NearestFirst\nbelow: 0.5\nrows: 0\n"
    why = "it must be an int of at least 1. Usual: 3."
    assert own(text) == f"error: criterion.rows=0 cannot work (mine/criterion/own.yaml): {why}"
    typed = own(text, "criterion.rows=-1")  # then no file is at fault
    assert typed == f"error: criterion.rows=-1 cannot work: {why}"


@pytest.mark.parametrize(("k", "raised"), [(2, "ValueError: k must be odd"), (0, "KeyError: 'k'")])
def test_an_error_of_a_constructor_is_told_with_path_and_file(own, k, raised):
    message = own(f"_target_: theirs_parts.Odd\nk: {k}\n")
    assert message == (
        "error: criterion._target_='theirs_parts.Odd' cannot work (mine/criterion/own.yaml): its constructor raised "
        f"{raised}. Correct a value below criterion; HYDRA_FULL_ERROR=1 shows where it failed."
    )


def test_keys_named_as_parts_stay_plain_where_they_are(tmp_path, monkeypatch):
    (tmp_path / "odd_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    keys = {"k": 1, "detector": 7, "backbone": {"width": 8}}
    regions = build(OmegaConf.create({"regions": {"_target_": "odd_parts.Odd", **keys}}), "regions")
    assert (regions.detector, regions.backbone) == (7, {"width": 8})


def test_an_error_at_run_time_is_told_with_path_and_file_too(own):
    message = own("_target_: theirs_parts.NearestFirst\nbelow: 0.5\n")
    assert message == (
        "error: criterion.below=0.5 cannot work (mine/criterion/own.yaml): no score is below it. Usual: 0.5."
    )


@component
class Twin:
    rows: Annotated[int, Ge(1)] = 3


@declared
def made(rows: Annotated[int, Ge(1)] = 3) -> int:
    return rows


@dataclass(frozen=True)
class Record:
    budget: int


def test_of_several_mounts_the_one_that_holds_the_value_is_meant():
    here = "tests.commands.test_parts"
    twins = {"a": {"_target_": f"{here}.Twin", "rows": 3}, "b": {"c": {"_target_": f"{here}.Twin", "rows": 7}}}
    config = OmegaConf.create({**twins, "f": {"_target_": f"{here}.made", "rows": 5}, "loop": {"budget": 4}})
    for owner, key, got, path in (
        (Twin(7), "rows", 7, "b.c.rows"),
        (Twin(3), "rows", 3, "a.rows"),
        (Twin(9), "rows", 9, "a.rows"),  # nobody holds it: the first
        (made, "rows", 5, "f.rows"),
        (Record(4), "budget", 4, "loop.budget"),  # a record stands where its argument and its value stand
        (Record(6), "budget", 6, "budget"),  # nowhere
    ):
        error = located(ConfigError(key, got, "so", "Do.", owner=owner), config)
        assert error.key == path
        assert located(error, config) is error
    assert str(located(ConfigError("rows", 5, "so", "Do.", owner=made), config)) == "f.rows=5 cannot work: so. Do."


def test_a_value_that_refers_to_another_key_is_told_by_that_key():
    config = resolve("retrieve", ["grid=4x5x6"])
    with pytest.raises(ConfigError, match=r"^grid='4x5x6' cannot work"):
        build(config, "regions").parts(None, poolable=True)


def test_a_choice_of_nothing_builds_nothing():
    assert build(resolve("learn", ["pretraining=none"]), "pretraining") is None


def test_a_config_composed_in_python_has_no_files(monkeypatch):
    monkeypatch.setattr("hydra.core.hydra_config.HydraConfig.initialized", staticmethod(lambda: False))
    assert file_of("criterion", "rows") is None
