"""What `seekloop search` and `seekloop detect` have in common: a run that is measured once, in a folder of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
import yaml
from omegaconf import DictConfig

from seekloop.commands import sweeps
from seekloop.commands.compose import choices, plain
from seekloop.commands.recipes import named
from seekloop.contracts.recipe import Recipe
from seekloop.logs.console import Console
from seekloop.logs.evaluation_folder import EvaluationFolder
from seekloop.logs.figures import Draw, draw_all
from seekloop.logs.run_folder import RunState
from seekloop.logs.wandb_log import WandbLog

Folder = TypeVar("Folder", bound=EvaluationFolder)


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Attributes:
        tables: of the folder's kind.
        table: one row per query or size, for W&B.
        summary: numbers.
        figures: what draws each figure, by its name.
    """

    tables: Mapping[str, pd.DataFrame]
    table: pd.DataFrame
    summary: Mapping[str, Any]
    figures: Mapping[str, Draw]


@dataclass(frozen=True)
class Evaluation(Generic[Folder]):
    """One run of one of the two commands.

    Attributes:
        command: its name.
        config: its config.
        kind: of its folder.
        log: of W&B.
        words: what people look for first in the run's name.
        recipe: what its result depends on.
        returned: the number in its summary that a sweeper goes by.
    """

    command: str
    config: DictConfig
    kind: type[Folder]
    log: type[WandbLog]
    words: Sequence[str]
    recipe: Recipe
    returned: str

    def run(self, report: Callable[[Console], None], evaluate: Callable[[Console], Evaluated]) -> float:
        """Evaluate, keep, draw and tell, unless that was done already; returns the number asked for.

        Args:
            report: says what was left out of the input, where nothing is evaluated.
            evaluate: computes what is kept, and says the same.
        """
        config, console = self.config, Console()
        name = named(self.words, self.recipe)
        folder = self.kind(Path(config.runs_dir) / config.experiment_name / name)
        sweeps.enter(config, folder.path, console)
        if folder.state() is RunState.DONE and not config.force:
            report(console)
            return self._told(folder, console, "already finished (force=true runs it again), ")
        with folder.claim():
            if config.force:
                folder.clear()
            elif folder.complete.exists():  # another process finished it while this one waited
                return self._told(folder, console, "already finished, ")
            described = {
                "command": self.command,
                **plain(config),
                "choices": choices(),
                "run_id": name,
                "recipe": self.recipe.plain(),
            }
            folder.write_config(yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
            found = evaluate(console)
            folder.keep(found.tables)
            with self._wandb(folder, described) as log:
                figures = draw_all(folder.path / "figures", found.figures, console.say)
                log.finish(found.summary, found.table, figures)
                folder.finish(found.summary)
        return self._told(folder, console, "")

    def _wandb(self, folder: Folder, described: Mapping[str, Any]) -> WandbLog:
        about = {"name": folder.path.name, "group": self.config.experiment_name, "config": described}
        settings = plain(self.config.wandb)
        return self.log(folder, run_id=folder.path.name, read=None, region_box=None, **about, **settings)

    def _told(self, folder: Folder, console: Console, before: str) -> float:
        summary = folder.summary()
        known = [(area, summary.get(area)) for area in folder.AREAS]
        numbers = ", ".join(f"{area} {value:.4f}" for area, value in known if isinstance(value, float))
        console.say(f"{before}{numbers}: {folder.path}")
        value = summary[self.returned]
        return float(value) if isinstance(value, (int, float)) else float("nan")
