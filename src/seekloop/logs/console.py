"""Messages and progress of a run, for the person watching it."""

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

        Where the output is no terminal, a line every few rounds, and after the first timed one an estimate of the rest.

        Args:
            total: number of the last round.
            first: number of the round that the run starts, or goes on, from.
        """
        started: list[float] = []

        def show(number: int, rows: "pd.DataFrame") -> None:
            started.append(time.monotonic())
            if len(started) == 2 and number < total:
                left = duration((started[1] - started[0]) * GROWTH * (total - number))
                self.say(f"about {left} for the rounds to come")
            if number % EVERY == 0 or number == total:
                self.say(f"round {number}/{total}: {in_a_line(rows)}")

        with self._bar("rounds", total, first, False) as move:
            yield show if move is None else lambda number, rows: move(number, in_a_line(rows))

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Progress over things that are counted; silent where the output is not a terminal.

        Args:
            what: is being done.
            total: how many there are.
        """
        with self._bar(what, total, 0, True) as move:
            yield (lambda done: None) if move is None else lambda done: move(done, "")

    @contextmanager
    def _bar(self, what: str, total: int, done: int, transient: bool) -> Iterator[Callable[[int, str], None] | None]:
        """A bar that is moved to a number, with words behind it; None where the output is no terminal of this run."""
        if self.name or not self.terminal.is_terminal:
            yield None
            return
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(TextColumn(what), *columns, console=self.terminal, transient=transient) as progress:
            task = progress.add_task("", total=total, completed=done)
            yield lambda number, words: progress.update(task, completed=number, description=words)


def duration(seconds: float) -> str:
    """A time to wait, as people say it.

    Example:
        >>> duration(50.0), duration(200.0), duration(9000.0)
        ('50 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def in_a_line(rows: "pd.DataFrame") -> str:
    """MAP, coverage and positives of one round: mean of each class first, then over classes."""
    means = rows.groupby("class_name")[["ap", "coverage", "positives"]].mean().mean()
    return f"MAP {means['ap']:.3f}, coverage {means['coverage']:.3f}, {means['positives']:.1f} found"
