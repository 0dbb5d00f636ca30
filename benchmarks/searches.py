"""Simulated searches in lockstep over a synthetic store, played as `seekloop retrieve` plays them, with a stopwatch."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmarks.synthetic import Names, World, annotations, open_world
from seekloop.commands.compose import build_loop, resolve
from seekloop.contracts.protocols import User
from seekloop.contracts.records import Annotations, Query
from seekloop.loop.engine import Loop
from seekloop.protocol.queries import draw_queries
from seekloop.protocol.scoreboard import Scoreboard

METHODS = {"fit": "fit", "scored": "score", "propose": "select", "learn": "learn"}
P = ParamSpec("P")
R = TypeVar("R")


def settle() -> None:
    """Wait for the GPU, where one is at work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass
class Stopwatch:
    """Seconds per part, lap by lap. A part inside a part of the same name is not counted again."""

    laps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    running: set[str] = field(default_factory=set)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add what happens inside to a part."""
        if name in self.running:
            yield
            return
        self.running.add(name)
        started = time.perf_counter()
        try:
            yield
            settle()
        finally:
            self.running.remove(name)
        self.laps[name].append(time.perf_counter() - started)

    def around(self, name: str, work: Callable[P, R]) -> Callable[P, R]:
        """The same function, its time added to a part."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.part(name):
                return work(*args, **kwargs)

        return timed

    @property
    def seconds(self) -> dict[str, float]:
        """Sum of every part."""
        return {name: sum(laps) for name, laps in self.laps.items()}


def watch(loop: Loop, stopwatch: Stopwatch) -> Loop:
    """The loop, with its fitting, scoring, selecting and learning timed; the object itself is changed."""
    for method, part in METHODS.items():
        setattr(loop, method, stopwatch.around(part, getattr(loop, method)))
    return loop


def simulated(config: DictConfig, known: Annotations, loop: Loop) -> User:
    """The user of a config."""
    user: User = instantiate(config.user, _partial_=True)(known, config.seed, loop.representation.local.uses_boxes)
    return user


def drawn(config: DictConfig, known: Annotations, images: int) -> tuple[Query, ...]:
    """The searches of a config."""
    settings = config.loop
    readable = torch.ones(images, dtype=torch.bool)
    return draw_queries(
        known,
        readable,
        queries=settings.queries,
        negatives=settings.negatives,
        classes=settings.classes,
        seed=config.seed,
    )[0]


def composed(representation: str, rounds: int, queries: int, words: Sequence[str]) -> DictConfig:
    """The config of `seekloop retrieve` with these overrides."""
    overrides = [f"representation={representation}", f"loop.rounds={rounds}", f"loop.queries={queries}"]
    return resolve("retrieve", [*overrides, *words])


@dataclass(frozen=True)
class Played:
    """What searches in lockstep took and found: results per search and round, images asked (q, T, b)."""

    stopwatch: Stopwatch
    total: float
    rounds: pd.DataFrame
    asked: torch.Tensor
    queries: tuple[Query, ...]
    loop: Loop


def play(config: DictConfig, world: World, stores: Path) -> Played:
    """All rounds of all searches, with the metrics and tables that a run writes; files and figures are left out.

    The clock starts before the store is opened and stops after the last round's metrics.
    """
    known = annotations(world)
    queries = drawn(config, known, world.images)
    stopwatch = Stopwatch()
    started = time.perf_counter()
    with stopwatch.part("open"):
        loop = watch(build_loop(config, open_world(world, stores)), stopwatch)
    with stopwatch.part("clusters"):
        names = Names(world.images)
        board = Scoreboard(known, queries, loop.global_descriptors, names, seed=config.seed, **config.metrics)
    user = simulated(config, known, loop)
    state = loop.start(queries, [0.0] * len(queries))
    tables, asked = [], []
    for round_, after in loop.rounds(state, user, rounds=config.loop.rounds, budget=config.loop.budget):
        with stopwatch.part("metrics"):
            tables.append(board.rounds(round_, after))
            board.asked(round_)
        asked.append(round_.asked.cpu())
    settle()
    total = time.perf_counter() - started
    stopwatch.laps["rest"].append(total - sum(stopwatch.seconds.values()))
    picks = torch.stack(asked[1:], dim=1) if len(asked) > 1 else torch.empty(len(queries), 0, 0, dtype=torch.long)
    return Played(stopwatch, total, pd.concat(tables, ignore_index=True), picks, queries, loop)


def curve(rounds: pd.DataFrame, query: Query) -> list[float]:
    """Average precision of a search, round by round."""
    mine = rounds[(rounds["class_name"] == query.class_name) & (rounds["query"] == query.number)]
    return [float(value) for value in mine.sort_values("round")["ap"]]


def rounded(values: dict[str, float], digits: int = 3) -> dict[str, float]:
    """For reading."""
    return {name: round(value, digits) for name, value in values.items()}


def cell_of(value: object) -> str:
    """Three digits of a number with a fraction, all of those before its point."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table_of(lines: Sequence[tuple[Any, ...]], headers: Sequence[str]) -> str:
    """A table in Markdown."""
    text = [[cell_of(value) for value in line] for line in lines]
    rows = [list(headers), ["---"] * len(headers), *text]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
