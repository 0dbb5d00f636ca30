"""Two settings over the same queries: what each query gains, and whether that could be chance."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from seekloop.logs.finished import UPPER_BOUND, check_keys, look_up, value_of
from seekloop.logs.intervals import holm, paired_bootstrap
from seekloop.logs.run_folder import RunFolder

QUERY = ["seed", "class_name", "query", "path", "negatives"]
"""Properties that make two queries the same: also their first image and the negatives that they start with."""
PART = "/"


def areas_of_queries(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Areas under the curves of every query, indexed by `QUERY`; the mean where several runs have the same query."""
    return pd.concat([_areas(run) for run in runs]).groupby(level=QUERY, dropna=False).mean()


def compare(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, object]:
    """One minus the other over the queries of both: for each area the mean difference, its interval and p.

    Args:
        one: areas by query, as of `areas_of_queries`.
        other: the same of the setting it is compared with.

    Returns:
        `queries` that both have (0: nothing else is there), their `classes`, and for each area `_difference`, `_low`,
        `_high` and `_p`.
    """
    shared = one.index.intersection(other.index)
    if not len(shared):
        return {"queries": 0}
    row: dict[str, object] = {"queries": len(shared), "classes": shared.get_level_values("class_name").nunique()}
    for name in one.columns.astype(str):
        drawn = paired_bootstrap(one.loc[shared, name] - other.loc[shared, name])
        row |= {f"{name}_difference": drawn.mean, f"{name}_low": drawn.low, f"{name}_high": drawn.high}
        row[f"{name}_p"] = drawn.p
    return row


def against_the_best(groups: Mapping[str, Sequence[RunFolder]], paired: Collection[str]) -> pd.DataFrame:
    """Every group against the one with the highest main number, over the queries they share; no row where none are.

    The upper bound, which sees the annotations, is compared with the best but is not the best.

    Args:
        groups: the runs of each setting.
        paired: the numbers that are compared.
    """
    areas = {label: areas_of_queries(runs) for label, runs in groups.items()}
    methods = [label for label in groups if UPPER_BOUND not in label] or list(groups)
    means = {label: np.mean([run.summary()[run.kind.numbers[0]] for run in groups[label]]) for label in methods}
    best = max(means, key=lambda label: means[label], default="")
    others = [label for label in groups if label != best]
    rows = [{"setting": label, "against": best, **compare(areas[label], areas[best])} for label in others]
    return _table([row for row in rows if row["queries"]], paired)


def asked_for(runs: Sequence[RunFolder], comparisons: Sequence[str]) -> pd.DataFrame:
    """Comparisons in the words of the command line, such as `local:all,none`: the first minus the second.

    Several keys are joined by a slash, and so are their values: `local/fusion:all/concat,none/none`.

    Raises:
        ValueError: the words are of another form, name what no run has, or two settings that share no query.
    """
    return _table([_asked_for(runs, words) for words in comparisons], runs[0].kind.paired)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `difference [interval]` in one cell."""
    shown = table[["setting", "against", "queries"]].astype(str)
    for name in [str(name).removesuffix("_p") for name in table if str(name).endswith("_p")]:
        columns = [table[f"{name}_{part}"] for part in ("difference", "low", "high")]
        shown[f"{name} difference"] = [_with_interval(*cells) for cells in zip(*columns, strict=True)]
        for part, words in (("p", "p"), ("holm", "p (Holm)")):
            values = table[f"{name}_{part}"]
            shown[f"{name} {words}"] = ["" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in values]
    return shown


def keys_of(words: str) -> list[str]:
    """The keys that a comparison is about.

    Example:
        >>> keys_of("local/fusion:all/concat,none/none")
        ['local', 'fusion']
    """
    return words.partition(":")[0].split(PART)


def _asked_for(runs: Sequence[RunFolder], words: str) -> dict[str, object]:
    keys, colon, values = words.partition(":")
    pair = values.split(",")
    if not colon or len(pair) != 2 or any(value.count(PART) != keys.count(PART) for value in pair):
        raise ValueError(
            f"compare={words!r} is not of the form key:value,value. Say for instance compare=local:all,none, or "
            "compare=local/fusion:all/concat,none/none"
        )
    if pair[0] == pair[1]:
        raise ValueError(f"compare={words!r} compares a setting with itself; name two")
    names, areas = keys_of(words), []
    check_keys(runs, names, "compare")
    for setting in pair:
        wanted = list(zip(names, setting.split(PART), strict=True))
        chosen = [
            run for run in runs if all(v in (value_of(run, k, runs), str(look_up(run.config, k))) for k, v in wanted)
        ]
        if not chosen:
            known = ", ".join(sorted({PART.join(value_of(run, key, runs) for key in names) for run in runs}))
            raise ValueError(f"compare={words!r}: no finished run has {setting!r}. There are {known}")
        areas.append(areas_of_queries(chosen))
    row = {"setting": pair[0], "against": pair[1], **compare(*areas)}
    if not row["queries"]:
        raise ValueError(
            f"compare={words!r}: the two settings share no query, so they cannot be compared query by query. Run both "
            "on the same collection with the same seed"
        )
    return row


def _areas(run: RunFolder) -> pd.DataFrame:
    kind, columns = run.kind, {}
    steps = run.table(next(iter(kind.tables)))
    for name, column in kind.paired.items():
        by_step = steps.pivot(index=["class_name", "query"], columns=kind.step, values=column).sort_index(axis=1)
        last = by_step.shape[1] - 1
        values = np.trapezoid(by_step, axis=1) / last if last else by_step.iloc[:, 0]
        columns[name] = pd.Series(values, index=by_step.index)
    starts = run.queries().set_index(["class_name", "query"])
    table = pd.DataFrame(columns).join(starts[["path", "negatives"]])
    table["negatives"] = [tuple(images) for images in table["negatives"]]
    return table.assign(seed=str(run.config.get("seed"))).reset_index().set_index(QUERY)[list(kind.paired)]


def _table(rows: Sequence[Mapping[str, object]], paired: Collection[str]) -> pd.DataFrame:
    """The rows, with p corrected for all comparisons of the table, of all areas together."""
    parts = [f"{name}_{part}" for name in paired for part in ("difference", "low", "high", "p", "holm")]
    table = pd.DataFrame(rows, columns=["setting", "against", "queries", "classes", *parts])
    plain, corrected = ([f"{name}_{part}" for name in paired] for part in ("p", "holm"))
    table[corrected] = holm(table[plain].to_numpy(float).ravel()).reshape(len(table), len(plain))
    return table


def _with_interval(mean: float, low: float, high: float) -> str:
    return f"{mean:+.3f}" if pd.isna(low) else f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
