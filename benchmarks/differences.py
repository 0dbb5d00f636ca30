"""Two folders of tables and arrays, compared value for value. `benchmarks.same_numbers` makes the folders."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tabulate import tabulate

Renamed = Mapping[str, Mapping[str, str]]

RENAMED: Renamed = {}
"""Columns that have another name on purpose: table (`*`: every table), then old name and new name."""

LEFT_OUT_COUNTS = ("objects_lost", "objects_by_rule", "files_not_taken", "notes", "images_unreadable")
LEFT_OUT: Mapping[str, frozenset[str]] = {
    "cycles": frozenset({"seconds"}),  # of a cycle of `learn`, by the clock
    "epochs": frozenset({"seconds"}),  # of an epoch of `learn`, by the clock
    "rounds": frozenset({"search_seconds"}),  # of an index, by the clock; `seconds` are the simulated user's: compared
    "summary": frozenset({"machine_seconds"})  # of the run, by the clock
    | {f"left_out.{name}" for name in LEFT_OUT_COUNTS},  # counted since 2026-11-28; earlier runs did not
}
"""What is not compared: table, then columns; `*` among them is the whole table. Each stands here with its reason."""

SHOWN = 3  # rows of a difference that are shown


@dataclass(frozen=True)
class Compared:
    """A table or an array that both sides have."""

    item: str
    table: str
    rows: int
    values: int


@dataclass(frozen=True)
class Difference:
    """A column, a whole table or a whole item that is not the same on both sides.

    Attributes:
        item: what was run.
        table: its table or array; "" for the item as a whole.
        column: "" for the table as a whole.
        what: how many values differ, or what is missing on which side.
        first: the first rows that differ, with the values of both sides.
        largest: greatest absolute difference of two numbers; None where numbers are not what differs.
    """

    item: str
    table: str
    column: str
    what: str
    first: str = ""
    largest: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What was compared, and what differs."""

    compared: tuple[Compared, ...] = ()
    different: tuple[Difference, ...] = ()

    def __add__(self, other: "Comparison") -> "Comparison":
        return Comparison(self.compared + other.compared, self.different + other.different)


def compare_items(a: Path, b: Path, names: Iterable[str], renamed: Renamed = RENAMED) -> Comparison:
    """Compare items: for each name a folder on either side, of tables (`.parquet`) and arrays (`.npy`)."""
    found = Comparison()
    for name in names:
        if absent := _absent((a / name).is_dir(), (b / name).is_dir()):
            found += difference(name, "", "", absent)
            continue
        for file in sorted({path.name for side in (a, b) for path in (side / name).iterdir()}):
            found += _compare_files(a / name / file, b / name / file, name, renamed)
    return found


def _absent(left: bool, right: bool) -> str:
    return "" if left and right else "missing on both sides" if left == right else f"missing in {'B' if left else 'A'}"


def difference(
    item: str, table: str, column: str, what: str, first: str = "", largest: float | None = None
) -> Comparison:
    """A comparison that found this one difference."""
    return Comparison((), (Difference(item, table, column, what, first, largest),))


def _compare_files(a: Path, b: Path, item: str, renamed: Renamed) -> Comparison:
    name = a.stem
    if a.suffix not in (".parquet", ".npy") or "*" in LEFT_OUT.get(name, ()):
        return Comparison()
    if absent := _absent(a.exists(), b.exists()):
        return difference(item, name, "", absent)
    if a.suffix == ".npy":
        return compare_arrays(item, name, np.load(a), np.load(b))
    return compare_tables(item, name, pd.read_parquet(a), pd.read_parquet(b), renamed)


def compare_tables(item: str, name: str, a: pd.DataFrame, b: pd.DataFrame, renamed: Renamed = RENAMED) -> Comparison:
    """Compare two tables column by column, row by row as they were written.

    Numbers are equal if they are the same number, of whatever type; NaN equals NaN and an empty cell. The order of
    columns does not matter, that of rows does.
    """
    a, b = (_canonical(table, name, renamed) for table in (a, b))
    if len(a) != len(b):
        return difference(item, name, "", f"{len(a)} rows in A, {len(b)} in B")
    both = [column for column in a.columns if column in b]
    found = Comparison((Compared(item, name, len(a), len(a) * len(both)),))
    for column in a.columns.symmetric_difference(b.columns):
        found += difference(item, name, column, _absent(column in a, column in b))
    for column in both:
        found += _compare_columns(item, name, column, a[column], b[column])
    return found


def _canonical(table: pd.DataFrame, name: str, renamed: Renamed) -> pd.DataFrame:
    """The table under the new names, without what is left out."""
    names = {old: new for key in ("*", name) for old, new in renamed.get(key, {}).items() if new not in table}
    return table.rename(columns=names).drop(columns=list(LEFT_OUT.get(name, ())), errors="ignore")


def _compare_columns(item: str, name: str, column: str, a: "pd.Series[Any]", b: "pd.Series[Any]") -> Comparison:
    numbers = all(pd.api.types.is_numeric_dtype(side) for side in (a, b))
    left, right = ((side.to_numpy() if numbers else [_plain(value) for value in side]) for side in (a, b))
    if numbers:
        wrong = ~((left == right) | (pd.isna(left) & pd.isna(right)))
    else:
        wrong = np.array([x != y for x, y in zip(left, right, strict=True)], dtype=bool)
    rows = wrong.nonzero()[0].tolist()
    if not rows:
        return Comparison()
    largest = _largest(left[wrong], right[wrong]) if numbers else None
    return difference(item, name, column, f"{len(rows)} of {len(a)} values", _first(rows, left, right), largest)


def _plain(value: object) -> object:
    """Lists as tuples, every empty cell as None."""
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(_plain(one) for one in value)
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def _first(rows: Sequence[Any], left: "Sequence[Any] | NDArray[Any]", right: "Sequence[Any] | NDArray[Any]") -> str:
    shown = [f"row {row}: {_text(left[row])}, not {_text(right[row])}" for row in rows[:SHOWN]]
    return "; ".join(shown) + ("; ..." if len(rows) > SHOWN else "")


def _text(value: object) -> str:
    return str(value.item() if isinstance(value, np.generic) else value)


def _largest(left: NDArray[Any], right: NDArray[Any]) -> float | None:
    if not all(np.issubdtype(side.dtype, np.number) or side.dtype == bool for side in (left, right)):
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(left.astype(np.float64) - right.astype(np.float64))
    far = far[~np.isnan(far)]
    return float(far.max()) if len(far) else None


def compare_arrays(item: str, name: str, a: NDArray[Any], b: NDArray[Any]) -> Comparison:
    """Compare two arrays byte for byte, their types and shapes included."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return difference(item, name, "", f"{a.dtype} {a.shape} in A, {b.dtype} {b.shape} in B")
    found = Comparison((Compared(item, name, len(a) if a.ndim else 1, a.size),))
    wrong = (_bytes(a) != _bytes(b)).any(axis=1).reshape(a.shape)
    if not wrong.any():
        return found
    places = [tuple(int(axis) for axis in place) for place in np.argwhere(wrong)[: SHOWN + 1]]
    largest = _largest(a[wrong], b[wrong])
    return found + difference(item, name, "", f"{int(wrong.sum())} of {a.size} values", _first(places, a, b), largest)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """One row of bytes for each value."""
    return np.frombuffer(array.tobytes(), dtype=np.uint8).reshape(array.size, array.dtype.itemsize)


def report(found: Comparison) -> str:
    """What was compared, a line for each item, and what differs, a line for each column."""
    items = list(dict.fromkeys(one.item for one in found.compared))
    sizes = []
    for item in items:
        mine = [one for one in found.compared if one.item == item]
        tables = ", ".join(one.table for one in mine)
        sizes.append((item, tables, sum(one.rows for one in mine), sum(one.values for one in mine)))
    total = sum(one.values for one in found.compared)
    text = tabulate(sizes, ["item", "tables and arrays", "rows", "values"], "github", intfmt=",")
    text += f"\n\n{len(items)} items, {len(found.compared)} tables and arrays, {total:,} values were compared.\n"
    if not found.different:
        return text + "No difference."
    lines = [(d.item, d.table, d.column, d.what, d.largest, d.first) for d in found.different]
    headers = ["item", "table", "column", "differs", "largest", "first rows, A not B"]
    return text + f"{len(lines)} differences:\n\n" + tabulate(lines, headers, "github", floatfmt=".3g")
