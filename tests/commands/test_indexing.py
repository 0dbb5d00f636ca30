"""The process that indexes, on a folder of small pictures, as a server starts it."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seekloop.app.indexing import Indexing
from seekloop.commands import indexing
from seekloop.commands.compose import resolve
from seekloop.commands.indexing import Reports, program
from seekloop.store import open_store
from tests.commands.processes import ROOT, until
from tests.commands.runs import photograph

SERVER = """
import sys, time
from seekloop.app.indexing import Indexing, Program
served = Indexing(Program((sys.executable, "-m", "seekloop.commands.indexing"), sys.stdin.readline()), print)
served.start()
print(served.pid, flush=True)
time.sleep(600)
"""
WEIGHTS = "seekloop extract backbone=tiny collection.images=1"


def config(root: Path, *overrides: str):
    chosen = ["collection=folder", f"collection.root={root}", f"store_dir={root.parent / 'stores'}", "trainer=cpu"]
    return resolve("extract", [*chosen, "trainer.batch_size=2", "trainer.workers=0", *overrides])


@pytest.fixture
def album(tmp_path):
    for number in range(40):
        photograph(tmp_path / "album" / f"{number:03d}.png", number)
    return tmp_path / "album"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def reported(lines: list[str]) -> list[dict]:
    return [json.loads(line) for line in lines]


def described(said: list[str]) -> list[int]:
    """How many images each store has described anew."""
    return [int(line.rsplit(", ", 1)[1].split()[0]) for line in said if line.endswith("are described")]


@pytest.mark.slow
def test_a_folder_is_indexed_in_parts_killed_and_goes_on_with_new_files(album):
    """First 16 images, then all 40. Killed and started anew it describes the one that is new, and no other."""
    stores, said = [], []

    def opened(store):
        stores.append((len(store.paths), open_store(store.folder, "4x4").images, store.whole))

    served = Indexing(program(config(album), WEIGHTS), opened, say=said.append)
    served.start()
    try:
        until(lambda: served.state.state == "finished", lambda: f"{served.state} {said}")
        assert stores == [(16, 16, False), (40, 40, True)]
        assert described(said) == [24]
        assert any(line.startswith("describing 40 images takes about") for line in said)
        os.kill(served.pid, signal.SIGKILL)
        until(lambda: served.state.state == "failed")
        photograph(album / "new" / "one.png", 100)
        served.rescan()
        until(lambda: served.state.state == "finished", lambda: f"{served.state} {said}")
        assert stores[-1] == (41, 41, True)
        assert described(said)[1:] == [1]
        photograph(album / "new" / "two.png", 101)
        served.rescan()
        until(lambda: stores[-1] == (42, 42, True), lambda: f"{served.state} {said}")
        assert described(said)[2:] == [1]
        until(lambda: len(list((album.parent / "stores").glob("*/COMPLETE"))) == 1)
    finally:
        served.stop()
    assert not served.alive


@pytest.mark.slow
def test_it_ends_when_its_server_is_killed(album):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, stdin=pipe, stdout=pipe, text=True, env=environment
    )
    with server:
        server.stdin.write(program(config(album), WEIGHTS).first + "\n")
        server.stdin.close()
        pid = int(server.stdout.readline())
        assert alive(pid)
        server.kill()
    until(lambda: not alive(pid))


def watched(settings, monkeypatch, looks):
    """What the indexer reports in this process, until the waits for a change are over; each wait does something."""
    output, waits = [], iter(looks)

    class Ended(BaseException):
        pass

    class Looking(threading.Event):
        def wait(self, timeout=None):
            try:
                next(waits)()
            except StopIteration:
                raise Ended from None
            return True

    monkeypatch.setattr(indexing, "SETTLE", 0.01)
    with pytest.raises(Ended):
        indexing.Indexer(settings, Reports(output.append), Looking()).watch()
    return reported(output)


def states(reports):
    return [one["state"]["state"] for one in reports if one["kind"] == "state"]


def test_a_look_at_an_unchanged_folder_describes_nothing_and_ends_in_finished(album, monkeypatch):
    for number in range(10, 40):
        (album / f"{number:03d}.png").unlink()
    reports = watched(config(album), monkeypatch, [lambda: None, lambda: (album / "000.png").unlink()])
    stores = [one for one in reports if one["kind"] == "store"]
    assert [len(one["paths"]) for one in stores] == [10, 9]
    assert "000.png" not in stores[1]["paths"]
    assert stores[1]["superseded"] == [stores[0]["folder"]]
    told = states(reports)
    first = told.index("finished")
    assert told[first + 1] == "finished"  # the look
    assert told[-1] == "finished"


def test_what_a_person_can_put_right_is_told_and_tried_again(album, monkeypatch, tmp_path):
    """The drive is away, and comes back."""
    away = tmp_path / "away"
    settings = config(album)
    album.rename(away)
    for number in range(10, 40):
        (away / f"{number:03d}.png").unlink()
    reports = watched(settings, monkeypatch, [lambda: None, lambda: away.rename(album)])
    told = states(reports)
    assert told.count("failed") == 2
    assert told[-1] == "finished"
    failed = next(one["state"] for one in reports if one["kind"] == "state" and one["state"]["state"] == "failed")
    assert "there is no such folder" in failed["message"]


def test_weights_that_are_missing_are_told_with_the_command_that_fetches_them(album, monkeypatch):
    from seekloop.backbones.weights import hub

    monkeypatch.setattr(hub, "_first", lambda *_, local: None if local else pytest.fail("tried the network"))
    monkeypatch.setattr(hub, "reachable", lambda url: pytest.fail(f"tried {url}"))
    with hub.offline("seekloop extract backbone=dinov2_s"):
        reports = watched(config(album, "backbone=dinov2_s"), monkeypatch, [])
    last = reports[-1]["state"]
    assert last["state"] == "failed"
    assert "seekloop extract backbone=dinov2_s" in last["message"]


def test_the_built_in_scenes_are_indexed_in_one_go(monkeypatch, tmp_path):
    chosen = ["collection.images=20", "trainer=cpu", "trainer.workers=0", f"store_dir={tmp_path}"]
    reports = watched(resolve("extract", chosen), monkeypatch, [])
    (store,) = [one for one in reports if one["kind"] == "store"]
    assert len(store["paths"]) == 20
    assert store["whole"]
    assert open_store(Path(store["folder"]), "4x4").images == 20
    again = watched(resolve("extract", chosen), monkeypatch, [])
    assert not any(one["kind"] == "said" for one in again)  # nothing is described, measured or estimated


def test_time_left_by_hand(monkeypatch):
    """Of 100 images 20 are known. At 10 s the first batch is through (24), at 16 s 36: 0.5 s an image, 64 are left."""
    now = iter([10.0, 16.0])
    monkeypatch.setattr("seekloop.commands.indexing.time.monotonic", lambda: next(now))
    output = []
    reports = Reports(output.append)
    reports.begin(20, 100)
    reports.state("running", "")
    reports.progress("describe", 24, 50)
    reports.progress("describe", 36, 50)
    told = [one["state"] for one in reported(output)]
    assert [(one["done"], one["seconds_left"]) for one in told] == [(20, None), (24, None), (36, 32.0)]
    reports.state("finished", "")
    assert reported(output)[-1]["state"]["seconds_left"] is None
