"""`seekloop retrieve`: simulated searches over a collection, from images to curves."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
import yaml
from omegaconf import DictConfig

from seekloop.commands import recipes, sweeps
from seekloop.commands.checks import check
from seekloop.commands.compose import LoopParts, choices, loop_parts, plain
from seekloop.commands.extract import left_out, prepare, report_collection, report_problems
from seekloop.commands.parts import build
from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import many
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import Annotations, Query
from seekloop.extraction.describe import ensure
from seekloop.images.size_shares import size_shares
from seekloop.logs.console import Console
from seekloop.logs.run_folder import RunFolder, RunState
from seekloop.logs.wandb_log import Read, RegionBox, WandbLog, resolve_mode
from seekloop.loop.engine import Loop, check_pool
from seekloop.loop.state import State
from seekloop.protocol.queries import queries_table
from seekloop.protocol.scoreboard import Scoreboard
from seekloop.protocol.simulated_user import SimulatedUser
from seekloop.protocol.simulation import Simulation
from seekloop.protocol.summary import per_class, summarise
from seekloop.store.reader import Store, open_store


def retrieve(config: DictConfig) -> float:
    """Run the searches of a config, or find that they are finished; returns the area under the MAP curve."""
    simulation = Simulation.of({**config.loop, **config.metrics, "seed": config.seed})
    resolve_mode(config.wandb.mode, {})
    if config.verify != "none":
        why = "only `seekloop extract` reads a finished store again"
        raise ConfigError("verify", config.verify, why, "Run that with verify=full and the same choices, then this.")
    console = Console()
    parts = loop_parts(config)
    extraction = prepare(config)
    collection, ahead = extraction.collection, extraction.plan
    user = simulated_user(config, parts, collection.annotations)
    recipe = recipes.retrieval(parts, simulation, user, ahead)
    name = recipes.named(recipes.retrieval_words(parts, config, ahead), recipe)
    folder = RunFolder(Path(config.runs_dir) / config.experiment_name / name)
    sweeps.enter(config, folder.path, console)
    if folder.state() is RunState.DONE and not config.force:
        report_problems(extraction.collection.problems, console)
        return _already_finished(folder, config, console)
    with folder.claim():
        if config.force:
            folder.clear()
        elif folder.complete.exists():  # another process finished it while this one waited
            return _already_finished(folder, config, console)
        described = plain(config) | {"choices": choices(), "run_id": name}
        described |= {"store_key": ahead.key, "recipe": recipe.plain()}
        folder.write_config(yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
        for unknown in recipe.unknown:
            console.say(
                f"{unknown} cannot say what it depends on (give it a method settings): it is run again each time"
            )
        report_collection(collection, console)
        check(parts, user, truth=ahead.parts.truth)
        searches = Searches(config, parts, simulation, collection, folder, console)
        queries, _ = simulation.draw(
            collection.annotations, torch.ones(len(collection.paths), dtype=torch.bool), collection.problems
        )
        check_pool(len(collection.paths) - 1 - simulation.negatives, simulation.rounds, simulation.budget)
        if not ahead.finished:
            size = f"{simulation.rounds} rounds x {simulation.budget}"
            console.say(f"{many(len(queries), 'search', 'searches')} of {size}, once images are described")
        path = ensure(extraction, console.say)
        store = open_store(path, config.grid if ahead.manifest.grids is not None else None)
        return searches.run(store, described)


def simulated_user(config: DictConfig, parts: LoopParts, annotations: Annotations) -> SimulatedUser:
    """The user of a config, who draws boxes where the representation reads them."""
    draws = parts.representation.local.uses_boxes
    user: SimulatedUser = build(config, "user", annotations=annotations, seed=config.seed, draws_boxes=draws)
    return user


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
    """The searches of one run, into a claimed folder."""

    config: DictConfig
    parts: LoopParts
    simulation: Simulation
    collection: Collection
    folder: RunFolder
    console: Console

    def run(self, store: Store, described: dict[str, Any]) -> float:
        """Play all rounds that are missing, measure, draw, and mark the run complete."""
        started = time.monotonic()
        known = self.collection.annotations
        annotations = known.keep(store.readable[known.image])
        queries = self._queries(store, annotations)
        loop = self.parts.loop(store, self.simulation.seed, self.console.say)
        region_box = partial(box_of_region, store)
        with wandb_log(self.folder, described, described, self.collection.read, region_box) as log:
            rounds = self._play(loop, annotations, queries, log)
            summary = self._summary(rounds, store, annotations, started)
            classes = per_class(rounds)
            from seekloop.logs.figures import write_figures

            figures = write_figures(self.folder, classes, self.collection.read, region_box, self.console.say)
            log.finish(summary, classes, figures)
            self.folder.finish(summary)  # before W&B's connection is closed, which a lost network can hold up
        self.console.say(
            f"MAP-AUC {summary['map_auc']:.4f}, coverage-AUC {summary['coverage_auc']:.4f}: {self.folder.path}"
        )
        return float(summary["map_auc"])

    def _summary(self, rounds: pd.DataFrame, store: Store, annotations: Annotations, started: float) -> dict[str, Any]:
        return {
            **summarise(rounds),
            "budget": self.simulation.budget,
            "images": int(store.readable.sum()),
            "left_out": left_out(self.collection.problems, store.readable),
            "size_shares": size_shares(annotations),
            "machine_seconds": round(time.monotonic() - started, 2),
        }

    def _queries(self, store: Store, annotations: Annotations) -> tuple[Query, ...]:
        asked = self.simulation
        queries, without = asked.draw(annotations, store.readable, self.collection.problems)
        check_pool(int(store.readable.sum()) - 1 - asked.negatives, asked.rounds, asked.budget)
        for name, why in without.items():
            self.console.say(f"class {name!r} is left out: {why}")
        boxes, images = len(store.regions.boxes), store.images
        regions = boxes if store.regions.offsets is None else round(boxes / images, 1)
        stored = sum(path.stat().st_size for path in store.folder.glob("*.npy"))
        searches = many(len(queries), "search", "searches")
        classes = many(len({query.class_name for query in queries}), "class", "classes")
        self.console.say(
            f"{searches} ({classes}) of {asked.rounds} rounds x {asked.budget}, "
            f"over {images:,} images x {regions} regions x {store.dim} ({stored / 1e6:,.1f} MB)"
        )
        if not store.readable.all():
            unreadable = int((~store.readable).sum())
            self.console.say(f"{unreadable} images could not be read: {store.folder / 'failures.json'}")
        self.folder.write_queries(queries_table(queries, self.collection.paths))
        return queries

    def _play(self, loop: Loop, annotations: Annotations, queries: tuple[Query, ...], log: WandbLog) -> pd.DataFrame:
        """Rounds from wherever the folder stands, each kept before the next begins."""
        asked, folder = self.simulation, self.folder
        user = simulated_user(self.config, self.parts, annotations)
        board = Scoreboard(
            annotations,
            queries,
            loop.global_descriptors,
            self.collection.paths,
            seed=asked.seed,
            clusters=asked.clusters,
            clusterings=asked.clusterings,
        )
        found = folder.resume()
        if found is None:
            state = loop.start(queries, [user.seed_seconds(asked.negatives)] * len(queries))
        else:
            state = State.unpack(cast(Mapping[str, Any], found[1]), queries, loop.descriptors.images)
        log.catch_up()
        with self.console.rounds(asked.rounds, first=max(state.round, 0)) as show:
            for done, after in loop.rounds(state, user, rounds=asked.rounds, budget=asked.budget):
                rows = board.rounds(done, after)
                folder.add_round(done.number, rows, board.asked(done), after.pack())
                log.catch_up()
                show(done.number, rows)
        return folder.rounds()


def box_of_region(store: Store, image: int, region: int) -> tuple[float, float, float, float]:
    """Where a region lies; WHOLE and PROTOTYPE are the whole image."""
    if region < 0:
        return WHOLE_IMAGE
    x0, y0, x1, y1 = store.regions.of(image)[region].tolist()
    return x0, y0, x1, y1
