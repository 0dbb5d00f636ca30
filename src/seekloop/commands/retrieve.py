"""`seekloop retrieve`: simulated searches over a collection, from images to curves."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
import yaml
from hydra.utils import instantiate
from jaxtyping import Bool
from omegaconf import DictConfig
from torch import Tensor

from seekloop.commands import sweeps
from seekloop.commands.checks import check, check_numbers
from seekloop.commands.compose import build_loop, choices, plain
from seekloop.commands.extract import left_out, prepare, report_collection
from seekloop.commands.indexing import index_identity
from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import Annotations, Query
from seekloop.images.size_shares import size_shares
from seekloop.logs.console import Console
from seekloop.logs.run_folder import RunFolder, RunState
from seekloop.logs.wandb_log import Read, RegionBox, WandbLog, resolve_mode
from seekloop.loop.engine import Loop, check_pool
from seekloop.loop.state import State
from seekloop.protocol.queries import draw_queries, queries_table
from seekloop.protocol.scoreboard import Scoreboard
from seekloop.protocol.summary import per_class, summarise
from seekloop.store.manifest import content_key
from seekloop.store.reader import Store, open_store

# What a run's result depends on, beside its store and annotations. Folders, trainer, logs and launcher are not here.
SCIENTIFIC = ("grid", "local", "fusion", "classifier", "criterion", "user", "loop", "metrics", "seed")


def run_id(config: DictConfig, store_key: str, annotations: Annotations) -> str:
    """Name of a run: what people look for first, then a hash of the scientific keys, the store and the annotations."""
    scientific = {key: value for key, value in plain(config).items() if key in SCIENTIFIC}
    chosen = choices()
    words = [chosen.get("local"), chosen.get("fusion"), config.grid, chosen.get("criterion"), f"s{config.seed}"]
    scientific |= {"precision": config.engine.precision} | index_identity(config)
    digest = content_key({**scientific, "store": store_key, "annotations": annotations.fingerprint()})[:10]
    return "-".join([str(word).replace("+", "_") for word in words if word] + [digest])


def retrieve(config: DictConfig) -> float:
    """Run the searches of a config, or find that they are finished; returns the area under the MAP curve."""
    check_numbers(config)
    resolve_mode(config.wandb.mode, {})
    if config.verify != "none":
        why = "only `seekloop extract` reads a finished store again"
        raise ConfigError("verify", config.verify, why, "Run that with verify=full and the same choices, then this.")
    console = Console()
    extraction = prepare(config)
    ahead = extraction.plan()
    folder = RunFolder(
        Path(config.runs_dir) / config.experiment_name / run_id(config, ahead.key, extraction.collection.annotations)
    )
    sweeps.enter(config, folder.path, console)
    if folder.state() is RunState.DONE and not config.force:
        return _already_finished(folder, config, console)
    with folder.claim():
        if config.force:
            folder.clear()
        elif folder.complete.exists():  # another process finished it while this one waited
            return _already_finished(folder, config, console)
        described = plain(config) | {"choices": choices(), "store_key": ahead.key}
        folder.write_config(yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
        report_collection(extraction.collection, console)
        check(config, extraction.collection, truth=ahead.parts.truth)
        if not ahead.finished:
            console.say(_to_come(config, extraction.collection))
        path = extraction.ensure(console.say)
        store = open_store(path, config.grid if ahead.manifest.grids is not None else None)
        return Searches(config, extraction.collection, store, folder, console).run(described)


def _to_come(config: DictConfig, collection: Collection) -> str:
    """What waits for the images to be described; of unreadable ones nothing is known yet."""
    everything = torch.ones(len(collection.paths), dtype=torch.bool)
    queries, _ = _drawn(config, collection, collection.annotations, everything)
    return f"{len(queries)} searches of {config.loop.rounds} rounds x {config.loop.budget}, once images are described"


def _drawn(
    config: DictConfig, collection: Collection, annotations: Annotations, readable: Bool[Tensor, " n"]
) -> tuple[tuple[Query, ...], dict[str, str]]:
    """The searches of a config, and the classes that cannot be searched with the reason."""
    asked = {key: config.loop[key] for key in ("queries", "negatives", "classes")}
    return draw_queries(annotations, readable, **asked, seed=config.seed, problems=collection.problems)


def _already_finished(folder: RunFolder, config: DictConfig, console: Console) -> float:
    """Say what was found; an agent of W&B that deals out these settings waits to be told as well."""
    summary = folder.summary()
    if os.environ.get("WANDB_SWEEP_ID"):
        described = yaml.safe_load((folder.path / "config.yaml").read_text())
        with wandb_log(folder, plain(config), described, None, None) as log:
            log.finish(summary, per_class(folder.rounds()), sorted((folder.path / "figures").glob("*.png")))
    area = float(str(summary["map_auc"]))
    console.say(f"already finished, MAP-AUC {area:.4f}: {folder.path} (force=true runs it again)")
    return area


def wandb_log(
    folder: RunFolder,
    config: Mapping[str, Any],
    described: Mapping[str, Any],
    read: Read | None,
    region_box: RegionBox | None,
) -> WandbLog:
    """W&B's run of a folder: where it goes is up to `config`, what it is to `described`."""
    return WandbLog(
        folder,
        run_id=folder.path.name,
        name=folder.path.name,
        group=config["experiment_name"],
        config=described,
        read=read,
        region_box=region_box,
        **config["wandb"],
    )


@dataclass(frozen=True)
class Searches:
    """The searches of one run, over an open store, into a claimed folder."""

    config: DictConfig
    collection: Collection
    store: Store
    folder: RunFolder
    console: Console

    def run(self, described: dict[str, Any]) -> float:
        """Play all rounds that are missing, measure, draw, and mark the run complete."""
        started = time.monotonic()
        known = self.collection.annotations
        annotations = known.keep(self.store.readable[known.image])
        queries = self._queries(annotations)
        loop = build_loop(self.config, self.store)
        with wandb_log(self.folder, described, described, self.collection.read, self._region_box) as log:
            rounds = self._play(loop, annotations, queries, log)
            summary = self._summary(rounds, annotations, started)
            classes = per_class(rounds)
            from seekloop.logs.figures import write_figures

            figures = write_figures(self.folder, classes, self.collection.read, self._region_box)
            log.finish(summary, classes, figures)
            self.folder.finish(summary)  # before W&B's connection is closed, which a lost network can hold up
        self.console.say(
            f"MAP-AUC {summary['map_auc']:.4f}, coverage-AUC {summary['coverage_auc']:.4f}: {self.folder.path}"
        )
        return float(summary["map_auc"])

    def _summary(self, rounds: pd.DataFrame, annotations: Annotations, started: float) -> dict[str, Any]:
        return {
            **summarise(rounds),
            "budget": self.config.loop.budget,
            "images": int(self.store.readable.sum()),
            "left_out": left_out(self.collection.problems, self.store.readable),
            "size_shares": size_shares(annotations),
            "machine_seconds": round(time.monotonic() - started, 2),
        }

    def _region_box(self, image: int, region: int) -> tuple[float, float, float, float]:
        """Where a region lies; WHOLE and PROTOTYPE are the whole image."""
        if region < 0:
            return WHOLE_IMAGE
        x0, y0, x1, y1 = self.store.regions.of(image)[region].tolist()
        return x0, y0, x1, y1

    def _queries(self, annotations: Annotations) -> tuple[Query, ...]:
        settings = self.config.loop
        queries, left_out = _drawn(self.config, self.collection, annotations, self.store.readable)
        check_pool(int(self.store.readable.sum()) - 1 - settings.negatives, settings.rounds, settings.budget)
        for name, why in left_out.items():
            self.console.say(f"class {name!r} is left out: {why}")
        boxes, images = len(self.store.regions.boxes), self.store.images
        regions = boxes if self.store.regions.offsets is None else round(boxes / images, 1)
        stored = sum(path.stat().st_size for path in self.store.folder.glob("*.npy"))
        self.console.say(
            f"{len(queries)} searches ({len({query.class_name for query in queries})} classes) of {settings.rounds} "
            f"rounds x {settings.budget}, over {images:,} images x {regions} regions x {self.store.dim} "
            f"({stored / 1e6:,.1f} MB)"
        )
        if not self.store.readable.all():
            unreadable = int((~self.store.readable).sum())
            self.console.say(f"{unreadable} images could not be read: {self.store.folder / 'failures.json'}")
        self.folder.write_queries(queries_table(queries, self.collection.paths))
        return queries

    def _play(self, loop: Loop, annotations: Annotations, queries: tuple[Query, ...], log: WandbLog) -> pd.DataFrame:
        """Rounds from wherever the folder stands, each kept before the next begins."""
        config, folder = self.config, self.folder
        draws_boxes = loop.representation.local.uses_boxes
        user = instantiate(config.user, _partial_=True)(annotations, config.seed, draws_boxes)
        board = Scoreboard(annotations, queries, loop.whole, self.collection.paths, seed=config.seed, **config.metrics)
        found = folder.resume()
        if found is None:
            state = loop.start(queries, [user.seed_seconds(config.loop.negatives)] * len(queries))
        else:
            state = State.unpack(cast(Mapping[str, Any], found[1]), queries, self.store.images)
        log.catch_up()
        with self.console.rounds(config.loop.rounds, first=max(state.round, 0)) as show:
            for done, after in loop.rounds(state, user, rounds=config.loop.rounds, budget=config.loop.budget):
                rows = board.rounds(done, after)
                folder.add_round(done.number, rows, board.asked(done), after.pack())
                log.catch_up()
                show(done.number, rows)
        return folder.rounds()
