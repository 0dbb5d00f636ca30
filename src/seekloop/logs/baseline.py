"""Rows of a report against GO: relative gains, their sum, and the round in which GO's last value is reached.

Source: Zaher, Buisson & Joly, arXiv 2604.00809, Tables 1, 2 and 4, and the analysis of Figures 3 and 4.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from seekloop.logs.curves import curve
from seekloop.logs.finished import value_of
from seekloop.logs.kind import Curve, RunKind
from seekloop.logs.run_folder import RunFolder
from seekloop.logs.tables import cell

GO = "go"
PAIR = ("representation", "local", "fusion")
"""Keys that tell representations apart."""
UNREAD = ("grid", "encoding", "regions", "detector")
"""Groups that GO does not read: one run of it stands for all their choices."""
NOT_REACHED = "not reached"

Groups = Mapping[tuple[str, ...], Sequence[RunFolder]]
"""Runs of each row, by its values of the report's keys."""


def against_global(
    keys: Sequence[str], groups: Groups, rows: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    """Columns that compare each row with that of GO.

    Args:
        keys: of the report.
        groups: runs of each row.
        rows: the report's table so far.

    Returns:
        For every row that has a GO: `<number>_gain` in %, `gain_sum`, the same of the paper's numbers
        (`paper_<number>_gain`, `paper_gain_sum`), and `<column>_reached`. GO itself has no gains.
    """
    means = {values: _curves(runs) for values, runs in groups.items()} if _whole(groups) else {}
    columns: list[dict[str, object]] = []
    for (values, runs), row in zip(groups.items(), rows, strict=True):
        reference = _reference(keys, values, _whole(groups))
        if reference is None:
            columns.append({})
            continue
        base = rows[list(groups).index(reference)]
        names = list(runs[0].kind.paired) if values != reference else []
        ours = _gains(row, base, {name: f"{name}_mean" for name in names}, "")
        papers = _gains(row, base, {name: f"paper_{name}" for name in names}, "paper_")
        columns.append(ours | papers | _reached(means[values], means[reference]))
    return columns


def readable(table: pd.DataFrame, kind: RunKind) -> pd.DataFrame:
    """The same columns of a report's table in words, but for the paper's gains; none where no row has a GO."""
    words = {f"{name}_gain": f"{name} gain" for name in kind.paired}
    words |= {"gain_sum": "sum of gains", "paper_gain_sum": "sum of gains in the paper"}
    shown = {say: table[name].map(_percent) for name, say in words.items() if name in table}
    for name in kind.compared:
        if f"{name}_reached" in table:
            shown[f"{kind.step} of GO's last {kind.label(name)}"] = table[f"{name}_reached"].map(cell)
    return pd.DataFrame(shown, index=table.index)


def with_gains(table: pd.DataFrame, name: str) -> list[str]:
    """A column as the paper prints it, with the gain behind the number."""
    gains = table.get(f"{name}_gain", pd.Series(float("nan"), index=table.index)).map(_percent)
    return [f"{cell(value)} ({gain})" if gain else cell(value) for value, gain in zip(table[name], gains, strict=True)]


def _percent(value: float) -> str:
    return "" if pd.isna(value) else f"{value:+.2f} %"


def _whole(groups: Groups) -> list[tuple[str, ...]]:
    """Values of the rows whose runs all are of GO; none where queries are not compared."""
    return [
        values
        for values, runs in groups.items()
        if runs[0].kind.paired and all(value_of(run, "representation", runs) == GO for run in runs)
    ]


def _reference(
    keys: Sequence[str], values: tuple[str, ...], whole: Sequence[tuple[str, ...]]
) -> tuple[str, ...] | None:
    """Values of the row of GO that differs in nothing that GO reads; None where there is none, or more than one."""
    tops = [key.split(".")[0] for key in keys]

    def alike(other: tuple[str, ...], apart: Sequence[str]) -> bool:
        return all(a == b for a, b, top in zip(values, other, tops, strict=True) if top not in apart)

    loosely = [other for other in whole if alike(other, (*PAIR, *UNREAD))]
    found = [other for other in loosely if alike(other, PAIR)] or loosely
    return found[0] if len(found) == 1 else None


def _gains(
    row: Mapping[str, object], base: Mapping[str, object], columns: Mapping[str, str], prefix: str
) -> dict[str, object]:
    """Relative gains of some columns in %, and their sum where all are known."""
    gains: dict[str, object] = {}
    total = 0.0
    for name, column in columns.items():
        own, other = row.get(column), base.get(column)
        if isinstance(own, float) and isinstance(other, float) and other > 0:
            gains[f"{prefix}{name}_gain"] = 100 * (own / other - 1)
            total += 100 * (own / other - 1)
    return {**gains, f"{prefix}gain_sum": total} if gains and len(gains) == len(columns) else gains


def _curves(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Mean curves of a row's runs that reports draw."""
    kind = runs[0].kind
    if not isinstance(kind.curve, Curve):
        return pd.DataFrame()
    tables = [curve(kind.curve, run.table(kind.curve.table))[list(kind.compared)] for run in runs]
    return pd.concat(tables).groupby(level=kind.curve.axis).mean()


def _reached(own: pd.DataFrame, base: pd.DataFrame) -> dict[str, object]:
    """The first step in which each mean curve is at least as high as that of GO at its end."""
    found: dict[str, object] = {}
    for name in base:
        steps = own.index[own[name] >= base[name].iloc[-1]]
        found[f"{name}_reached"] = str(steps[0]) if len(steps) else NOT_REACHED
    return found
