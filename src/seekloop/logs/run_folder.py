"""The folder of one run: what it found so far, step by step, whole whenever it is looked at."""

import contextlib
import json
import math
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from seekloop.artifacts.files import read_tensors, remove_drafts, write_bytes
from seekloop.artifacts.folder import Folder
from seekloop.contracts.errors import StoreError
from seekloop.logs import files
from seekloop.logs.kind import Kinds, RunKind, kind_of
from seekloop.logs.names import renamed

if TYPE_CHECKING:
    import torch

Checkpoint = Mapping[str, Any] | None
UNKNOWN = RunKind("")
MARKS = ("config.yaml", "COMPLETE", "error.txt", "heartbeat")
UNREADABLE = (StoreError, OSError, ValueError, TypeError, LookupError)
"""Errors that reading a damaged run raises."""


class RunState(StrEnum):
    """State of a run, as its folder alone tells; damaged: its files cannot be read, which its marks do not tell."""

    MISSING = "missing"
    DAMAGED = "damaged"
    RUNNING = "running"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    DONE = "done"


class RunFolder:
    """`runs/<experiment_name>/<run_id>/`.

    While a run goes on, `parts/` holds one Parquet file per table and step, and a checkpoint named after the last step
    that is whole. The checkpoint is written last: until it stands, the step does not count. Within a step,
    `parts/epoch.pt` holds the last whole epoch, and `parts/epochs.json` its rows, for those who watch. `finish` merges
    the parts; `COMPLETE` is the last file written.

    Args:
        path: the folder; made when the run is claimed.
        kind: what its tables are.
    """

    def __init__(self, path: Path | str, kind: RunKind = UNKNOWN) -> None:
        self.path, self.kind = Path(path), kind
        self.parts = self.path / "parts"
        self._folder = Folder(self.path, "runs_dir", self.path / "run.lock", self.path / "heartbeat")
        self.complete = self._folder.marker
        self._error = self.path / "error.txt"

    @cached_property
    def config(self) -> dict[str, object]:
        """The resolved config of the run, in today's names; empty where none was written.

        Raises:
            StoreError: it cannot be read, or is no mapping.
        """
        path = self.path / "config.yaml"
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where that is there: many runs, long configs
        try:
            return renamed(yaml.load(path.read_text(), Loader=loader) or {}) if path.exists() else {}
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise StoreError(f"{path} is damaged: {why}. Restore it, or remove its folder and run again") from error

    def state(self) -> RunState:
        """Running, done, failed, interrupted, or never started."""
        if self.complete.exists():
            return RunState.DONE
        if self._folder.alive():
            return RunState.RUNNING
        if self._error.exists():
            return RunState.FAILED
        started = (self.path / "config.yaml").exists() or self.parts.exists()
        return RunState.INTERRUPTED if started else RunState.MISSING

    def error(self) -> str | None:
        """The last line of what went wrong, if the run failed."""
        if not self._error.exists():
            return None
        lines = self._error.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "unknown error"

    @contextlib.contextmanager
    def claim(self) -> Iterator[None]:
        """Be the one who runs it; an exception is kept in `error.txt` and goes on upwards.

        Being stopped by the keyboard or a signal is no failure: the state is then interrupted.

        Raises:
            BusyError: another process is running it.
            Interrupted: a person stopped this one.
        """
        with self._folder.claim(self._kept):
            self._error.unlink(missing_ok=True)
            for folder in (self.path, *(entry for entry in self.path.iterdir() if entry.is_dir())):
                remove_drafts(folder)  # of a killed process
            if self.complete.exists() and self.parts.exists():
                shutil.rmtree(self.parts)
            try:
                yield
            except Exception as error:
                last_line = f"{type(error).__name__}: {' '.join(str(error).split())}"
                text = "".join(traceback.format_exception(error)).rstrip() + f"\n\n{last_line}\n"
                with contextlib.suppress(OSError):  # a full disk must not hide what went wrong
                    write_bytes(self._error, text.encode(), "runs_dir")
                raise

    def clear(self) -> None:
        """Forget everything this run has found, to run it anew. Only inside `claim`."""
        self._folder.clear()

    def write_config(self, text: str) -> None:
        """Write `config.yaml`, the resolved config."""
        self._folder.write("config.yaml", text.encode())

    def write_queries(self, queries: pd.DataFrame) -> None:
        """Write `queries.parquet`, one row per query."""
        self._folder.write("queries.parquet", files.parquet_bytes(queries, {}))

    def write_beside(self, name: str, table: pd.DataFrame) -> None:
        """Write a table that only some runs of a kind have, `<name>.parquet`."""
        self._folder.write(f"{name}.parquet", files.parquet_bytes(table, {}))

    def queries(self) -> pd.DataFrame:
        """The queries of this run."""
        return files.read_parquet([self.path / "queries.parquet"], {})

    def add(self, number: int, tables: Mapping[str, pd.DataFrame], checkpoint: Checkpoint) -> None:
        """Keep one step. A kill at any instant leaves this step whole, or the one before.

        Args:
            number: of the step; must follow the last one.
            tables: all tables of the kind, with its columns as in docs/metrics.md.
            checkpoint: what is needed to go on from here: tensors, numbers and text in plain containers.

        Raises:
            ValueError: the step is not the one that follows, or a column is missing.
            OSError: the disk is full; earlier steps are kept.
        """
        last, step = self.last_step(), self.kind.step
        if number != (0 if last is None else last + 1):
            raise ValueError(f"{step} {number} cannot follow {step} {last} in {self.path}")
        for name, columns in self.kind.tables.items():
            self._folder.write(f"parts/{name}-{number:04d}.parquet", files.parquet_bytes(tables[name], columns))
        self._folder.write_tensors(f"parts/state-{number:04d}.pt", checkpoint)
        if last is not None:
            self._state(last).unlink(missing_ok=True)

    def add_once(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Keep the only step, in place of one that a process left which ended before the run was complete."""
        self._state(0).unlink(missing_ok=True)
        self.add(0, tables, None)

    def last_step(self) -> int | None:
        """Number of the last whole step, if there is one."""
        if self.complete.exists():
            name, columns = next(iter(self.kind.tables.items()))
            return int(self.table(name)[self.kind.step].max()) if self.kind.step in columns else 0
        numbers = [int(path.stem.removeprefix("state-")) for path in self.parts.glob("state-*.pt")]
        return max(numbers, default=None)

    def resume(self) -> tuple[int, Any] | None:
        """Number of the last whole step and its checkpoint; what was written after it is discarded.

        Raises:
            StoreError: the checkpoint is damaged, or of an earlier version of the program.
        """
        last = self.last_step()
        if last is None or self.complete.exists():
            return None
        self._folder.check()
        for path in sorted(self.parts.glob("*-*.*")):
            number = int(path.stem.split("-")[1])
            if number > last or (number < last and path.suffix == ".pt"):
                path.unlink()
        return last, read_tensors(self._state(last), "force=true starts the run anew.")

    def table(self, name: str) -> pd.DataFrame:
        """A table of the kind, with all whole steps so far."""
        if self.complete.exists():
            paths = [self.path / f"{name}.parquet"]
        else:
            last = self.last_step()
            steps = range(0 if last is None else last + 1)
            paths = [self.parts / f"{name}-{number:04d}.parquet" for number in steps]
        return files.read_parquet(paths, self.kind.tables[name])

    def keep(self, step: int, checkpoint: dict[str, Any]) -> None:
        """Keep an epoch in place of the one before. A kill at any instant leaves one of them whole."""
        name = self.kind.step
        self._folder.write_tensors("parts/epoch.pt", {name: step, **checkpoint})
        self._folder.write("parts/epochs.json", json.dumps({name: step, "rows": checkpoint["rows"]}).encode())

    def kept(self, step: int) -> dict[str, Any] | None:
        """The last whole epoch, if it is of this step."""
        path = self.parts / "epoch.pt"
        if not path.exists():
            return None
        checkpoint: dict[str, Any] = read_tensors(path, f"Delete it: the {self.kind.step} begins again.")
        return checkpoint if checkpoint[self.kind.step] == step else None

    def under_way(self) -> pd.DataFrame:
        """The epochs of the step that is not over yet; no rows where none is under way."""
        last, path, name = self.last_step(), self.parts / "epochs.json", self.kind.step
        written = json.loads(path.read_text()) if path.exists() else {name: None, "rows": []}
        fresh = written[name] == (0 if last is None else last + 1)
        return pd.DataFrame(written["rows"] if fresh else []).assign(**{name: written[name]})

    def keep_view(self, step: int, view: "dict[str, torch.Tensor]") -> None:
        """Keep what a step's network makes of the images, in `views/`."""
        self._folder.write_tensors(f"views/{step:04d}.pt", view)

    def view(self, step: int) -> "dict[str, torch.Tensor]":
        """View that `keep_view` was given.

        Raises:
            ValueError: if nothing was kept.
        """
        path = self.path / "views" / f"{step:04d}.pt"
        if not path.exists():
            raise ValueError(f"{path} is not there: run it with keep_views=true, and force=true if it is done already")
        return dict(read_tensors(path, "Run it again with keep_views=true and force=true."))

    def summary(self) -> dict[str, object]:
        """Summary that `finish` was given."""
        return dict(json.loads((self.path / "summary.json").read_text()))

    def finish(self, summary: Mapping[str, object]) -> None:
        """Merge the parts, write the summary, mark the run complete, and drop the parts."""
        for name, columns in self.kind.tables.items():
            self._folder.write(f"{name}.parquet", files.parquet_bytes(self.table(name), columns))
        text = json.dumps(_without_nan(summary), indent=2, allow_nan=False) + "\n"
        self._folder.write("summary.json", text.encode())
        self._folder.check()
        self._folder.finish()
        shutil.rmtree(self.parts)

    def _kept(self) -> str:
        last, epochs, step = self.last_step(), len(self.under_way()), self.kind.step
        whole = 0 if last is None else last + 1
        more = f", and {epochs} of the next one's epochs" if epochs else ""
        return f"{whole} finished {step}{' is' if whole == 1 else 's are'} kept in {self.path}{more}"

    def _state(self, number: int) -> Path:
        return self.parts / f"state-{number:04d}.pt"


def _without_nan(value: object) -> object:
    """JSON has no word for not-a-number: null stands for it."""
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def find_runs(folder: Path, kinds: Kinds) -> list[RunFolder]:
    """Every run folder at or below `folder`, in the order of their paths; hidden folders hold none."""
    runs = []
    for path, inside, names in os.walk(folder):
        if any(mark in names for mark in MARKS):
            run = RunFolder(path)
            with contextlib.suppress(StoreError):  # told when the config is needed
                run.kind = kind_of(run.config, kinds)
            runs.append(run)
            inside.clear()
        inside[:] = [name for name in inside if not name.startswith(".")]
    return sorted(runs, key=lambda run: run.path)
