"""What a person watching a run sees: messages, and rounds as they pass."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    import pandas as pd

EVERY = 5  # rounds between two lines where the output is not a terminal
GROWTH = 2.5  # a mean round takes about this many times the first: training rows accumulate

Show = Callable[[int, "pd.DataFrame"], None]


class Console:
    """Messages and progress on standard output; plain lines where that is a file, or where several runs share it.

    Attributes:
        name: of the run, at the beginning of every line, where others speak at the same time.
    """

    def __init__(self) -> None:
        self.terminal = Terminal(highlight=False, soft_wrap=True)
        self.name = ""

    def say(self, message: str) -> None:
        """Print one line."""
        self.terminal.print(f"{self.name}: {message}" if self.name else message, markup=False)

    @contextmanager
    def rounds(self, total: int, first: int) -> Iterator[Show]:
        """Progress over rounds; call the result with each round's number and its rows of results.

        Args:
            total: number of the last round.
            first: number of the round that the run starts, or goes on, from.
        """
        if self.name or not self.terminal.is_terminal:
            yield self._lines(total)
            return
        columns = (
            TextColumn("rounds"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=self.terminal) as progress:
            task = progress.add_task("", total=total, completed=first)
            yield lambda number, rows: progress.update(task, completed=number, description=found(rows))

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Progress over things that are counted; silent where the output is not a terminal.

        Args:
            what: is being done.
            total: how many there are.
        """
        if self.name or not self.terminal.is_terminal:
            yield lambda done: None
            return
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.terminal, transient=True) as progress:
            task = progress.add_task("", total=total)
            yield lambda done: progress.update(task, completed=done)

    def _lines(self, total: int) -> Show:
        """A line every few rounds; after the first timed one, an estimate of the whole."""
        started: list[float] = []

        def show(number: int, rows: "pd.DataFrame") -> None:
            started.append(time.monotonic())
            if len(started) == 2 and number < total:
                self.say(
                    f"about {duration((started[1] - started[0]) * GROWTH * (total - number))} for the rounds to come"
                )
            if number % EVERY == 0 or number == total:
                self.say(f"round {number}/{total}: {found(rows)}")

        return show


def duration(seconds: float) -> str:
    """A time to wait, as people say it.

    Example:
        >>> duration(50.0), duration(200.0), duration(9000.0)
        ('50 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def found(rows: "pd.DataFrame") -> str:
    """MAP, coverage and positives of one round: mean of each class first, then over classes."""
    means = rows.groupby("class_name")[["ap", "coverage", "positives"]].mean().mean()
    return f"MAP {means['ap']:.3f}, coverage {means['coverage']:.3f}, {means['positives']:.1f} found"
