"""`seekloop learn`: deep active learning over a pool, from images to accuracy against labels."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from omegaconf import DictConfig
from PIL import Image

from seekloop.commands import recipes, sweeps
from seekloop.commands.checks import check_learning
from seekloop.commands.compose import choices, plain
from seekloop.commands.extract import report_problems
from seekloop.commands.parts import build
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.learning import NetworkSource, Pool, PoolSource, Pretrainer, Propagation
from seekloop.contracts.problems import counted
from seekloop.contracts.randomness import derived_seed
from seekloop.contracts.recipe import Recipe
from seekloop.learning.cycles import Learning, PseudoLabeller, Row, State
from seekloop.learning.measures import pseudo_label_measures
from seekloop.learning.schemes import Scheme
from seekloop.learning.splits import check_budget
from seekloop.learning.tables import per_class, summarise, tables_of
from seekloop.learning.training import Training
from seekloop.lightning.precision import training_precision
from seekloop.logs.console import Console
from seekloop.logs.learn_folder import LearnFolder
from seekloop.logs.run_folder import RunState
from seekloop.logs.wandb_learn import LearnLog
from seekloop.training.fitting import LightningFit
from seekloop.training.networks import seen_by
from seekloop.training.pretraining import claimed

EVERY_SECONDS = 30.0  # between two lines about epochs


@dataclass(frozen=True)
class Parts:
    """What a config describes, built; the images are not read yet."""

    config: DictConfig
    source: PoolSource
    network: NetworkSource
    pretraining: Pretrainer | None
    scheme: Scheme
    training: Training
    criterion: Any
    propagation: Propagation

    @cached_property
    def recipe(self) -> Recipe:
        """What the result depends on."""
        built = (self.source, self.network, self.pretraining, self.scheme, self.training, self.criterion)
        return recipes.learning(self.config, *built, self.propagation)

    @property
    def run_id(self) -> str:
        """Name of the run: what people look for first, then a hash of its recipe."""
        chosen = [choices().get(group) for group in ("dataset", "pretraining", "semi", "criterion")]
        words = [word for word in chosen if word != "none"]
        return recipes.named([*words, f"p{self.config.split}", f"s{self.config.seed}"], self.recipe)

    @property
    def labeller(self) -> PseudoLabeller | None:
        """The criterion, if it gives pseudo-labels of its own."""
        return self.criterion if isinstance(self.criterion, PseudoLabeller) else None

    def weights_folder(self, pretraining: Pretrainer) -> Path:
        """Where the pre-trained weights are that this run would start from."""
        recipe = recipes.weights(self.source, self.network, pretraining, self.config.seed)
        words = [choices().get(group) for group in ("dataset", "model", "pretraining")]
        return Path(self.config.store_dir) / "pretrained" / recipes.named(words, recipe)


def parts_of(config: DictConfig) -> Parts:
    """Build what a config describes.

    Raises:
        ConfigError: if a setting cannot work.
    """
    training = build(config, "training")
    return Parts(
        config,
        build(config, "dataset"),
        build(config, "model"),
        build(config, "pretraining"),
        build(config, "semi"),
        replace(training, precision=training_precision(training.precision, config.accelerator)),
        build(config, "criterion"),
        build(config, "propagation"),
    )


def learn(config: DictConfig) -> float:
    """Run the cycles of a config, or find that they are finished; returns the area under the accuracy curve."""
    check_learning(config)
    console = Console()
    parts = parts_of(config)
    folder = LearnFolder(Path(config.runs_dir) / config.experiment_name / parts.run_id)
    sweeps.enter(config, folder.path, console)
    if folder.state() is RunState.DONE and not config.force:
        return _already_finished(folder, config, console)
    with folder.claim():
        if config.force:
            folder.clear()
        elif folder.complete.exists():  # another process finished it while this one waited
            return _already_finished(folder, config, console)
        described = {"command": "learn", **plain(config), "choices": choices(), "run_id": folder.path.name}
        described["training"] |= {"precision": parts.training.precision}
        described["recipe"] = parts.recipe.plain()
        folder.write_config(yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
        return Cycles(parts, seen_by(parts.source.load(), parts.network), folder, console).run(described)


def _already_finished(folder: LearnFolder, config: DictConfig, console: Console) -> float:
    """Say what was found; an agent of W&B that deals out these settings waits to be told as well."""
    summary = folder.summary()
    if os.environ.get("WANDB_SWEEP_ID"):
        with wandb_log(folder, config, yaml.safe_load((folder.path / "config.yaml").read_text()), None) as log:
            log.finish(summary, per_class(folder.table("classes")), sorted((folder.path / "figures").glob("*.png")))
    area = float(str(summary["accuracy_auc"]))
    console.say(f"already finished, accuracy {summary['accuracy_final']:.4f}: {folder.path} (force=true runs it again)")
    return area


def wandb_log(folder: LearnFolder, config: DictConfig, described: Mapping[str, Any], pool: Pool | None) -> LearnLog:
    """W&B's run of a folder."""
    return LearnLog(
        folder,
        run_id=folder.path.name,
        name=folder.path.name,
        group=config.experiment_name,
        config=described,
        read=None if pool is None else (lambda image: picture(pool, image)),
        region_box=None,
        **plain(config.wandb),
    )


def picture(pool: Pool, image: int) -> Image.Image:
    """An image of the pool, for people."""
    return Image.fromarray(pool.train.images[image].permute(1, 2, 0).contiguous().numpy())


@dataclass(frozen=True)
class Cycles:
    """The cycles of one run, into a claimed folder."""

    parts: Parts
    pool: Pool
    folder: LearnFolder
    console: Console

    def run(self, described: dict[str, Any]) -> float:
        """Run all cycles that are missing, measure, draw, and mark the run complete."""
        config, folder = self.parts.config, self.folder
        report_problems(self.pool.problems, self.console)
        try:
            check_budget(self.pool, config.learning.initial, config.learning.cycles, config.learning.budget)
        except ConfigError as error:
            raise error.located("learning") from error
        criterion = self.parts.criterion
        if self.parts.labeller is not None and self.parts.scheme.propagates:
            why = "this criterion has pseudo-labels of its own, which propagated ones would replace"
            raise ConfigError(
                "semi", choices().get("semi"), why, "Use semi=none with it, with or without pre-training."
            )
        log = wandb_log(folder, config, described, self.pool)
        with log:
            self._play(criterion, log)
            summary = self._summary()
            classes = per_class(folder.table("classes"))
            from seekloop.logs.learn_figures import write_figures

            figures = write_figures(folder, classes, lambda image: picture(self.pool, image), self.console.say)
            log.finish(summary, classes, figures)
            folder.finish(summary)
        self.console.say(
            f"accuracy {summary['accuracy_final']:.4f} with {summary['labels_final']} labels: {folder.path}"
        )
        return float(summary["accuracy_auc"])

    def _play(self, criterion: Any, log: LearnLog) -> None:  # noqa: ANN401 - whatever the config names
        """Cycles from wherever the folder stands, each kept before the next begins."""
        learning = self._learning(criterion, log)
        total = self.parts.config.learning.cycles
        state = self._resumed() or learning.start()
        log.catch_up()
        started = time.monotonic()
        for cycle, after in learning.cycles(state, total):
            seconds, started = time.monotonic() - started, time.monotonic()
            if self.parts.config.keep_views:
                seen = cycle.learnt.train
                found_here = {"features": seen.features, "probabilities": seen.probabilities, "labels": cycle.labels}
                self.folder.keep_view(cycle.number, found_here)
            tables = tables_of(cycle, self.pool, self.parts.config.split, seconds)
            self.folder.add(cycle.number, tables, {"run": self.folder.path.name, **after.pack()})
            log.catch_up()
            (row,) = tables["cycles"].to_dict("records")
            self.console.say(f"cycle {cycle.number}/{total - 1}: {found(row)}")

    def _resumed(self) -> State | None:
        resumed = self.folder.resume()
        if resumed is None:
            return None
        checkpoint: Any = resumed[1]
        self._check(str(checkpoint["run"]))
        return State.unpack(checkpoint)

    def _check(self, name: str) -> None:
        """Refuse checkpoints that were put here by somebody else.

        Raises:
            StoreError: if it is of another run.
        """
        if name != self.folder.path.name:
            raise StoreError(
                f"{self.folder.parts} holds a checkpoint of {name}, which had other settings. force=true starts anew"
            )

    def _learning(self, criterion: Any, log: LearnLog) -> Learning:  # noqa: ANN401
        config, pool = self.parts.config, self.pool
        talk = Talk(self.console, self.parts.training.epochs)

        def tell(cycle: int, row: Row) -> None:
            log.catch_up()
            talk.epoch(cycle, row)

        fit = LightningFit(
            pool=pool,
            source=self.parts.network,
            training=self.parts.training,
            scheme=self.parts.scheme,
            propagation=self.parts.propagation,
            weights=self._weights(),
            seed=config.seed,
            split=config.split,
            accelerator=config.accelerator,
            keeper=self.folder,
            watch=lambda known, labels: pseudo_label_measures(known, pool.train.labels, labels),
            tell=tell,
        )
        numbers = config.learning
        first = (numbers.initial, numbers.budget, config.seed, config.split)
        return Learning(pool, criterion, fit, *first, self.parts.labeller, self.console.say)

    def _weights(self) -> Path | None:
        """Pre-trained weights, made by whichever run needs them first."""
        config = self.parts.config
        pretrain = self.parts.pretraining
        if pretrain is None:
            return None
        folder = self.parts.weights_folder(pretrain)
        with claimed(folder, self.console.say):
            network = self.parts.network.build(len(self.pool.classes), derived_seed(config.seed, "pretraining"))
            return pretrain(network, self.pool, folder, derived_seed(config.seed, "pretraining"))

    def _summary(self) -> dict[str, Any]:
        cycles = self.folder.table("cycles")
        return {
            **summarise(cycles),
            "images": len(self.pool.train),
            "test_images": len(self.pool.test),
            "classes": len(self.pool.classes),
            "left_out": counted(self.pool.problems),
            "epochs": int(cycles["epochs"].sum()),
            "iterations": int(self.folder.table("epochs")["iterations"].sum()),
            "machine_seconds": round(float(cycles["seconds"].sum()), 2),
        }


class Talk:
    """A line about epochs now and then.

    Args:
        console: where to.
        epochs: of a cycle.
    """

    def __init__(self, console: Console, epochs: int) -> None:
        self.console, self.epochs = console, epochs
        self.last = time.monotonic()

    def epoch(self, cycle: int, row: Row) -> None:
        """Say something if it is time."""
        if time.monotonic() - self.last < EVERY_SECONDS:
            return
        self.last = time.monotonic()
        pseudo = row.get("pseudo_accuracy")
        more = "" if pseudo is None else f", {pseudo:.3f} of pseudo-labels right"
        epoch = int(str(row["epoch"])) + 1
        self.console.say(f"cycle {cycle}, epoch {epoch}/{self.epochs} ({row['stage']}): loss {row['loss']:.3f}{more}")


def found(row: Mapping[Any, Any]) -> str:
    """A cycle in a line."""
    pseudo = row["pseudo_accuracy"]
    more = "" if pd.isna(pseudo) else f", {pseudo:.3f} of pseudo-labels right"
    return f"{row['labels']} labels, accuracy {row['accuracy']:.4f}{more} ({row['seconds']:.0f} s)"
