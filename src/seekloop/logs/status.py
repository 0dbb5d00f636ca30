"""Where every run at or below a folder stands, those included that a sweep was asked for and that never started."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from seekloop.logs import curves
from seekloop.logs.copies import run_id_of, sorted_out
from seekloop.logs.evaluation_folder import EvaluationFolder
from seekloop.logs.jobs import Job, JobBook, find_books
from seekloop.logs.kinds import KINDS, open_run
from seekloop.logs.learn_folder import LearnFolder
from seekloop.logs.names import renamed
from seekloop.logs.run_folder import RunFolder, RunState

MARKS = ("config.yaml", "COMPLETE", "error.txt", "heartbeat")
COLUMNS = ("run", "state", "round", "rounds", "map", "map_auc", "error")
LEARN_COLUMNS = ("run", "state", "cycle", "cycles", "epoch", "accuracy", "accuracy_auc", "error")
COPY = "copy of"
COUNTS = ("round", "rounds", "cycle", "cycles", "epoch")


def find_runs(folder: Path) -> list[RunFolder]:
    """Every run folder at or below `folder`, in the order of their paths; hidden folders hold none."""
    found = []
    for place, inside, names in os.walk(folder):
        if any(mark in names for mark in MARKS):
            found.append(open_run(place))
            inside.clear()
        inside[:] = [name for name in inside if not name.startswith(".")]
    return sorted(found, key=lambda run: run.path)


def status_table(folder: Path) -> pd.DataFrame:
    """One row per run: state, round reached of how many, MAP there, MAP-AUC once done, last line of an error.

    A job of a sweep that has no folder stands under the overrides that tell it from the others: missing where it never
    started, failed where something stopped it before it had a folder. Runs of `learn` have their own columns.
    """
    runs = find_runs(folder)
    known: list[type[RunFolder]] = [RunFolder, *KINDS.values()]
    kinds = [kind for kind in known if any(type(run) is kind for run in runs)] or [RunFolder]
    originals = _originals(runs)
    rows = [{**_row(run, folder), COPY: _below(originals.get(run.path), folder)} for run in runs]
    rows += [_unstarted(book, words, job, folder) for book, words, job in _waiting(folder, runs)]
    shown = [
        *dict.fromkeys(name for kind in kinds for name in _columns(kind)[:-1]),
        *([COPY] if originals else []),
        "error",
    ]
    return pd.DataFrame(rows, columns=shown).astype({name: "Int64" for name in COUNTS if name in shown})


def _originals(runs: Sequence[RunFolder]) -> dict[Path, Path]:
    """The folder that each copy is a copy of."""
    found = sorted_out(runs, lambda run: (run, read_config(run)))
    return {copy.path: original.path for copy, original in found.copies}


def _below(path: Path | None, folder: Path) -> str | None:
    return None if path is None else str(path.relative_to(folder))


def _waiting(folder: Path, runs: Sequence[RunFolder]) -> Iterator[tuple[JobBook, str, Job]]:
    """Jobs without a run: each once, not again in a copy of its sweep's folder, and none whose run was renamed."""
    books = sorted(find_books(folder), key=lambda book: (len(book.folder.parts), book.folder))
    told = {(key, job.overrides) for book in books for key, job in book.jobs().items() if book.has_begun(job)}
    there = {run_id_of(read_config(run)) for run in runs}
    for book in books:
        for key, words, job in book.waiting():
            if (key, job.overrides) not in told and (job.run is None or job.run not in there):
                told.add((key, job.overrides))
                yield book, words, job


def _columns(kind: type[RunFolder]) -> tuple[str, ...]:
    if issubclass(kind, EvaluationFolder):
        return ("run", "state", *kind.AREAS, "error")
    return LEARN_COLUMNS if kind is LearnFolder else COLUMNS


def _row(run: RunFolder, below: Path) -> dict[str, object]:
    if isinstance(run, EvaluationFolder):
        return _evaluation_status(run, below)
    return _learn_status(run, below) if isinstance(run, LearnFolder) else _status(run, below)


def counted(table: pd.DataFrame) -> str:
    """How many runs are in which state; copies are told apart.

    Example:
        >>> counted(pd.DataFrame({"state": ["done", "missing", "done"]}))
        '3 runs: 2 done, 1 missing'
        >>> counted(pd.DataFrame({"state": ["done", "done"], "copy of": [None, "a"]}))
        '1 run: 1 done; and 1 copy'
    """
    copies = int(table[COPY].notna().sum()) if COPY in table else 0
    own = table[table[COPY].isna()] if copies else table
    counts = Counter(own["state"])
    told = ", ".join(f"{counts[state]} {state}" for state in reversed(RunState) if counts[state])
    more = f"; and {copies} {'copy' if copies == 1 else 'copies'}" if copies else ""
    return f"{len(own)} run{'' if len(own) == 1 else 's'}{': ' if told else ''}{told}{more}"


def read_config(run: RunFolder) -> dict[str, object]:
    """The resolved config of a run, in today's names; empty where none was written."""
    path = run.path / "config.yaml"
    return renamed(yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def _status(run: RunFolder, below: Path) -> dict[str, object]:
    reached = run.last_round()
    loop = read_config(run).get("loop")
    map_reached = None if reached is None else float(curves.curve(run.rounds())["ap"].iloc[-1])
    state = run.state()
    return {
        "run": str(run.path.relative_to(below)),
        "state": str(state),
        "round": reached,
        "rounds": loop.get("rounds") if isinstance(loop, Mapping) else None,
        "map": map_reached,
        "map_auc": run.summary().get("map_auc") if state is RunState.DONE else None,
        "error": run.error() if state is RunState.FAILED else None,
    }


def _learn_status(run: LearnFolder, below: Path) -> dict[str, object]:
    reached, state = run.last_round(), run.state()
    learning = read_config(run).get("learning")
    under_way = run.under_way()
    return {
        "run": str(run.path.relative_to(below)),
        "state": str(state),
        "cycle": reached,
        "cycles": learning.get("cycles") if isinstance(learning, Mapping) else None,
        "epoch": under_way["epoch"].iloc[-1] if len(under_way) else None,
        "accuracy": None if reached is None else float(run.table("cycles")["accuracy"].iloc[-1]),
        "accuracy_auc": run.summary().get("accuracy_auc") if state is RunState.DONE else None,
        "error": run.error() if state is RunState.FAILED else None,
    }


def _evaluation_status(run: EvaluationFolder, below: Path) -> dict[str, object]:
    state = run.state()
    found = run.summary() if state is RunState.DONE else {}
    return {
        "run": str(run.path.relative_to(below)),
        "state": str(state),
        **{name: found.get(name) for name in run.AREAS},
        "error": run.error() if state is RunState.FAILED else None,
    }


def _unstarted(book: JobBook, words: str, job: Job, below: Path) -> dict[str, object]:
    """The row of a job without a folder."""
    place = book.folder.relative_to(below)
    state = RunState.FAILED if job.error else RunState.MISSING
    nothing: dict[str, object] = dict.fromkeys(COLUMNS)
    return nothing | {"run": f"{place}: {words}" if place.name else words, "state": str(state), "error": job.error}
