"""The folder of one run: what it found so far, round by round, whole whenever it is looked at."""

import contextlib
import io
import json
import math
import shutil
import traceback
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import pyarrow as pa

from seekloop.contracts.lazy import lazily
from seekloop.logs import files
from seekloop.logs.claim import Claim

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


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
        self.complete = self.path / "COMPLETE"
        self._error = self.path / "error.txt"
        self._claim = Claim(self.path)

    def state(self) -> RunState:
        """Running, done, failed, interrupted, or never started."""
        if self.complete.exists():
            return RunState.DONE
        if self._claim.alive():
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
            RunBusyError: another process is running it.
        """
        with self._claim.hold():
            self._error.unlink(missing_ok=True)
            self._sweep()
            try:
                yield
            except Exception as error:
                self._keep(error)
                raise

    def clear(self) -> None:
        """Forget everything this run has found, to run it anew. Only inside `claim`."""
        self._claim.check()
        self.complete.unlink(missing_ok=True)
        keep = {self._claim.lock.name, self._claim.heartbeat.name}
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in keep:
                entry.unlink()

    def write_config(self, text: str) -> None:
        """Write `config.yaml`, the resolved config."""
        self._write("config.yaml", text.encode())

    def write_queries(self, queries: pd.DataFrame) -> None:
        """Write `queries.parquet`, one row per query."""
        self._write("queries.parquet", files.parquet_bytes(queries, None))

    def queries(self) -> pd.DataFrame:
        """The queries of this run."""
        return files.read_parquet([self.path / "queries.parquet"], None)

    def add_round(self, number: int, rounds: pd.DataFrame, asked: pd.DataFrame, checkpoint: object) -> None:
        """Keep one round of all queries. A kill at any instant leaves this round whole, or the one before.

        Args:
            number: of the round; must follow the last one.
            rounds: one row per query, columns as in docs/metrics.md.
            asked: one row per question answered in this round.
            checkpoint: what the loop needs to go on from here; anything that `torch.save` takes.

        Raises:
            ValueError: the round is not the one that follows, or a column is missing.
            OSError: the disk is full; earlier rounds are kept.
        """
        self.add(number, {"rounds": rounds, "asked": asked}, checkpoint)

    def add(self, number: int, tables: Mapping[str, pd.DataFrame], checkpoint: object) -> None:
        """Keep one step with all its tables, as `add_round` does.

        Raises:
            ValueError: the step is not the one that follows, or a column is missing.
            OSError: the disk is full; earlier steps are kept.
        """
        last = self.last_round()
        if number != (0 if last is None else last + 1):
            raise ValueError(f"{self.STEP} {number} cannot follow {self.STEP} {last} in {self.path}")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        for name, schema in self.TABLES.items():
            self._write(f"parts/{name}-{number:04d}.parquet", files.parquet_bytes(tables[name], schema))
        self._write(f"parts/state-{number:04d}.pt", buffer.getvalue())
        if last is not None:
            self._state(last).unlink(missing_ok=True)

    def last_round(self) -> int | None:
        """Number of the last whole round, if there is one."""
        if self.complete.exists():
            return int(self.table(next(iter(self.TABLES)))[self.STEP].max())
        numbers = [int(path.stem.removeprefix("state-")) for path in self.parts.glob("state-*.pt")]
        return max(numbers, default=None)

    def resume(self) -> tuple[int, object] | None:
        """Number of the last whole round and its checkpoint; what was written after it is discarded.

        The checkpoint is unpickled: it is this program's own file, as trustworthy as the folder it lies in.
        """
        last = self.last_round()
        if last is None or self.complete.exists():
            return None
        self._claim.check()
        for path in sorted(self.parts.glob("*-*.*")):
            number = int(path.stem.split("-")[1])
            if number > last or (number < last and path.suffix == ".pt"):
                path.unlink()
        return last, torch.load(self._state(last), map_location="cpu", weights_only=False)

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
            self._write(f"{name}.parquet", files.parquet_bytes(self.table(name), schema))
        self._write("summary.json", (json.dumps(_without_nan(summary), indent=2, allow_nan=False) + "\n").encode())
        self._write("COMPLETE", b"")
        shutil.rmtree(self.parts)

    def _write(self, name: str, content: bytes) -> None:
        self._claim.check()
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        files.write_atomically(path, content)

    def _state(self, number: int) -> Path:
        return self.parts / f"state-{number:04d}.pt"

    def _tables(self, kind: str) -> list[Path]:
        if self.complete.exists():
            return [self.path / f"{kind}.parquet"]
        last = self.last_round()
        return [] if last is None else [self.parts / f"{kind}-{number:04d}.parquet" for number in range(last + 1)]

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for path in [*self.path.glob("*.tmp"), *self.parts.glob("*.tmp")]:
            path.unlink(missing_ok=True)
        if self.complete.exists() and self.parts.exists():
            shutil.rmtree(self.parts)

    def _keep(self, error: Exception) -> None:
        last_line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        text = "".join(traceback.format_exception(error)).rstrip() + f"\n\n{last_line}\n"
        with contextlib.suppress(OSError):  # a full disk must not hide what went wrong
            files.write_atomically(self._error, text.encode())


def _without_nan(value: object) -> object:
    """JSON has no word for not-a-number: null stands for it."""
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
