"""State of every run at or below a folder, those included that a sweep was asked for and that never started."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from seekloop.logs.copies import run_id_of, sorted_out
from seekloop.logs.curves import curve
from seekloop.logs.finished import look_up
from seekloop.logs.jobs import Job, JobBook, find_books
from seekloop.logs.kind import FIRST, Kinds, RunKind
from seekloop.logs.run_folder import UNREADABLE, RunFolder, RunState, find_runs

COPY = "copy of"


def status_table(folder: Path, kinds: Kinds) -> pd.DataFrame:
    """One row per run: state, step reached of how many, main number there and once done, last line of an error.

    A run whose files cannot be read is damaged, and its error says why. A job of a sweep that has no folder stands
    under the overrides that tell it from the others: missing where it never started, failed where something stopped it
    before it had a folder. Runs of each kind have columns of their own.
    """
    runs = find_runs(folder, kinds)
    known = [kind for kind in kinds.values() if any(run.kind is kind for run in runs)] or [kinds[FIRST]]
    rows, whole = [], []
    for run in runs:
        try:
            rows.append({"run": str(run.path.relative_to(folder)), **_row(run)})
            whole.append(run)
        except UNREADABLE as error:
            why = " ".join(str(error).split())
            rows.append({"run": str(run.path.relative_to(folder)), "state": str(RunState.DAMAGED), "error": why})
    _, copies = sorted_out(whole)
    originals = {str(copy.path.relative_to(folder)): str(kept.path.relative_to(folder)) for copy, kept in copies}
    rows = [{**row, COPY: originals.get(str(row["run"]))} for row in rows]
    for book, words, job in _waiting(folder, whole):
        where = book.folder.relative_to(folder)
        state = RunState.FAILED if job.error else RunState.MISSING
        rows.append({"run": f"{where}: {words}" if where.name else words, "state": str(state), "error": job.error})
    names = dict.fromkeys(name for kind in known for name in _columns(kind))
    counts = [name for kind in known for name in _counts(kind) if name]
    shown = ["run", "state", *names, *([COPY] if originals else []), "error"]
    return pd.DataFrame(rows, columns=shown).astype(dict.fromkeys(counts, "Int64"))


def _counts(kind: RunKind) -> tuple[str, str, str]:
    """Columns that count steps: the last one, their number, and the one within a step; empty where there are none."""
    return (kind.step, f"{kind.step}s", kind.inner.axis if kind.inner else "") if kind.steps else ("", "", "")


def _columns(kind: RunKind) -> list[str]:
    reached = [kind.reached[0], kind.numbers[0]] if kind.reached else kind.numbers
    return [name for name in (*_counts(kind), *reached) if name]


def _row(run: RunFolder) -> dict[str, object]:
    kind, config, state = run.kind, run.config, run.state()
    last = run.last_step() if kind.tables else None
    summary = run.summary() if state is RunState.DONE else {}
    row: dict[str, object] = {name: summary.get(name) for name in kind.numbers}
    if kind.steps and kind.reached and kind.curve:
        under_way = run.under_way() if kind.inner else pd.DataFrame()
        epoch = under_way[kind.inner.axis].iloc[-1] if kind.inner and len(under_way) else None
        row |= dict(zip(_counts(kind), (last, look_up(config, kind.steps), epoch), strict=True))
        name, column = kind.reached
        row[name] = None if last is None else float(curve(kind.curve, run.table(kind.curve.table))[column].iloc[-1])
    error = run.error() if state is RunState.FAILED else None
    return {"state": str(state), **row, "error": error}


def _waiting(folder: Path, runs: Sequence[RunFolder]) -> Iterator[tuple[JobBook, str, Job]]:
    """Jobs without a run: each once, not again in a copy of its sweep's folder, and none whose run was renamed."""
    books = sorted(find_books(folder), key=lambda book: (len(book.folder.parts), book.folder))
    begun = {(key, job.overrides) for book in books for key, job in book.jobs().items() if book.has_begun(job)}
    there = {run_id_of(run.config) for run in runs}
    for book in books:
        for key, words, job in book.waiting():
            if (key, job.overrides) not in begun and (job.run is None or job.run not in there):
                begun.add((key, job.overrides))
                yield book, words, job


def counted(table: pd.DataFrame) -> str:
    """Number of runs in each state; copies are counted apart.

    Example:
        >>> counted(pd.DataFrame({"state": ["done", "missing", "done"]}))
        '3 runs: 2 done, 1 missing'
        >>> counted(pd.DataFrame({"state": ["done", "done"], "copy of": [None, "a"]}))
        '1 run: 1 done; and 1 copy'
    """
    copies = int(table[COPY].notna().sum()) if COPY in table else 0
    own = table[table[COPY].isna()] if copies else table
    counts = Counter(own["state"])
    states = ", ".join(f"{counts[state]} {state}" for state in reversed(RunState) if counts[state])
    more = f"; and {copies} {'copy' if copies == 1 else 'copies'}" if copies else ""
    return f"{len(own)} run{'' if len(own) == 1 else 's'}{': ' if states else ''}{states}{more}"
