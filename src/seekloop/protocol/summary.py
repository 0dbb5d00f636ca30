"""A finished run in few numbers: of each search, of each class, of all."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seekloop.contracts.problems import Problem, counted, many
from seekloop.metrics.curves import area_under_curve, first_reached
from seekloop.metrics.strata import STRATA

GOAL = 10  # "time to the 10th positive"
INDEXED = ("ap_change", "pick_recall", "certified", "scanned", "shortlist", "search_seconds")
STOPS = ("stop_round", "stop_labels", "stop_recall")
SIZES = tuple(f"ap_{size}" for size in STRATA)


def per_search(rounds: pd.DataFrame) -> pd.DataFrame:
    """One row per search: areas under its curves divided by the number of rounds, where it ended, how long it took.

    Columns: class_name, query, map_auc, coverage_auc, map_final, coverage_final, positives, seconds_to_10 (NaN where
    the 10th positive was never found), and the last average precision among objects of each size. Of a run with a rule
    also stop_round, stop_labels and stop_recall: where it stopped (NaN where it never did).

    Args:
        rounds: the table of results, one row per search and round, in any order.
    """
    ordered = rounds.sort_values(["class_name", "query", "round"])
    searches = ordered[["class_name", "query"]].drop_duplicates().reset_index(drop=True)

    def curves(column: str) -> Float[Tensor, "q t"]:
        return torch.tensor(ordered[column].to_numpy(float).reshape(len(searches), -1))

    ap, coverage, positives = curves("ap"), curves("coverage"), curves("positives")
    columns = {
        "map_auc": _area(ap),
        "coverage_auc": _area(coverage),
        "map_final": ap[:, -1],
        "coverage_final": coverage[:, -1],
        "positives": positives[:, -1],
        "seconds_to_10": first_reached(positives.long(), curves("seconds"), GOAL),
        **{size: curves(size)[:, -1] for size in SIZES},
    }
    if "stopped" in ordered:
        stopped = curves("stopped").long()
        columns |= {name: first_reached(stopped, curves(name.removeprefix("stop_")), 1) for name in STOPS}
    return searches.assign(**{name: values.numpy() for name, values in columns.items()})


def per_class(rounds: pd.DataFrame) -> pd.DataFrame:
    """One row per class: means over its searches, their number, and the share of them that found ten positives.

    Columns: class_name, queries, those of `per_search`, share_to_10. What a search does not have (no small objects, no
    tenth positive) is left out of the mean, and NaN where no search has it.
    """
    searches = per_search(rounds)
    classes = searches.groupby("class_name", sort=True)
    means = classes.mean().drop(columns="query")
    means.insert(0, "queries", classes.size())
    return means.assign(share_to_10=classes["seconds_to_10"].count() / classes.size()).reset_index()


def summarise(rounds: pd.DataFrame) -> dict[str, float | int | None]:
    """The run: means over classes of the class means.

    Only seconds_to_10 and share_to_10 are over searches: those that found ten positives are too few in some classes.
    seconds_to_10 is None where no search found them.
    """
    classes, searches = per_class(rounds), per_search(rounds)
    reached = searches["seconds_to_10"].dropna()
    return {
        **{name: float(classes[name].mean()) for name in ("map_auc", "coverage_auc", "map_final", "coverage_final")},
        "seconds_to_10": float(reached.mean()) if len(reached) else None,
        "share_to_10": len(reached) / len(searches),
        "classes": len(classes),
        "queries": len(searches),
        "rounds": int(rounds["round"].max()),
        **_indexed(rounds),
        **_stopped(searches),
    }


def _indexed(rounds: pd.DataFrame) -> dict[str, float]:
    """Measures of an index, where there was one: means over rounds, a class's searches, classes."""
    if "pick_recall" not in rounds:
        return {}
    classes = rounds.groupby("class_name")[list(INDEXED)].mean()
    return {name: float(classes[name].mean()) for name in INDEXED}


def _stopped(searches: pd.DataFrame) -> dict[str, float | None]:
    """Where a rule stopped the searches, if there was one: means over those that it stopped, and their share."""
    if STOPS[0] not in searches:
        return {}
    means = {name: number(searches[name].mean()) for name in STOPS}
    return {**means, "share_stopped": float(searches[STOPS[0]].notna().mean())}


def where_stopped(summary: Mapping[str, Any]) -> str | None:
    """Where a rule stopped the searches of a run, in a sentence; None without a rule.

    Example:
        >>> where_stopped({"share_stopped": 0.5, "queries": 4, "stop_labels": 60.0, "stop_recall": 0.75})
        'the rule stopped 2 of 4 searches, on average after 60 labels at recall 0.75'
    """
    if "share_stopped" not in summary:
        return None
    stopped = round(summary["share_stopped"] * summary["queries"])
    line = f"the rule stopped {stopped} of {many(summary['queries'], 'search', 'searches')}"
    if not stopped:
        return line
    return f"{line}, on average after {summary['stop_labels']:.0f} labels at recall {summary['stop_recall']:.2f}"


def _area(values: Float[Tensor, "q t"]) -> Float[Tensor, " q"]:
    """Area under the curve; the value itself where there is only round 0."""
    return values[:, 0] if values.shape[1] == 1 else area_under_curve(values)


def left_out(problems: Sequence[Problem], readable: Bool[Tensor, " n"]) -> dict[str, int]:
    """Counts of the objects, files and unreadable images that the numbers of a run go without."""
    return {**counted(problems), "images_unreadable": int((~readable).sum())}


def number(value: float) -> float | None:
    """A number as a summary has it: None where it is none."""
    return None if math.isnan(value) else float(value)
