"""Finished runs, and the keys of their configs that tell them apart."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seekloop.logs.kind import Kinds
from seekloop.logs.run_folder import UNREADABLE, RunFolder, find_runs

Json = Any  # None, bool, int, float, str, and lists and dictionaries of these

DRAWN = frozenset({"seed", "split", "once"})
"""Settings of a recipe, and of whatever is in it, that tell runs of one experiment apart."""
ACCIDENTS: Mapping[str, frozenset[str]] = {
    "run": frozenset({"engine"}),
    "descriptors": frozenset({"precision", "batch_size"}),
    "config": frozenset(
        {"engine", "trainer", "store", "wandb", "paper", "numbers", "hydra", "experiment", "launcher", "recipe"}
    ),
}
"""Settings of a recipe of some kind that depend on the machine and change last bits at most, by that kind.

`config` stands for runs made before recipes were recorded: sections of their configs that are of no interest here.
"""
RECIPE = "recipe"
UPPER_BOUND = "box (upper bound)"


def finished_runs(folder: Path, kinds: Kinds) -> tuple[list[RunFolder], dict[Path, str]]:
    """The runs below `folder` that are done and whole, and the folders that say so and are not, each with the reason.

    Copies are among the runs. A folder that is not whole comes from copying: a synchronised drive may have brought
    `COMPLETE` before the tables.
    """
    whole, damaged = [], {}
    for run in find_runs(folder, kinds):
        if not run.complete.exists():
            continue
        try:
            needed = [*(f"{table}.parquet" for table in run.kind.tables), "summary.json", "config.yaml"]
            needed += ["queries.parquet"] if run.kind.queries else []
            missing = [name for name in needed if not (run.path / name).is_file()]
            if missing:
                raise FileNotFoundError(f"it says it is complete, and lacks {', '.join(missing)}")
            _ = run.config, run.summary()  # can they be read?
            whole.append(run)
        except UNREADABLE as error:
            damaged[run.path] = " ".join(str(error).split())
    return whole, damaged


def value_of(run: RunFolder, key: str, runs: Sequence[RunFolder]) -> str:
    """The value of a key, as reports over `runs`, of which the run is one, show it."""
    if key != RECIPE:
        return _shown(key, look_up(run.config, key))
    return _name(_experiment_in(run.config, _recorded([one.config for one in runs])))


def check_keys(runs: Sequence[RunFolder], keys: Sequence[str], asked: str) -> None:
    """Refuse keys that no run has.

    Raises:
        ValueError: naming those that differ between the runs.
    """
    configs = [run.config for run in runs]
    known = {key for config in configs for key in [*_all_keys(config), *_choices(config)]}
    for key in keys:
        if key not in known:
            differ = ", ".join(differing_keys(configs)) or "none"
            raise ValueError(f"{asked}={key!r} is in no run's config. Keys that differ between the runs: {differ}")


def look_up(config: Mapping[str, object], key: str) -> object:
    """The value of a dotted key, looked for among the groups' choices first; None where it is not there.

    Example:
        >>> look_up({"choices": {"local": "all"}, "local": {"cells": 4}}, "local")
        'all'
        >>> look_up({"loop": {"budget": 10}}, "loop.budget")
        10
    """
    choices = config.get("choices")
    if isinstance(choices, Mapping) and key in choices:
        return choices[key]
    value: object = config
    for word in key.split("."):
        if not isinstance(value, Mapping) or word not in value:
            return None
        value = value[word]
    return value


def experiments(configs: Sequence[Mapping[str, object]]) -> list[dict[str, Any]]:
    """Recipe of the experiment of each run: the run's own without seeds and without accidents of the machine.

    Where a run was made before recipes were recorded, all are compared by the choices and sections of their configs.
    """
    recorded = _recorded(configs)
    return [_experiment_in(config, recorded) for config in configs]


def _recorded(configs: Iterable[Mapping[str, object]]) -> bool:
    return all(isinstance(config.get(RECIPE), Mapping) for config in configs)


def _experiment_in(config: Mapping[str, object], recorded: bool) -> dict[str, Any]:
    if recorded:
        return _experiment(config[RECIPE])
    sections = {key: value for key, value in config.items() if isinstance(value, Mapping) or key == "grid"}
    settings = {key: _but(value, ACCIDENTS["config"]) for key, value in sections.items()}
    return _experiment({"kind": "config", "settings": settings})


def _experiment(recipe: Json) -> dict[str, Any]:
    settings = _but(recipe["settings"], ACCIDENTS.get(recipe["kind"], frozenset()))
    inputs = {one["kind"]: _experiment(one) for one in recipe.get("inputs", ())}
    return {"kind": recipe["kind"], **inputs, **_without_draws(settings)}


def _but(values: Json, apart: Collection[str]) -> Json:
    return {key: one for key, one in values.items() if key not in apart} if isinstance(values, Mapping) else values


def _without_draws(value: Json) -> Json:
    if isinstance(value, list):
        return [_without_draws(one) for one in value]
    return {key: _without_draws(one) for key, one in _but(value, DRAWN).items()} if isinstance(value, dict) else value


def differing_keys(configs: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """Keys that tell the experiments of these runs apart, as few as do: choices of groups first, then single settings.

    A key whose value differs between runs of one experiment (a seed, a folder, threads) says nothing. Of the others
    those come first that share a word with the settings in which the recipes differ (`loop.budget` and
    `simulation.budget`). The last resort is `recipe`, the experiment's own name: one config may stand for two
    experiments, when images or a component were changed in between.
    """
    recipes = experiments(configs)
    names = [_name(one) for one in recipes]
    if len(set(names)) < 2:
        return ()
    paths = {path for recipe in recipes for path in _leaves(recipe)}
    differ = [path for path in paths if len({str(look_up(recipe, path)) for recipe in recipes}) > 1]
    words = {word for path in differ for word in path.split(".")}
    groups = {str(key): None for config in configs for key in sorted(_choices(config), key=_pair_last)}
    leaves = sorted({key for config in configs for key in _leaves(config)}, key=lambda key: (key.count("."), key))
    keys = [key for key in dict.fromkeys([*groups, *leaves]) if not key.startswith(("choices.", f"{RECIPE}."))]
    near = [key for key in keys if words.intersection(re.split(r"[./@]", key))]
    rest = [key for key in keys if (top := key.split(".")[0]) in groups and any(top in config for config in configs)]
    chosen: list[str] = []
    rows: list[tuple[str, ...]] = [()] * len(configs)
    for key in dict.fromkeys([*near, *rest]):
        if len(set(rows)) == len(set(names)):
            break
        values = [_shown(key, look_up(config, key)) for config in configs]
        finer = [(*row, value) for row, value in zip(rows, values, strict=True)]
        steady = len(set(zip(names, values, strict=True))) == len(set(names))
        if steady and len(set(finer)) > len(set(rows)):
            rows = finer
            chosen.append(key)
    return (*chosen, RECIPE) if len(set(rows)) < len(set(names)) else tuple(chosen)


def _pair_last(key: str) -> tuple[bool, str]:
    """A representation tells more than its two parts."""
    return key in ("local", "fusion"), key


def _name(recipe: Mapping[str, Any]) -> str:
    text = json.dumps(recipe, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def _choices(config: Mapping[str, object]) -> list[str]:
    choices = config.get("choices")
    return [str(key) for key in choices] if isinstance(choices, Mapping) else []


def _leaves(config: Mapping[str, object]) -> list[str]:
    return [key for key in _all_keys(config) if not isinstance(look_up(config, key), Mapping)]


def _all_keys(config: Mapping[str, object], above: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _all_keys(value, f"{above}{key}.")


def _shown(key: str, value: object) -> str:
    if key in ("local", "representation") and value == "box":
        return UPPER_BOUND  # it sees the annotations: never to be read as a method
    return "-" if value is None else str(value)
