"""Every kind of artifact, killed at each of its writes and deletions, copied elsewhere, and taken up again there."""

import os
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from seekloop.contracts.recipe import Recipe
from seekloop.extraction.texts import text_vectors
from seekloop.images.files import load_facts, save_facts
from seekloop.learning.kind import LEARNING
from seekloop.logs.jobs import JobBook
from seekloop.logs.run_folder import RunFolder, RunState
from seekloop.protocol.kinds import INSTANCES, REGIONS, WORDS
from seekloop.store import found, kept_maps, open_store
from seekloop.store.manifest import store_folder
from seekloop.training import pretraining
from seekloop.training.pretraining import PretrainingFolder
from tests.logs.fakes import fill, run_folder
from tests.store.stores import complete, manifest
from tests.store.test_found import image_of


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Death:
    """Lets so many files be moved, and files and folders be deleted; then every further attempt ends the process."""

    def __init__(self, monkeypatch, moment):
        self.left = moment
        for name in ("replace", "unlink", "rmdir"):
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))

    def counted(self, real):
        def call(*args, **kwargs):
            if self.left == 0:
                raise Killed
            self.left -= 1
            return real(*args, **kwargs)

        return call


def run(folder):
    with run_folder(folder).claim():  # which clears up after the dead, also in a finished run
        pass
    if run_folder(folder).state() is not RunState.DONE:
        fill(run_folder(folder))


def rows_of(kind):
    """One row of each table."""
    values = {"string": "a", "bool": True}
    return {
        name: pd.DataFrame([{column: values.get(of, 1) for column, of in columns.items()}])
        for name, columns in kind.tables.items()
    }


def evaluation(kind):
    tables = rows_of(kind)

    def evaluate(folder):
        run = RunFolder(folder, kind)
        with run.claim():
            if not run.complete.exists():
                run.write_config(f"command: {kind.command}\n")
                run.add_once(tables)
                run.finish({"map_all": 0.5})

    return evaluate


def learn(folder):
    """Two cycles, the second of two epochs."""
    run = RunFolder(folder, LEARNING)
    rows = rows_of(LEARNING)
    with run.claim():
        resumed = run.resume()
        if run.complete.exists():
            return
        run.write_config("command: learn\n")
        for cycle in range(0 if resumed is None else resumed[0] + 1, 2):
            kept = run.kept(cycle)
            for epoch in range(0 if kept is None else kept["epoch"], 1 + cycle):
                run.keep(cycle, {"epoch": epoch + 1, "rows": [{"epoch": epoch}]})
            run.keep_view(cycle, {"features": torch.ones(2)})
            tables = {name: table.assign(cycle=cycle) for name, table in rows.items()}
            run.add(cycle, tables, {"cycle": cycle})
        run.finish({"accuracy_auc": 0.5})


def descriptors(folder):
    whole, local = torch.arange(10.0).reshape(5, 2), torch.arange(40.0).reshape(20, 2)
    with store_folder(folder).claim(lambda: "", print):
        if not store_folder(folder).finished:
            complete(folder, manifest(shard=3), whole, local, unreadable=(4,))


def regions(folder):
    images = [image_of(seed, 1 + seed % 2, 2, 3) for seed in range(5)]
    with store_folder(folder).claim(lambda: "", print):
        if not store_folder(folder).finished:
            for shard in found.begin(folder, Recipe("regions", {"detector": "any"}), 5):
                writer = found.FoundWriter(folder, 5)
                for image in shard:
                    writer.add(image, images[image])
            found.finish(folder, 5)


def maps(folder):
    with store_folder(folder).claim(lambda: "", print):
        kept_maps.begin(folder, Recipe("maps", {"feature": "tokens"}))
        for image in (0, 2):
            if kept_maps.kept_map(folder, image) is None:
                kept_maps.keep_map(folder, image, torch.full((1, 2, 3), float(image)))
        kept_maps.finish(folder, [0, 2])


def index(folder):
    faiss_tests = pytest.importorskip("tests.store.test_index")
    folder.parent.mkdir(parents=True, exist_ok=True)
    faiss_tests.opened(folder)


def weights(folder):
    with pretraining.claimed(folder, print):
        place = PretrainingFolder(folder, "settings")
        if place.weights.exists():
            return
        kept = place.kept()
        for epoch in range(kept["epoch"] if kept else 0, 3):
            place.keep({"epoch": epoch + 1, "rows": [{"epoch": number} for number in range(epoch + 1)]})
        place.finish({"w": torch.ones(2)})


def jobs(folder):
    book = JobBook(folder)
    book.plan({"a": ["seed=0"], "b": ["seed=1"]})
    book.started("a", "run-a")


def hashes(folder):
    for size in (1, 2):
        save_facts(folder / "memory.json", {**load_facts(folder / "memory.json"), f"{size}.png": [size, 0, 0, "hash"]})


class Encoder:
    """Texts by their lengths."""

    name, dim, space, weights_hash = "lengths", 2, "lengths", "0"

    def __call__(self, texts):
        return torch.tensor([[float(len(text)), 1.0] for text in texts])


def texts(folder):
    assert text_vectors(Encoder(), ["a", "bus"], folder, print).tolist() == [[1.0, 1.0], [3.0, 1.0]]


KINDS = {
    "run": run,
    "learn": learn,
    "search": evaluation(INSTANCES),
    "detect": evaluation(REGIONS),
    "words": evaluation(WORDS),
    "texts": texts,
    "descriptors": descriptors,
    "regions": regions,
    "maps": maps,
    "index": index,
    "weights": weights,
    "jobs": jobs,
    "hashes": hashes,
}
APART = ("heartbeat", "run.lock")


def contents(folder: Path, kind):
    """Every file; drafts aside where nobody can know whether the process that left one is dead."""
    unclaimed = kind in ("jobs", "hashes")
    beside = (".lock", ".heartbeat")  # of a folder further down
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in APART]
    files = [path for path in files if not any(ending in path.suffixes for ending in beside)]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in files if not (unclaimed and path.suffix == ".tmp")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_write_and_copied_elsewhere_it_ends_the_same(tmp_path, monkeypatch, kind):
    """A finished one is the same when it is asked for again; drafts of the dead are gone."""
    monkeypatch.setattr(found, "SHARD", 3)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    make = KINDS[kind]
    make(tmp_path / "whole")
    whole = contents(tmp_path / "whole", kind)
    kills = 0
    for moment in range(200):
        part, moved = tmp_path / f"{moment}" / "there", tmp_path / f"{moment}" / "elsewhere" / "here"
        try:
            with monkeypatch.context() as patch:
                Death(patch, moment)
                make(part)
            break
        except Killed:
            kills += 1
        if part.exists():
            shutil.copytree(part, moved)
        make(moved)
        assert contents(moved, kind) == whole, moment
        make(moved)
        assert contents(moved, kind) == whole, moment
    assert contents(part, kind) == whole
    assert kills > len(whole)  # at each file at least, and once more before or after


@pytest.mark.parametrize("kind", ["jobs", "hashes"])
def test_drafts_that_nobody_has_touched_for_an_hour_are_gone_with_the_next_write(tmp_path, kind):
    """Two of dead processes beside a file that any process may write: one an hour old, one a minute short of it."""
    KINDS[kind](tmp_path)
    place = next(tmp_path.rglob("*.json")).parent
    for name, age in (("dead", 3600), ("alive", 3540)):
        (place / f"{name}.tmp").write_bytes(b"half")
        os.utime(place / f"{name}.tmp", (time.time() - age,) * 2)
    KINDS[kind](tmp_path)
    assert [path.name for path in place.glob("*.tmp")] == ["alive.tmp"]


def test_a_copied_store_opens_where_it_lies(tmp_path):
    descriptors(tmp_path / "there")
    shutil.move(tmp_path / "there", tmp_path / "here")
    assert open_store(tmp_path / "here", None).readable.tolist() == [True] * 4 + [False]


def test_nothing_of_a_killed_evaluation_stands_in_the_way_of_its_successor(tmp_path):
    """Ended between its tables and its end; the next one finds other numbers, and these are what stands."""
    folder = RunFolder(tmp_path / "run", INSTANCES)
    rows = rows_of(INSTANCES)
    with folder.claim():
        folder.add_once(rows)
    with folder.claim():
        folder.add_once({**rows, "results": rows["results"].assign(ap=0.25)})
        folder.finish({"map_all": 0.25})
    assert folder.table("results")["ap"].tolist() == [0.25]
    assert folder.state() is RunState.DONE
