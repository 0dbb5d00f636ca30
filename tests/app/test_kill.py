"""A server that is killed at any moment loses no answer that it acknowledged, and goes on as its twin does."""

import os
import random
import signal
import threading
from contextlib import nullcontext, suppress

import httpx
import pytest

from tests.app.killed import Servers
from tests.app.parts import draw_album, indexed, square
from tests.app.test_load import told, window
from tests.commands.processes import Processes, until

STEPS = 6  # of a round: five answers, and the next question
BOX = [0.25, 0.25, 0.75, 0.75]


class Album:
    """Servers over drawn pictures: `start` gives a way to kill one, and its address."""

    def __init__(self, folder, servers):
        self.folder, self.servers = folder, servers
        draw_album(folder / "album", range(36))
        self.example = {"name": indexed(folder / "album").images.name(0), "box": square(0)}

    def start(self):
        pid, address = self.servers.start(self.folder)
        return lambda: self.servers.kill(pid), address


class Scenes:
    """`seekloop serve` over the built-in scenes."""

    def __init__(self, folder, processes, store):
        self.folder, self.processes, self.store = folder, processes, store
        self.example = None

    def start(self):
        places = [f"store_dir={self.store}", f"sessions={self.folder}/sessions.sqlite", f"runs_dir={self.folder}/runs"]
        sizes = ["collection.images=60", "loop.budget=5", "serve.open=false", "serve.port=0", "wandb.mode=disabled"]
        process = self.processes.start("serve", *places, *sizes)
        process.until_said("(Ctrl-C ends it")
        address = next(word for word in process.said().split() if word.startswith("http://")).rstrip("/")
        with window(address) as client:
            until(lambda: told(client.get("/status"))["collection"]["indexed"] == 60, process.said)
            self.example = self.example or {"name": told(client.get("/browse"))["images"][0]["name"], "box": BOX}

        def kill():
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

        return kill, address


def reply_to(name):
    """The same answer to an image whoever asks, and whenever."""
    answer = ("yes", "no", "no", "unsure")[int(name[:6], 16) % 4]
    return {"name": name, "answer": answer, "box": BOX if answer == "yes" else None}


def step(client, id, number, seen):
    """Answer one image of the question, or go on to the next; what the page shows after it."""
    if number % STEPS == STEPS - 1:
        reply = told(client.post(f"/searches/{id}/next", json={"version": seen["version"]}), 200, 409)
        return reply.get("search", reply)
    said = {"version": seen["version"], "answers": [reply_to(seen["question"][number % STEPS]["name"])]}
    return told(client.post(f"/searches/{id}/answers", json=said))


def check_kept(client, id, acknowledged):
    listed = told(client.get(f"/searches/{id}/answers"))["answers"]
    known = {one["name"]: (one["answer"], one["box"]) for one in listed}
    assert {name: known.get(name) for name in acknowledged} == acknowledged


def played(world, steps, kills, draw):
    """Play a search; at the steps `kills` the server is killed while it works, or right after its reply.

    The search in the end (question, ranking, answers, rounds), and how often a server was started.
    """
    kill, address = world.start()
    acknowledged, number, starts = {}, 0, 1
    with window(address) as client:
        seen = told(client.post("/searches", json={"examples": [world.example]}))
    id = seen["id"]
    while number < steps:
        killing = number in kills
        kills = [one for one in kills if one != number]
        timer = threading.Timer(draw.uniform(0, 0.1), kill)
        if killing:
            timer.start()
        with window(address) as client, suppress(httpx.TransportError) if killing else nullcontext():
            before, seen = seen, step(client, id, number, seen)
            if number % STEPS < STEPS - 1:
                said = reply_to(before["question"][number % STEPS]["name"])
                acknowledged[said["name"]] = (said["answer"], said["box"])
            number += 1
        if killing:
            timer.join()  # it is killed by now, perhaps while it fits what it was told
            kill, address = world.start()
            starts += 1
            with window(address) as client:
                check_kept(client, id, acknowledged)
    with window(address) as client:
        check_kept(client, id, acknowledged)
        state = told(client.get(f"/searches/{id}"))
        ranking = told(client.get(f"/searches/{id}/ranking", params={"count": 500}))["images"]
        said = told(client.get(f"/searches/{id}/answers"))["answers"]
    kill()
    return (state["question"], ranking, said, state["progress"]["rounds"]), starts


def killed_and_twin(worlds, moments, rounds):
    """A search whose server was killed so many times, and one whose server was not: the same, to the last bit."""
    draw = random.Random(0)
    steps = rounds * STEPS
    killed, starts = played(worlds[0], steps, draw.sample(range(steps - 1), moments), draw)
    twin, once = played(worlds[1], steps, [], draw)
    assert killed == twin
    assert (starts, once) == (moments + 1, 1)


@pytest.fixture(scope="module")
def servers():
    with Servers() as started:
        yield started


@pytest.fixture
def albums(tmp_path, servers):
    return [Album(tmp_path / name, servers) for name in ("killed", "twin")]


def test_a_server_killed_at_three_moments_loses_nothing_and_goes_on_like_its_twin(albums):
    killed_and_twin(albums, moments=3, rounds=3)


@pytest.mark.slow
def test_a_server_killed_at_twenty_moments_loses_nothing(albums):
    killed_and_twin(albums, moments=20, rounds=5)


@pytest.mark.slow
def test_seekloop_serve_killed_at_twenty_moments_loses_nothing(tmp_path):
    """The whole program, on scenes: the store is there after the first start."""
    with Processes(tmp_path) as processes:
        worlds = [Scenes(tmp_path / name, processes, tmp_path / "stores") for name in ("killed", "twin")]
        for world in worlds:
            world.folder.mkdir()
        killed_and_twin(worlds, moments=20, rounds=8)


def test_a_search_that_was_begun_when_the_server_was_killed_is_whole_or_not_there(albums):
    """Searches are begun one after the other until the kill; all that were acknowledged are there, perhaps one more."""
    world, _ = albums
    begun = []
    for delay in (0.3, 0.6):
        kill, address = world.start()
        timer = threading.Timer(delay, kill)
        with window(address) as client:
            begun.append(told(client.post("/searches", json={"examples": [world.example]}))["id"])
            timer.start()
            with suppress(httpx.TransportError):
                while True:
                    begun.append(told(client.post("/searches", json={"examples": [world.example]}))["id"])
    kill, address = world.start()
    with window(address) as client:
        there = {one["id"] for one in told(client.get("/searches"))["searches"]}
        assert there >= set(begun)
        assert len(there) <= len(begun) + 2
        assert all(len(told(client.get(f"/searches/{id}"))["question"]) == 5 for id in there)
    kill()
