"""What the finished runs below a folder say together: tables over their seeds, beside the paper's numbers."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy.special import stdtrit

from seekloop.logs import figures
from seekloop.logs.files import write_atomically
from seekloop.logs.run_folder import RunFolder, RunState
from seekloop.logs.status import find_runs, read_config
from seekloop.logs.tables import cell, print_table

IGNORED = (
    "seed",
    "force",
    "runs_dir",
    "store_dir",
    "experiment_name",
    "run_id",
    "paper",
    "choices",
    "wandb",
    "trainer",
    "hydra",
    "engine",
    "figures",
    "numbers",
    "store",
    "store_key",
    "experiment",
)
"""Keys that do not make two runs different experiments."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that is done: where, with which config, and what came out."""

    folder: RunFolder
    config: Mapping[str, object]
    summary: Mapping[str, object]


@dataclass(frozen=True)
class Report:
    """Tables over finished runs.

    Attributes:
        table: one row per group: the keys, `runs`, for each metric its `_mean`, `_std`, `_ci95`, and the paper's.
        keys: what the rows are grouped by.
        averaged: keys other than the seed that differ within a group.
        curves: the rounds tables of each group's runs, by the group's label.
    """

    table: pd.DataFrame
    keys: tuple[str, ...]
    averaged: tuple[str, ...]
    curves: Mapping[str, Sequence[pd.DataFrame]]


def finished_runs(folder: Path) -> list[FinishedRun]:
    """The runs below `folder` that are done."""
    done = [run for run in find_runs(folder) if run.state() is RunState.DONE]
    return [FinishedRun(run, read_config(run), run.summary()) for run in done]


def report(folder: Path, by: Sequence[str] | None) -> Report:
    """Group the finished runs below `folder` by config keys; mean, deviation and confidence interval over the rest.

    Writes `report.md`, `report.csv`, `report_curves.png` and `report_bars.png` into `folder`, and prints the table.

    Args:
        folder: where to look, and where the report goes.
        by: config keys; a group's choice (`local`) before a key of the config (`loop.budget`). None or empty: the keys
            that differ between the runs.

    Raises:
        ValueError: no run is done, or a key is in no run's config.
    """
    runs = finished_runs(folder)
    if not runs:
        raise ValueError(f"no finished run below {folder}. `seekloop status {folder}` says what is there")
    found = tabulate(runs, tuple(by) if by else differing_keys([run.config for run in runs]))
    write_atomically(folder / "report.csv", found.table.to_csv(index=False).encode())
    write_atomically(folder / "report.md", markdown(found).encode())
    figures.save(figures.compare(found.curves), folder / "report_curves.png")
    figures.save(figures.bars_of_groups(found.table, list(found.curves)), folder / "report_bars.png")
    print_table(
        _readable(found).drop(columns="machine_seconds", errors="ignore"), f"{len(runs)} finished runs below {folder}"
    )
    return found


def tabulate(runs: Sequence[FinishedRun], by: tuple[str, ...]) -> Report:
    """The report's table, without writing anything."""
    known = known_keys([run.config for run in runs])
    for key in by:
        if key not in known:
            differ = ", ".join(differing_keys([run.config for run in runs]))
            raise ValueError(f"by={key!r} is in no run's config. Keys that differ between the runs: {differ or 'none'}")
    groups: dict[tuple[str, ...], list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(tuple(_shown(key, look_up(run.config, key)) for key in by), []).append(run)
    ordered = dict(sorted(groups.items(), key=lambda item: [_natural(value) for value in item[0]]))
    rows = [{**dict(zip(by, values, strict=True)), **_statistics(members)} for values, members in ordered.items()]
    labels = [" · ".join(values) or "all runs" for values in ordered]
    tables = {
        label: [run.folder.rounds() for run in group] for label, group in zip(labels, ordered.values(), strict=True)
    }
    averaged = {key for group in groups.values() for key in differing_keys([run.config for run in group])}
    return Report(pd.DataFrame(rows).dropna(axis="columns", how="all"), by, tuple(sorted(averaged - set(by))), tables)


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
        top = re.split(r"[./]", key)[0]  # Hydra's own groups are named hydra/launcher and the like
        explained = "." in key and top in split.values()
        if len(set(values)) > 1 and top not in IGNORED and not explained:
            split.setdefault(tuple(values.index(value) for value in values), key)
    return tuple(split.values())


def markdown(found: Report) -> str:
    """The report as a Markdown page."""
    runs = int(found.table["runs"].sum())
    lines = [f"# Report over {runs} runs", "", _readable(found).to_markdown(index=False, disable_numparse=True), ""]
    lines.append(
        "Mean ± standard deviation over the runs of a row (seeds); AUC: area under the curve over rounds / rounds."
    )
    if found.averaged:
        lines.append(f"\nThe runs of a row also differ in: {', '.join(f'`{key}`' for key in found.averaged)}.")
    return "\n".join([*lines, "", "![curves](report_curves.png)", "", "![areas](report_bars.png)", ""])


def _readable(found: Report) -> pd.DataFrame:
    """The table with `mean ± std` in one cell, and the paper's number beside ours."""
    table = found.table
    shown = table[[*found.keys, "runs"]].astype(str)
    for metric in [name.removesuffix("_mean") for name in table.columns if name.endswith("_mean")]:
        deviations = table.get(f"{metric}_std", pd.Series(math.nan, index=table.index))
        pairs = zip(table[f"{metric}_mean"], deviations, strict=True)
        shown[metric] = [cell(m) if pd.isna(s) else f"{m:.3f} ± {s:.3f}" for m, s in pairs]
        if f"paper_{metric}" in table:
            shown[f"paper_{metric}"] = table[f"paper_{metric}"].map(cell)
    if "paper_table" in table:
        shown["paper_table"] = table["paper_table"].map(cell)
    return shown


def _statistics(runs: Sequence[FinishedRun]) -> dict[str, object]:
    row: dict[str, object] = {"runs": len(runs)}
    summaries = pd.DataFrame([_metrics(run.summary) for run in runs])
    for name in summaries.columns:
        values = summaries[name].dropna()
        row[f"{name}_mean"] = values.mean()
        row[f"{name}_std"] = values.std(ddof=1)
        row[f"{name}_ci95"] = _half_width(values)
    return {**row, **_paper(runs)}


def _half_width(values: pd.Series) -> float:
    """Half of the 95 % confidence interval of the mean, by Student's t; not a number for a single value."""
    if len(values) < 2:
        return math.nan
    return float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values)))


def _metrics(summary: Mapping[str, object]) -> dict[str, float]:
    """Measurements are the summary's fractional numbers; whole numbers count something."""
    return {key: value for key, value in summary.items() if isinstance(value, float) and math.isfinite(value)}


def _paper(runs: Sequence[FinishedRun]) -> dict[str, object]:
    """The paper's numbers, where all runs of the group name the same ones."""
    notes = [run.config.get("paper") for run in runs]
    named = [note for note in notes if isinstance(note, Mapping)]
    if len(named) < len(notes):
        return {}
    same = {key: value for key, value in named[0].items() if all(note.get(key) == value for note in named)}
    return {f"paper_{key}": str(value) if key == "table" else value for key, value in same.items()}


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
        return "box (upper bound)"  # it sees the annotations: never to be read as a method
    return "-" if value is None else str(value)


def _natural(value: str) -> tuple[bool, float, str]:
    """Numbers by size before words by letter."""
    try:
        return (False, float(value), "")
    except ValueError:
        return (True, 0.0, value)
