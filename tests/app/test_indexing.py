"""What a server sees of the process that indexes: here small programs that report what they are told to."""

import os
import signal
import sys
from pathlib import Path

import pytest

import seekloop.app  # noqa: F401 - so that its modules are loaded with their shapes checked
from seekloop.app.indexing import IndexedStore, Indexing, IndexingState, Program
from tests.commands.processes import until

HEAD = """
import json, sys, time
first = sys.stdin.readline().strip()
def tell(**report): print(json.dumps(report), flush=True)
def state(done, state, message=""):
    about = dict(done=done, total=9, seconds_left=None, state=state, message=message)
    tell(kind="state", state=about)
def store(folder, paths, superseded=()):
    tell(kind="store", folder=folder, paths=paths, whole=True, superseded=superseded)
"""


class Server:
    """What it heard of a program, and the indexing itself."""

    def __init__(self, program: str, on_store=None) -> None:
        self.states, self.said, self.stores = [], [], []
        command = (sys.executable, "-c", HEAD + program)
        told = Program(command, "the first line")
        self.indexing = Indexing(told, on_store or self.stores.append, self.states.append, self.said.append)
        self.indexing.start()

    def until(self, state: str) -> IndexingState:
        until(lambda: self.indexing.state.state == state, lambda: str(self.states))
        return self.indexing.state


@pytest.fixture
def server():
    started = []

    def start(*arguments):
        started.append(Server(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.indexing.stop()
        assert not one.indexing.alive


WATCHING = 'state(9, "finished", first)\nfor line in sys.stdin: state(9, "finished", line.strip())\n'


def test_states_words_and_stores_arrive_in_their_order(server):
    heard = server('tell(kind="said", message="hello")\nstate(3, "running")\nstore("here", ["a", "b"])\n' + WATCHING)
    assert heard.until("finished") == IndexingState(9, 9, None, "finished", "the first line")
    assert [one.done for one in heard.states] == [0, 3, 9]
    assert heard.said == ["hello"]
    assert heard.stores == [IndexedStore(Path("here"), ("a", "b"), True)]


def test_it_is_told_to_look_again(server):
    heard = server(WATCHING)
    heard.until("finished")
    heard.indexing.rescan()
    until(lambda: heard.indexing.state.message == "look")


def test_a_store_is_handed_on_once_and_what_it_supersedes_goes_after_that(server, tmp_path):
    """The second report is of the same store; the third is of another one, which removes the first."""
    old, there = tmp_path / "old", []
    old.mkdir()
    (old / "manifest.json").write_text("{}")
    program = f'store("{old}", ["a"])\nstore("{old}", ["a"])\nstore("new", ["a", "b"], ["{old}"])\n{WATCHING}'
    heard = server(program, lambda store: there.append((store.folder.name, old.exists())))
    heard.until("finished")
    assert there == [("old", True), ("new", True)]
    assert not old.exists()


def test_a_store_that_cannot_be_used_is_told_and_what_it_would_supersede_stays(server, tmp_path):
    def refuse(_):
        raise OSError("no memory to map it")

    heard = server(f'store("new", ["a"], ["{tmp_path}"])\nfor line in sys.stdin: pass\n', refuse)
    assert "new cannot be used: no memory to map it" in heard.until("failed").message
    assert tmp_path.exists()


def test_a_killed_process_is_told_and_started_anew_by_a_look(server):
    heard = server('state(3, "running", "at work")\n' + WATCHING)
    heard.until("finished")
    os.kill(heard.indexing.pid, signal.SIGKILL)
    failed = heard.until("failed")
    assert failed.done == 9
    assert "signal 9" in failed.message
    assert heard.indexing.pid is None
    heard.indexing.rescan()
    assert heard.until("finished").message == "the first line"


def test_a_process_that_fails_is_told_with_its_last_words(server):
    heard = server('raise RuntimeError("the disk is on fire")')
    failed = heard.until("failed")
    assert "exit code 1" in failed.message
    assert "the disk is on fire" in failed.message


def test_a_process_that_is_stopped_has_not_failed(server):
    heard = server(WATCHING)
    heard.until("finished")
    heard.indexing.stop()
    assert not heard.indexing.alive
    assert heard.indexing.state.state == "finished"
