"""Finished runs, and the keys of their configs that tell them apart."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from seekloop.logs.run_folder import RunFolder
from seekloop.logs.status import find_runs, read_config

IGNORED = (
    "seed",
    "split",
    "accelerator",
    "keep_views",
    "weights_hash",
    "force",
    "runs_dir",
    "store_dir",
    "experiment_name",
    "run_id",
    "paper",
    "paper_setup",
    "choices",
    "wandb",
    "trainer",
    "hydra",
    "engine",
    "figures",
    "numbers",
    "store.fail_fast",
    "store.shard",
    "store_key",
    "recipe",
    "experiment",
)
"""Keys that do not make two runs different experiments."""
UPPER_BOUND = "box (upper bound)"


@dataclass(frozen=True)
class FinishedRun:
    """A run that is done: where, with which config, and what came out."""

    folder: RunFolder
    config: Mapping[str, object]
    summary: Mapping[str, object]


def finished_runs(folder: Path) -> list[FinishedRun]:
    """The runs below `folder` that are done and whole; copies are among them."""
    return found_finished(folder)[0]


def found_finished(folder: Path) -> tuple[list[FinishedRun], dict[Path, str]]:
    """The runs below `folder` that are done and whole, and the folders that say so and are not, each with the reason.

    Such folders come from copying: a synchronised drive may have brought `COMPLETE` before the tables.
    """
    whole, damaged = [], {}
    for run in find_runs(folder):
        if not run.complete.exists():
            continue
        try:
            _check_files(run)
            whole.append(FinishedRun(run, read_config(run), run.summary()))
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            damaged[run.path] = " ".join(str(error).split())
    return whole, damaged


def _check_files(run: RunFolder) -> None:
    needed = (*(f"{table}.parquet" for table in run.TABLES), "summary.json", "config.yaml")
    needed += ("queries.parquet",) if type(run) is RunFolder else ()
    missing = [name for name in needed if not (run.path / name).is_file()]
    if missing:
        raise FileNotFoundError(f"it says it is complete, and lacks {', '.join(missing)}")


def value_of(run: FinishedRun, key: str) -> str:
    """The value of a key, as reports show it."""
    return _shown(key, look_up(run.config, key))


def check_keys(runs: Sequence[FinishedRun], keys: Sequence[str], asked: str) -> None:
    """Refuse keys that no run has.

    Raises:
        ValueError: naming those that differ between the runs.
    """
    configs = [run.config for run in runs]
    known = known_keys(configs)
    for key in keys:
        if key not in known:
            differ = ", ".join(differing_keys(configs))
            raise ValueError(
                f"{asked}={key!r} is in no run's config. Keys that differ between the runs: {differ or 'none'}"
            )


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


def known_keys(configs: Sequence[Mapping[str, object]]) -> set[str]:
    """Every key that can be looked up in one of the configs."""
    return {key for config in configs for key in [*_all_keys(config), *_choices(config)]}


def differing_keys(configs: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """Keys whose value is not the same in all configs: choices of groups first, then what no choice explains.

    Keys that tell the runs apart in the same way (`grid` and `regions.grid`) are named once.
    """
    groups = sorted({key for config in configs for key in _choices(config)} - set(IGNORED))
    leaves = sorted({key for config in configs for key in _leaves(config)}, key=lambda key: (key.count("."), key))
    split: dict[tuple[int, ...], str] = {}
    for key in [*groups, *leaves]:
        values = [_shown(key, look_up(config, key)) for config in configs]
        words = re.split(r"[./]", key)  # Hydra's own groups are named hydra/launcher and the like
        top = words[0]
        explained = "." in key and not {top, words[1]}.isdisjoint(split.values())  # local explains representation.local
        if len(set(values)) > 1 and not {key, top} & set(IGNORED) and not explained:
            split.setdefault(tuple(values.index(value) for value in values), key)
    return tuple(split.values())


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
