"""Many people at once on a real server: no answer that was acknowledged is lost."""

import json
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from seekloop.app.api import Server
from seekloop.loop.events import Noted
from seekloop.loop.sessions import Sessions
from tests.app.parts import PAGE, draw_album, make_served, path_of, square

PEOPLE = 50
PATIENCE = 120.0  # seconds; only what hangs waits so long
BOX = [0.25, 0.25, 0.75, 0.75]


@contextmanager
def running(folder, images=range(36)):
    """A server on loopback, in a thread; its address, and what it serves."""
    draw_album(folder / "album", images)
    served = make_served(folder)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = Server(served, hosts=frozenset({"127.0.0.1"}))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.02)
            yield address, served
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            served.searches.close()


@contextmanager
def window(address):
    with httpx.Client(base_url=f"{address}/api", headers=PAGE, timeout=PATIENCE) as client:
        yield client


def told(reply, *statuses):
    assert reply.status_code in (statuses or (200, 201)), f"{reply.status_code}: {reply.text}"
    return reply.json()


def answering(client, id, until, draw):
    """Answer what is asked, going on now and then, also where another window has; what was acknowledged."""
    kept, search = {}, told(client.get(f"/searches/{id}"))
    while time.monotonic() < until and search["question"]:
        one = draw.choice(search["question"])["name"]
        reply, box = draw.choice([("yes", BOX), ("yes", None), ("no", None), ("unsure", None)])
        said = {"version": search["version"], "answers": [{"name": one, "answer": reply, "box": box}]}
        search = told(client.post(f"/searches/{id}/answers", json=said))
        kept[one] = (reply, box)
        if draw.random() < 0.3:
            going = told(client.post(f"/searches/{id}/next", json={"version": search["version"]}), 200, 409)
            search = going.get("search", going)
        if draw.random() < 0.1:
            told(client.get(f"/searches/{id}/ranking", params={"count": 20}))
    return kept


def replies_of(sessions, id):
    """The last answer to each image, as the database has it."""
    noted = [event for event in sessions.events(id) if isinstance(event, Noted)]
    words = {"relevant": "yes", "irrelevant": "no", "unsure": "unsure"}
    found = {one.image: (words[one.answer], one.box) for event in noted for one in event.replies}
    return {image: (word, None if box is None else list(box)) for image, (word, box) in found.items()}


def people(folder, seconds, count=PEOPLE):
    """So many people, each with a search of their own, for so long; how many answers there were."""
    with running(folder) as (address, served):
        images = served.library.indexed.images
        names = {path: images.name(image) for image, path in enumerate(images.paths)}
        begun = threading.Barrier(count)

        def one(number):
            red = 3 * (number % 12)
            with window(address) as client:
                example = {"name": names[path_of(red)], "box": square(red)}
                id = told(client.post("/searches", json={"examples": [example]}))["id"]
                begun.wait(PATIENCE)
                kept = answering(client, id, time.monotonic() + seconds, random.Random(number))
                listed = told(client.get(f"/searches/{id}/answers"))["answers"]
            shown = {one["name"]: (one["answer"], one["box"]) for one in listed if one["answer"] != "example"}
            assert shown == kept
            return id, kept

        with ThreadPoolExecutor(count) as pool:
            done = list(pool.map(one, range(count)))
    with Sessions(folder / "sessions.sqlite") as sessions:
        for id, kept in done:
            assert replies_of(sessions, id) == kept
    return [len(kept) for _, kept in done]


def test_fifty_people_at_once_lose_no_answer(tmp_path):
    answers = people(tmp_path, seconds=5.0)
    assert len(answers) == PEOPLE
    assert min(answers) >= 1


@pytest.mark.slow
def test_fifty_people_at_once_lose_no_answer_in_a_minute(tmp_path):
    answers = people(tmp_path, seconds=60.0)
    assert min(answers) >= 5


def test_eight_windows_of_one_search_lose_no_answer(tmp_path):
    """Each answers images of its own, whatever the others do, and goes on; all answers are there in the end."""
    with running(tmp_path) as (address, served):
        images = served.library.indexed.images
        with window(address) as client:
            example = {"name": images.name(0), "box": square(0)}
            id = told(client.post("/searches", json={"examples": [example]}))["id"]

        def one(number):
            kept = {}
            with window(address) as client:
                for image in range(1 + number, 36, 8):
                    reply = ("yes", "no", "unsure")[image % 3]
                    said = {"answers": [{"name": images.name(image), "answer": reply}]}
                    search = told(client.post(f"/searches/{id}/answers", json=said))
                    kept[images.name(image)] = reply
                    told(client.post(f"/searches/{id}/next", json={"version": search["version"]}), 200, 409)
            return kept

        with ThreadPoolExecutor(8) as pool:
            kept = {name: reply for some in pool.map(one, range(8)) for name, reply in some.items()}
        with window(address) as client:
            listed = told(client.get(f"/searches/{id}/answers"))["answers"]
            state = told(client.get(f"/searches/{id}"))
    assert {one["name"]: one["answer"] for one in listed if one["answer"] != "example"} == kept
    assert len(kept) == 35
    counts = [state["progress"][word] for word in ("found", "irrelevant", "unsure")]
    assert counts == [1 + 11, 12, 12]


def test_windows_are_told_of_every_change_and_let_go_at_the_end(tmp_path):
    """A window that listens hears of the answer that another one gives; the server's end closes its stream."""
    heard, ready = [], threading.Event()

    def listen(address):
        with httpx.Client(timeout=PATIENCE) as client, client.stream("GET", f"{address}/api/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                ready.set()
                if line.startswith("data: "):
                    heard.append(json.loads(line.removeprefix("data: ")))

    with running(tmp_path) as (address, served):
        listener = threading.Thread(target=listen, args=(address,), daemon=True)
        listener.start()
        assert ready.wait(PATIENCE)
        example = {"name": served.library.indexed.images.name(0), "box": square(0)}
        with window(address) as client:
            search = told(client.post("/searches", json={"examples": [example]}))
            said = {"answers": [{"name": search["question"][0]["name"], "answer": "no"}]}
            after = told(client.post(f"/searches/{search['id']}/answers", json=said))
            deadline = time.monotonic() + PATIENCE
            while {"kind": "search", "id": search["id"], "version": after["version"]} not in heard:
                assert time.monotonic() < deadline, heard
                time.sleep(0.01)
    listener.join(PATIENCE)
    assert not listener.is_alive()
