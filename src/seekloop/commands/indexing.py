"""The process that indexes for `seekloop serve`: it describes a collection in growing parts, and watches its folder.

It reads orders from its standard input, and writes reports to its standard output, a line of JSON each. It ends when
its input does.
"""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from seekloop.app.indexing import Program
from seekloop.backbones.weights import hub
from seekloop.commands.cli import interrupted_by_sigterm
from seekloop.commands.compose import plain
from seekloop.commands.composed import explained
from seekloop.commands.extract import prepare
from seekloop.commands.parts import build
from seekloop.contracts.protocols import Collection
from seekloop.extraction.estimate import seconds_per_image
from seekloop.extraction.growing import Growing, divided
from seekloop.extraction.plan import Extraction
from seekloop.images.files import FileCollection
from seekloop.images.part import within
from seekloop.images.walk import stamp
from seekloop.lightning.progress import told
from seekloop.logs.console import duration

NICE = 10  # of 19: other processes go first
EVERY = 30.0  # seconds between two looks at the folder
SHARE = 20  # a look that takes long is taken less often: once in so many times its own time
SETTLE = 2.0  # seconds in which nothing changes, before files that are being copied are read
BETWEEN = 0.25  # seconds between two reports of progress
MEASURED = 8  # images that the time of one is measured on
LEAVE = 10.0  # seconds to leave in, once the input has ended


def program(config: DictConfig, weights: str) -> Program:
    """The program that indexes the collection of a config.

    Args:
        config: of any command that extracts.
        weights: command that fetches the backbone's weights, for the message where they are missing (`hub.fetching`).
    """
    first = json.dumps({"config": plain(config), "weights": weights})
    return Program((sys.executable, "-m", "seekloop.commands.indexing"), first)


def collection_of(config: DictConfig) -> Collection:
    """The images that a config serves: without those outside its folder, to which links lead, unless it wants them.

    Raises:
        ConfigError: if there are none.
    """
    collection: Collection = build(config, "collection")
    everything = OmegaConf.select(config, "serve.links", default=True)
    return collection if everything or not isinstance(collection, FileCollection) else within(collection)


class Reports:
    """Reports of one collection, written as lines of JSON.

    Args:
        output: takes a line.
    """

    def __init__(self, output: Callable[[str], object]) -> None:
        self.output = output
        self.done = self.total = 0
        self.pace: float | None = None  # seconds per image
        self._first: tuple[float, int] | None = None  # time and images at the first batch of a part
        self._last = 0.0

    def begin(self, done: int, total: int) -> None:
        """Begin to count; nothing is known of the time yet."""
        self.done, self.total, self.pace = done, total, None

    def part(self) -> None:
        """Begin a part: its pace is measured anew."""
        self._first = None

    def say(self, message: str) -> None:
        """A line for the terminal."""
        self.write({"kind": "said", "message": message})

    def state(self, state: str, message: str) -> None:
        """How far indexing is."""
        running = state == "running" and self.pace is not None
        left = (self.total - self.done) * (self.pace or 0.0) if running else None
        about = {"done": self.done, "total": self.total, "seconds_left": left, "state": state, "message": message}
        self.write({"kind": "state", "state": about})

    def progress(self, doing: str, done: int, images: int) -> None:
        """Take the progress of a part in; reported a few times a second."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        elif done > self._first[1]:
            self.pace = (now - self._first[0]) / (done - self._first[1])
        self.done = max(self.done, done)
        if now - self._last > BETWEEN or done == images:
            self._last = now
            self.state("running", f"{doing}: {done:,} of {images:,} images")

    def write(self, report: Mapping[str, Any]) -> None:
        """One report."""
        self.output(json.dumps(report))


class Indexer:
    """Indexes a collection, then watches its folder, and indexes what has changed.

    Args:
        config: of any command that extracts.
        reports: of what happens.
        looking: set where somebody wants the folder to be looked at now.
    """

    def __init__(self, config: DictConfig, reports: Reports, looking: threading.Event) -> None:
        self.config, self.reports, self.looking = config, reports, looking
        self.searched = 0
        root = OmegaConf.select(config, "collection.root")
        self.root = None if root is None else Path(root).expanduser().absolute()

    def watch(self) -> None:
        """Index, wait for a change, and again, for ever. What a person can put right is reported, and waited for."""
        seen = self._stamp()
        while True:
            try:
                self._index()
                worked = True
            except Exception as error:
                shown = explained(error)
                if shown is None:
                    raise
                self.reports.say(f"error: {shown}")
                self.reports.state("failed", str(shown))
                worked = False
            self._until_changed(seen, worked)
            seen = self._settled()

    def _index(self) -> None:
        """Describe what is missing, part by part."""
        reports = self.reports
        reports.state("running", "looking at the collection")
        stage = prepare(self.config, collection_of(self.config))
        parts = divided(stage, self.searched)
        reports.begin(parts.known, len(stage.collection.paths))
        self._estimate(stage, parts)
        with told(reports.progress):
            reports.part()
            for store in parts.stores(reports.say):
                reports.done = self.searched = len(store.paths)
                superseded = [str(folder) for folder in store.superseded]
                about = {"folder": str(store.folder), "paths": store.paths, "whole": store.whole}
                reports.write({"kind": "store", **about, "superseded": superseded})
                reports.part()
        reports.state("finished", "")

    def _estimate(self, stage: Extraction, parts: Growing) -> None:
        """Say how long it will take, unless it is done or Lightning would take a GPU, whose pace shows at once."""
        reports, first = self.reports, parts.parts[0]
        missing = reports.total - parts.known
        on_gpu = stage.trainer.accelerator != "cpu" and torch.cuda.is_available()
        if missing <= MEASURED or on_gpu or first.plan.parts.regions is None:
            return
        if len(parts.parts) == 1 and first.plan.finished:
            return
        reports.state("running", "measuring how long an image takes")
        reports.pace = seconds_per_image(first, range(min(MEASURED, len(first.collection.paths))))
        time_left = duration(missing * reports.pace)
        message = f"describing {missing:,} images takes about {time_left} ({reports.pace:.3f} s an image)"
        reports.say(message)
        reports.state("running", message)

    def _settled(self) -> str:
        """The stamp of the folder, once it has not changed for a moment."""
        seen = self._stamp()
        while self.root is not None and (now := self._after(SETTLE)) != seen:
            seen = now
        return seen

    def _until_changed(self, seen: str, worked: bool) -> None:
        """Wait until the folder has another stamp, or somebody asks for another attempt at what did not work."""
        wait = EVERY
        while True:
            asked = self.looking.wait(wait)
            self.looking.clear()
            began = time.monotonic()
            if self._stamp() != seen or (asked and not worked):
                break
            if asked:
                self.reports.state("finished", "")
            wait = max(EVERY, SHARE * (time.monotonic() - began))
        self.reports.state("running", "the folder has changed" if worked else "trying again")

    def _after(self, seconds: float) -> str:
        time.sleep(seconds)
        return self._stamp()

    def _stamp(self) -> str:
        return "" if self.root is None else stamp(self.root)


def obey(orders: io.FileIO, looking: threading.Event) -> None:
    """Take orders until there are no more, since the server has ended; then leave, as at SIGTERM."""
    while orders.readline():
        looking.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LEAVE)
    os._exit(1)


def main() -> None:
    """Index until the input ends."""
    reports = Reports(partial(print, file=sys.stdout, flush=True))
    sys.stdout = sys.stderr  # what libraries print is no report
    orders, looking = io.FileIO(0), threading.Event()
    if hasattr(os, "nice"):
        os.nice(NICE)
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    with interrupted_by_sigterm(), contextlib.suppress(KeyboardInterrupt):
        first = json.loads(orders.readline())
        threading.Thread(target=obey, args=(orders, looking), daemon=True).start()
        with hub.offline(first["weights"]):
            Indexer(OmegaConf.create(first["config"]), reports, looking).watch()


if __name__ == "__main__":
    main()
