import ast
import inspect
import re
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_object
from omegaconf import OmegaConf

from seekloop.commands.compose import resolve
from seekloop.commands.configs import conf_dir, load_entry
from seekloop.commands.parts import build

CONF = conf_dir()
SOURCE = Path(__file__).parents[2] / "src"
ENTRIES = [
    path
    for path in sorted([*CONF.glob("*/*.yaml"), *CONF.glob("representation/*/*.yaml"), *CONF.glob("loop/*/*.yaml")])
    if "_target_" in OmegaConf.load(path)
]
NOT_IN_THE_YAML = {
    "user": {"annotations", "seed", "draws_boxes"},
    "model": {"memory"},
    "features": {"collection", "backbone", "role", "store_dir", "trainer", "measured_on"},
}
STABLE_GROUPS = [
    "collection",
    "backbone",
    "registers",
    "regions",
    "representation",
    "representation/local",
    "representation/fusion",
    "classifier",
    "criterion",
    "user",
    "trainer",
    "experiment",
]
STABLE_KEYS = [
    "collection.root",
    "backbone.checkpoint",
    "backbone.image_size",
    "grid",
    "encoding",
    "loop.queries",
    "loop.negatives",
    "loop.rounds",
    "loop.budget",
    "loop.classes",
    "seed",
    "force",
    "wandb.mode",
    "experiment_name",
    "runs_dir",
    "store_dir",
]
ARGUMENTS = {"folder", "by", "run", "build", "cycle", "shown", "import", "to", "format"}
"""Arguments of commands that take no config, and of Python's build."""


def keys_of(entry):
    """Its own keys, those that it inherits, and the parts that it takes from other groups."""
    values, own = load_entry(entry), yaml.safe_load(entry.read_text())
    keys = {str(key) for key in values if not str(key).startswith("_")}
    for part in own.get("defaults", []):
        if isinstance(part, dict):
            keys |= {str(choice).rpartition("@")[2] for choice in part if not str(choice).startswith("override ")}
    return keys


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_yaml_keys_are_exactly_the_constructor_arguments(entry):
    """Its own and those that it inherits."""
    expected = set(inspect.signature(get_object(load_entry(entry)["_target_"])).parameters)
    assert keys_of(entry) == expected - NOT_IN_THE_YAML.get(entry.parent.name, set())


@pytest.mark.parametrize("entry", sorted(CONF.glob("**/*.yaml")), ids=lambda p: f"{p.parent.name}={p.stem}")
def test_every_config_says_what_it_is_and_explains_every_key(entry):
    lines = [line for line in entry.read_text().splitlines() if line.strip()]
    opening = lines[1] if lines[0].startswith("# @package") else lines[0]
    assert opening.startswith("# ")
    if "_target_" in load_entry(entry):
        unexplained = [line for line in lines if line[0].isalpha() and ":" in line and "#" not in line]
        assert [line for line in unexplained if not line.endswith(":")] == []


def test_the_names_that_sweeps_and_dashboards_use_are_there():
    assert [group for group in STABLE_GROUPS if not (CONF / group).is_dir()] == []
    config = resolve("retrieve", ["collection=voc2012", "backbone=dinov2_s"])
    missing = [key for key in STABLE_KEYS if OmegaConf.select(config, key, default="absent") == "absent"]
    assert missing == []


def named_keys():
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "ConfigError":
                first = call.args[0]
                owned = len(call.args) > 4 or any(word.arg == "owner" for word in call.keywords)
                if isinstance(first, ast.Constant) and not owned:  # else an argument of the owner
                    yield str(first.value)


def test_every_config_key_named_in_an_error_exists():
    """A message that sends the reader to a key that is not there is worse than none."""
    configs = [
        resolve(command, []) for command in ("retrieve", "learn", "search", "detect", "finetune", "serve", "replay")
    ]
    groups = {str(path.parent.relative_to(CONF)): set() for path in ENTRIES}
    for path in ENTRIES:
        groups[str(path.parent.relative_to(CONF))] |= set(load_entry(path)) | keys_of(path)
    for key in set(named_keys()) - ARGUMENTS:
        group, _, name = key.partition(".")
        a_parts_own = any(key in keys for keys in groups.values())  # its owner is found where the part is built
        known = a_parts_own or (CONF / group).is_dir() if not name else name in groups.get(group, set())
        assert known or any(OmegaConf.select(config, key, default="absent") != "absent" for config in configs), key


@pytest.mark.parametrize("entry", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_composes(entry):
    command = re.search(r"# Run: +seekloop (\w+)", entry.read_text())[1]
    config = resolve(command, [f"experiment={entry.stem}"])
    assert entry.stem.startswith(config.experiment_name)


@pytest.mark.parametrize("entry", sorted((CONF / "representation").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_representation_is_one_that_can_work(entry):
    representation = build(resolve("retrieve", [f"representation={entry.stem}"]), "representation")
    assert representation.fusion.uses_global == entry.stem.startswith("gl_")
