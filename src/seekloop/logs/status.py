"""Where every run below a folder stands."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from seekloop.logs import curves
from seekloop.logs.run_folder import RunFolder, RunState

MARKS = ("config.yaml", "COMPLETE", "error.txt", "heartbeat")


def find_runs(folder: Path) -> list[RunFolder]:
    """Every run folder at or below `folder`, in the order of their paths."""
    found = []
    for place, inside, names in os.walk(folder):
        if any(mark in names for mark in MARKS):
            found.append(RunFolder(place))
            inside.clear()
    return sorted(found, key=lambda run: run.path)


def status_table(folder: Path, expected: Sequence[Path] = ()) -> pd.DataFrame:
    """One row per run: state, round reached of how many, MAP there, MAP-AUC once done, last line of an error.

    Args:
        folder: runs below it are listed.
        expected: further run folders that should be there, such as those of a multirun; missing if never started.
    """
    runs = {run.path: run for run in [*find_runs(folder), *map(RunFolder, expected)]}
    columns = ["run", "state", "round", "rounds", "map", "map_auc", "error"]
    rows = [_status(run, folder) for run in runs.values()]
    return pd.DataFrame(rows, columns=columns).astype({"round": "Int64", "rounds": "Int64"})


def _status(run: RunFolder, below: Path) -> dict[str, object]:
    name = run.path.relative_to(below) if run.path.is_relative_to(below) else run.path
    reached = run.last_round()
    loop = read_config(run).get("loop")
    map_reached = None if reached is None else float(curves.curve(run.rounds())["ap"].iloc[-1])
    state = run.state()
    return {
        "run": str(name),
        "state": str(state),
        "round": reached,
        "rounds": loop.get("rounds") if isinstance(loop, Mapping) else None,
        "map": map_reached,
        "map_auc": run.summary().get("map_auc") if state is RunState.DONE else None,
        "error": run.error() if state is RunState.FAILED else None,
    }


def read_config(run: RunFolder) -> dict[str, object]:
    """The resolved config of a run; empty where none was written."""
    path = run.path / "config.yaml"
    return dict(yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
