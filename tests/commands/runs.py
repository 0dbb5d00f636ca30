"""Command lines small enough for tests, run in this process, and what they leave."""

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from PIL import Image

from seekloop.commands.cli import run

SMALL = (
    "collection=scenes",
    "collection.images=40",
    "backbone=tiny",
    "loop.queries=1",
    "loop.classes=['1','3']",
    "loop.rounds=3",
    "loop.budget=3",
    "metrics.clusters=4",
    "metrics.clusterings=2",
    "trainer=cpu",
    "trainer.workers=0",
    "trainer.batch_size=8",
    "store.shard=16",
    "wandb.mode=disabled",
)
EXTRACTED = tuple(word for word in SMALL if word.startswith(("collection", "backbone", "trainer", "store")))


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed."""

    code: Any
    out: str
    err: str


def seekloop(*arguments: str) -> Outcome:
    """One command line, in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.object(sys, "argv", sys.argv):
        try:
            run(arguments)
        except SystemExit as stop:
            code = stop.code
    return Outcome(code or 0, out.getvalue(), err.getvalue())


def places(folder: Path, stores: Path) -> tuple[str, str]:
    """Where runs and stores go."""
    return f"runs_dir={folder}", f"store_dir={stores}"


def worked(outcome: Outcome) -> Outcome:
    """The same outcome, of a command that must have ended well."""
    assert outcome.code == 0, outcome.err + outcome.out
    return outcome


def refused(outcome: Outcome) -> str:
    """What a command said that ended with an explained error: one line, no traceback."""
    assert outcome.code == 1, outcome.out + outcome.err
    assert "Traceback" not in outcome.err
    assert "Error in call to target" not in outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, outcome.err
    return lines[0]


def folder_of(outcome: Outcome) -> Path:
    """The run folder named in the last line."""
    return Path(outcome.out.strip().splitlines()[-1].split(": ", 1)[1].split(" (")[0])


def results(folder: Path) -> dict[str, bytes]:
    """The tables of a finished run, byte for byte."""
    return {name: (folder / name).read_bytes() for name in ("rounds.parquet", "asked.parquet", "queries.parquet")}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file at or below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def photograph(path: Path, number: int, size: tuple[int, int] = (48, 32)) -> None:
    """A picture that is not like the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (7 * number % 256, 90, 160))
    image.paste((250, 40 * number % 256, 20), (4, 4, 4 + size[0] // 3, 4 + size[1] // 3))
    image.save(path)
