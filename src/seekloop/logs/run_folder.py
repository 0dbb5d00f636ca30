"""The folder of one run: what it found so far, round by round, whole whenever it is looked at."""

import contextlib
import json
import math
import shutil
import traceback
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa

from seekloop.artifacts.files import read_tensors, remove_drafts, write_bytes
from seekloop.artifacts.folder import Folder
from seekloop.logs import files

Checkpoint = Mapping[str, Any] | None


class RunState(StrEnum):
    """What can be said of a run from its folder alone."""

    MISSING = "missing"
    RUNNING = "running"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    DONE = "done"


class RunFolder:
    """`runs/<experiment_name>/<run_id>/`.

    While a run goes on, `parts/` holds one Parquet file of results and one of questions per round, and the loop's
    checkpoint named after the last round that is whole. The checkpoint is written last: until it stands, the round
    does not count. `finish` merges the parts; `COMPLETE` is the last file written.

    Args:
        path: the folder; made when the run is claimed.
    """

    STEP: ClassVar[str] = "round"
    """What a run is counted in; a column of its first table."""
    TABLES: ClassVar[Mapping[str, pa.Schema]] = {"rounds": files.ROUNDS, "asked": files.ASKED}
    """Its tables by the names of their files, each with the columns that it must have."""
    AREAS: ClassVar[tuple[str, ...]] = ("map_auc", "coverage_auc")
    """The numbers of its summary that runs are compared by, the main one first."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.parts = self.path / "parts"
        self._folder = Folder(self.path, "runs_dir", self.path / "run.lock", self.path / "heartbeat")
        self.complete = self._folder.marker
        self._error = self.path / "error.txt"

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
            self._sweep()
            try:
                yield
            except Exception as error:
                self._keep(error)
                raise

    def clear(self) -> None:
        """Forget everything this run has found, to run it anew. Only inside `claim`."""
        self._folder.clear()

    def write_config(self, text: str) -> None:
        """Write `config.yaml`, the resolved config."""
        self._folder.write("config.yaml", text.encode())

    def write_queries(self, queries: pd.DataFrame) -> None:
        """Write `queries.parquet`, one row per query."""
        self._folder.write("queries.parquet", files.parquet_bytes(queries, None))

    def queries(self) -> pd.DataFrame:
        """The queries of this run."""
        return files.read_parquet([self.path / "queries.parquet"], None)

    def add_round(self, number: int, rounds: pd.DataFrame, asked: pd.DataFrame, checkpoint: Checkpoint) -> None:
        """Keep one round of all queries. A kill at any instant leaves this round whole, or the one before.

        Args:
            number: of the round; must follow the last one.
            rounds: one row per query, columns as in docs/metrics.md.
            asked: one row per question answered in this round.
            checkpoint: what the loop needs to go on from here: tensors, numbers and text in plain containers.

        Raises:
            ValueError: the round is not the one that follows, or a column is missing.
            OSError: the disk is full; earlier rounds are kept.
        """
        self.add(number, {"rounds": rounds, "asked": asked}, checkpoint)

    def add(self, number: int, tables: Mapping[str, pd.DataFrame], checkpoint: Checkpoint) -> None:
        """Keep one step with all its tables, as `add_round` does.

        Raises:
            ValueError: the step is not the one that follows, or a column is missing.
            OSError: the disk is full; earlier steps are kept.
        """
        last = self.last_round()
        if number != (0 if last is None else last + 1):
            raise ValueError(f"{self.STEP} {number} cannot follow {self.STEP} {last} in {self.path}")
        for name, schema in self.TABLES.items():
            self._folder.write(f"parts/{name}-{number:04d}.parquet", files.parquet_bytes(tables[name], schema))
        self._folder.write_tensors(f"parts/state-{number:04d}.pt", checkpoint)
        if last is not None:
            self._state(last).unlink(missing_ok=True)

    def last_round(self) -> int | None:
        """Number of the last whole round, if there is one."""
        if self.complete.exists():
            return int(self.table(next(iter(self.TABLES)))[self.STEP].max())
        numbers = [int(path.stem.removeprefix("state-")) for path in self.parts.glob("state-*.pt")]
        return max(numbers, default=None)

    def resume(self) -> tuple[int, Any] | None:
        """Number of the last whole round and its checkpoint; what was written after it is discarded.

        Raises:
            StoreError: the checkpoint is damaged, or of an earlier version of the program.
        """
        last = self.last_round()
        if last is None or self.complete.exists():
            return None
        self._folder.check()
        for path in sorted(self.parts.glob("*-*.*")):
            number = int(path.stem.split("-")[1])
            if number > last or (number < last and path.suffix == ".pt"):
                path.unlink()
        return last, read_tensors(self._state(last), "force=true starts the run anew.")

    def rounds(self) -> pd.DataFrame:
        """The results of all whole rounds so far."""
        return self.table("rounds")

    def asked(self) -> pd.DataFrame:
        """The questions of all whole rounds so far."""
        return self.table("asked")

    def table(self, name: str) -> pd.DataFrame:
        """One of `TABLES`, with all whole steps so far."""
        return files.read_parquet(self._tables(name), self.TABLES[name])

    def summary(self) -> dict[str, object]:
        """What `finish` was given."""
        return dict(json.loads((self.path / "summary.json").read_text()))

    def finish(self, summary: Mapping[str, object]) -> None:
        """Merge the parts, write the summary, mark the run complete, and drop the parts."""
        for name, schema in self.TABLES.items():
            self._folder.write(f"{name}.parquet", files.parquet_bytes(self.table(name), schema))
        text = json.dumps(_without_nan(summary), indent=2, allow_nan=False) + "\n"
        self._folder.write("summary.json", text.encode())
        self._folder.check()
        self._folder.finish()
        shutil.rmtree(self.parts)

    def _kept(self) -> str:
        last = self.last_round()
        whole = 0 if last is None else last + 1
        return f"{whole} finished {self.STEP}{' is' if whole == 1 else 's are'} kept in {self.path}"

    def _state(self, number: int) -> Path:
        return self.parts / f"state-{number:04d}.pt"

    def _tables(self, kind: str) -> list[Path]:
        if self.complete.exists():
            return [self.path / f"{kind}.parquet"]
        last = self.last_round()
        return [] if last is None else [self.parts / f"{kind}-{number:04d}.parquet" for number in range(last + 1)]

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for folder in (self.path, *(entry for entry in self.path.iterdir() if entry.is_dir())):
            remove_drafts(folder)
        if self.complete.exists() and self.parts.exists():
            shutil.rmtree(self.parts)

    def _keep(self, error: Exception) -> None:
        last_line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        text = "".join(traceback.format_exception(error)).rstrip() + f"\n\n{last_line}\n"
        with contextlib.suppress(OSError):  # a full disk must not hide what went wrong
            write_bytes(self._error, text.encode(), "runs_dir")


def _without_nan(value: object) -> object:
    """JSON has no word for not-a-number: null stands for it."""
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
