"""`seekloop learn`: deep active learning over a dataset, from images to accuracy against labels."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig
from PIL import Image

from seekloop.commands.checks import check_learning
from seekloop.commands.compose import choices, plain
from seekloop.commands.extract import report_problems
from seekloop.commands.parts import build
from seekloop.commands.recipes import named
from seekloop.commands.task import Outcome, Run, Task, refuse
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.learning import Dataset, DatasetSource, NetworkSource, Pretrainer, Propagation
from seekloop.contracts.problems import counted
from seekloop.contracts.randomness import derived_seed
from seekloop.contracts.recipe import Json, Recipe, settings
from seekloop.learning.cycles import Learning, PseudoLabeller, Row, State
from seekloop.learning.descent import Training
from seekloop.learning.kind import LEARNING
from seekloop.learning.measures import pseudo_label_measures
from seekloop.learning.schemes import Scheme
from seekloop.learning.splits import check_budget
from seekloop.learning.tables import per_class, summarise, tables_of
from seekloop.lightning.precision import training_precision
from seekloop.training.fitting import LightningFit
from seekloop.training.networks import seen_by
from seekloop.training.pretraining import claimed

EVERY_SECONDS = 30.0  # between two lines about epochs


@dataclass(frozen=True)
class Parts:
    """Parts of a config, built; the images are not read yet."""

    config: DictConfig
    source: DatasetSource
    network: NetworkSource
    pretraining: Pretrainer | None
    scheme: Scheme
    training: Training
    criterion: Any
    propagation: Propagation

    @cached_property
    def recipe(self) -> Recipe:
        """Everything that the result depends on. Label propagation is a part where the scheme propagates labels."""
        known: dict[str, Json] = {
            "command": "learn",
            "network": settings(self.network),
            "scheme": settings(self.scheme),
            "training": settings(self.training),
            "criterion": settings(self.criterion),
            "learning": plain(self.config.learning),
            "seed": self.config.seed,
            "split": self.config.split,
            "propagation": settings(self.propagation) if self.scheme.propagates else None,
        }
        return Recipe("run", known, (self._images, *([] if self.pretraining is None else [self._weights])))

    @property
    def _images(self) -> Recipe:
        return Recipe("dataset", {"content": self.source.fingerprint()})

    @property
    def _weights(self) -> Recipe:
        """Recipe of the pre-trained weights."""
        parts = {"network": settings(self.network), "pretraining": settings(self.pretraining)}
        return Recipe("weights", {**parts, "seed": self.config.seed}, (self._images,))

    @property
    def labeller(self) -> PseudoLabeller | None:
        """The criterion, if it gives pseudo-labels of its own."""
        return self.criterion if isinstance(self.criterion, PseudoLabeller) else None

    @cached_property
    def weights(self) -> Path | None:
        """Folder of the pre-trained weights that this run starts from; None without pre-training."""
        if self.pretraining is None:
            return None
        words = [choices().get(group) for group in ("dataset", "model", "pretraining")]
        return Path(self.config.store_dir) / "pretrained" / named(words, self._weights)


def parts_of(config: DictConfig) -> Parts:
    """Build the parts of a config.

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
    refuse(config)
    parts = parts_of(config)
    if parts.labeller is not None and parts.scheme.propagates:
        why = "this criterion has pseudo-labels of its own, which propagated ones would replace"
        fix = "Use semi=none with it, with or without pre-training."
        raise ConfigError("semi", choices().get("semi"), why, fix)
    chosen = [choices().get(group) for group in ("dataset", "pretraining", "semi", "criterion")]
    return Task(
        config,
        LEARNING,
        [*(word for word in chosen if word != "none"), f"p{config.split}", f"s{config.seed}"],
        parts.recipe,
        overview=lambda folder: per_class(folder.table("classes")),
        noted={"training": {**plain(config.training), "precision": parts.training.precision}},
        artifacts=[] if parts.weights is None else [parts.weights],
    ).run(lambda run: cycles(parts, run))


def cycles(parts: Parts, run: Run) -> Outcome:
    """Run the cycles that a claimed folder lacks, each kept before the next begins."""
    config, folder, say = parts.config, run.folder, run.console.say
    dataset = seen_by(parts.source.load(), parts.network)
    report_problems(dataset.problems, run.console)
    numbers = config.learning
    check_budget(dataset, numbers.initial, numbers.cycles, numbers.budget)
    run.read = lambda image: Image.fromarray(dataset.train.images[image].permute(1, 2, 0).contiguous().numpy())
    log = run.log()
    fit = LightningFit(
        dataset=dataset,
        source=parts.network,
        training=parts.training,
        scheme=parts.scheme,
        propagation=parts.propagation,
        weights=pretrained(parts, dataset, run),
        seed=config.seed,
        split=config.split,
        accelerator=config.accelerator,
        keeper=folder,
        watch=lambda known, labels: pseudo_label_measures(known, dataset.train.labels, labels),
        tell=Talk(run, parts.training.epochs).epoch,
    )
    first = (numbers.initial, numbers.budget, config.seed, config.split)
    learning = Learning(dataset, parts.criterion, fit, *first, parts.labeller, say)
    state = resumed(run) or learning.start()
    log.catch_up()
    started = time.monotonic()
    for cycle, after in learning.cycles(state, numbers.cycles):
        seconds, started = time.monotonic() - started, time.monotonic()
        if config.keep_views:
            seen = cycle.learnt.train
            view = {"features": seen.features, "probabilities": seen.probabilities, "labels": cycle.labels}
            folder.keep_view(cycle.number, view)
        tables = tables_of(cycle, dataset, config.split, seconds)
        for name, columns in LEARNING.tables.items():  # empty where a scheme has no pseudo-labels, weights, questions
            tables[name] = tables[name].reindex(columns=list(dict.fromkeys([*columns, *tables[name]])))
        folder.add(cycle.number, tables, {"run": folder.path.name, **after.pack()})
        log.catch_up()
        (row,) = tables["cycles"].to_dict("records")
        right = share_right(row)
        accuracy = f"{row['labels']} labels, accuracy {row['accuracy']:.4f}{right} ({row['seconds']:.0f} s)"
        say(f"cycle {cycle.number}/{numbers.cycles - 1}: {accuracy}")
    table = folder.table("cycles")
    return Outcome(
        {
            **summarise(table),
            "images": len(dataset.train),
            "test_images": len(dataset.test),
            "classes": len(dataset.classes),
            "left_out": counted(dataset.problems),
            "epochs": int(table["epochs"].sum()),
            "iterations": int(folder.table("epochs")["iterations"].sum()),
            "machine_seconds": round(float(table["seconds"].sum()), 2),
        }
    )


def resumed(run: Run) -> State | None:
    """The state after the last whole cycle; None at the start.

    Raises:
        StoreError: if the checkpoint is of another run.
    """
    kept = run.folder.resume()
    if kept is None:
        return None
    checkpoint: Any = kept[1]
    if checkpoint["run"] != run.folder.path.name:
        what = f"{run.folder.parts} holds a checkpoint of {checkpoint['run']}, which had other settings"
        raise StoreError(f"{what}. force=true starts anew")
    return State.unpack(checkpoint)


def pretrained(parts: Parts, dataset: Dataset, run: Run) -> Path | None:
    """File of pre-trained weights, made by whichever run needs them first."""
    if parts.pretraining is None or parts.weights is None:
        return None
    with claimed(parts.weights, run.console.say):
        seed = derived_seed(parts.config.seed, "pretraining")
        return parts.pretraining(parts.network.build(len(dataset.classes), seed), dataset, parts.weights, seed)


def share_right(row: Mapping[Any, Any]) -> str:
    """The accuracy of pseudo-labels in words; empty without any."""
    share = row.get("pseudo_accuracy")
    return "" if share is None or pd.isna(share) else f", {share:.3f} of pseudo-labels right"


class Talk:
    """A line about epochs now and then; every epoch goes to W&B.

    Args:
        run: under way.
        epochs: of a cycle.
    """

    def __init__(self, run: Run, epochs: int) -> None:
        self.run, self.epochs, self.last = run, epochs, time.monotonic()

    def epoch(self, cycle: int, row: Row) -> None:
        """Tell of an epoch."""
        self.run.log().catch_up()
        if time.monotonic() - self.last < EVERY_SECONDS:
            return
        self.last = time.monotonic()
        where = f"cycle {cycle}, epoch {int(str(row['epoch'])) + 1}/{self.epochs} ({row['stage']})"
        self.run.console.say(f"{where}: loss {row['loss']:.3f}{share_right(row)}")
