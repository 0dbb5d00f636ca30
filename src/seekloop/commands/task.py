"""One life of a run, for all commands: refuse what cannot work, name, claim, run, finish."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import yaml
from omegaconf import DictConfig

from seekloop.commands import sweeps
from seekloop.commands.compose import choices, plain
from seekloop.commands.extract import report_problems
from seekloop.commands.recipes import named
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem
from seekloop.contracts.recipe import Recipe
from seekloop.logs.console import Console
from seekloop.logs.kind import RunKind
from seekloop.logs.run_folder import RunFolder, RunState
from seekloop.logs.wandb_log import WandbLog, resolve_mode

Section = TypeVar("Section")

if TYPE_CHECKING:
    from seekloop.logs.drawing import Draw
    from seekloop.logs.pictures import Read, RegionBox


def refuse(config: DictConfig) -> None:
    """Refuse what cannot work in any command that leaves a run.

    Raises:
        ConfigError: naming the key.
    """
    try:
        resolve_mode(config.wandb.mode, {})
    except ConfigError as error:
        raise error.located("wandb") from error
    if config.get("verify", "none") != "none":
        why = "only `seekloop extract` reads a finished store again"
        raise ConfigError("verify", config.verify, why, "Run that with verify=full and the same choices, then this.")


def section(config: DictConfig, name: str, kind: type[Section]) -> Section:
    """The numbers of a section of the config, of declared types and ranges.

    Raises:
        ConfigError: naming the key.
    """
    try:
        return kind(**plain(config[name]))
    except ConfigError as error:
        raise error.located(name) from error


@dataclass(frozen=True)
class Task:
    """A run that is asked for.

    Attributes:
        config: of the command.
        kind: of the run.
        words: what people look for first in the run's name.
        recipe: what its result depends on.
        overview: the table that W&B shows at the end, from the folder of a finished run: a row per class, or query.
        problems: of the input, repeated where the run is found finished.
        noted: further entries of the run's config.
        artifacts: folders of the descriptors, regions and weights that it uses.
        returned: the number of its summary that a sweeper goes by; empty: the main one of its kind.
        basis: what the numbers of the last line rest on, behind them, such as "after 50 images judged".
    """

    config: DictConfig
    kind: RunKind
    words: Sequence[object]
    recipe: Recipe
    overview: Callable[[RunFolder], pd.DataFrame]
    problems: Sequence[Problem] = ()
    noted: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Sequence[Path] = ()
    returned: str = ""
    basis: str = ""

    def run(self, work: "Callable[[Run], Outcome]") -> float:
        """Do the work, keep, draw and log what comes of it, unless that was done already; returns the number asked for.

        Raises:
            BusyError: if another process is running it.
            Interrupted: if a person stops it; the same command goes on.
        """
        config, console = self.config, Console()
        name = named(self.words, self.recipe)
        folder = RunFolder(Path(config.runs_dir) / config.experiment_name / name, self.kind)
        sweeps.enter(config, folder.path, console)
        if folder.state() is RunState.DONE and not config.force:
            return self._already_finished(folder, console)
        with folder.claim(), ExitStack() as stack:
            if config.force:
                folder.clear()
            elif folder.complete.exists():  # another process finished it while this one waited
                return self._already_finished(folder, console)
            described = {"command": self.kind.command, **plain(config), "choices": choices(), "run_id": name}
            described |= {**self.noted, "recipe": self.recipe.plain()}
            folder.write_config(yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
            for part in self.recipe.unknown:
                console.say(f"{part} cannot tell its settings (give it a method settings): it is run again each time")
            run = Run(self, folder, console, described, stack, list(self.artifacts))
            outcome = work(run)
            from seekloop.logs.figures import write_figures

            log, table = run.log(), self.overview(folder)
            figures = write_figures(
                folder, table, run.read, run.region_box, console.say, outcome.drawn, outcome.summary
            )
            log.finish(outcome.summary, table, figures)
            folder.finish(outcome.summary)  # before W&B's connection is closed, which a lost network can hold up
        return self._told(folder, console, "", "")

    def wandb(self, run: "Run") -> WandbLog:
        """W&B's run of a folder."""
        settings, artifacts = plain(self.config.wandb), [path.name for path in run.artifacts]
        about = {"group": self.config.experiment_name, "config": run.described, "artifacts": artifacts, **settings}
        return WandbLog(run.folder, read=run.read, region_box=run.region_box, **about)

    def _already_finished(self, folder: RunFolder, console: Console) -> float:
        """Say what was found; an agent of W&B that deals out these settings waits to be told as well."""
        report_problems(self.problems, console)
        if os.environ.get("WANDB_SWEEP_ID"):
            with ExitStack() as stack:
                log = Run(self, folder, console, folder.config, stack, list(self.artifacts)).log()
                log.finish(folder.summary(), self.overview(folder), sorted((folder.path / "figures").glob("*.png")))
        return self._told(folder, console, "already finished, ", " (force=true runs it again)")

    def _told(self, folder: RunFolder, console: Console, before: str, after: str) -> float:
        summary = folder.summary()
        known = [(name, summary.get(name)) for name in self.kind.numbers]
        numbers = [
            f"{self.kind.printed.get(name, name)} {value:.4f}" for name, value in known if isinstance(value, float)
        ]
        basis = f" {self.basis}" if self.basis else ""
        console.say(f"{before}{', '.join(numbers)}{basis}: {folder.path}{after}")
        value = summary[self.returned or self.kind.numbers[0]]
        return float(value) if isinstance(value, (int, float)) else float("nan")


@dataclass
class Run:
    """A run under way, in its claimed folder.

    Attributes:
        task: that it is of.
        folder: of its tables.
        console: where messages for people go.
        described: its config, with choices and recipe.
        stack: closes W&B's run at the end.
        artifacts: folders of the descriptors, regions and weights that it uses.
        read: gives an image by its position, for pictures.
        region_box: (image, region) to the region's box.
    """

    task: Task
    folder: RunFolder
    console: Console
    described: Mapping[str, Any]
    stack: ExitStack
    artifacts: list[Path]
    read: "Read | None" = None
    region_box: "RegionBox | None" = None
    _log: WandbLog | None = None

    def log(self) -> WandbLog:
        """W&B's run, opened at the first call."""
        if self._log is None:
            self._log = self.stack.enter_context(self.task.wandb(self))
        return self._log


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run, beside the tables in its folder.

    Attributes:
        summary: numbers.
        drawn: further figures: what draws each, by its name.
    """

    summary: Mapping[str, Any]
    drawn: "Mapping[str, Draw]" = field(default_factory=dict)
