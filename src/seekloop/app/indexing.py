"""Indexing beside a server: a process of its own describes the images, and tells how far it is."""

import json
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from seekloop.extraction import growing

PATIENCE = 10.0  # seconds that the process has to leave
FLUSH = 2.0  # seconds that its last lines have to arrive
SHOWN = 3  # last lines of its errors


@dataclass(frozen=True)
class Program:
    """A program that indexes: it reads orders from its input, and writes reports to its output, a line each.

    Attributes:
        command: to start it.
        first: line that it is told.
    """

    command: tuple[str, ...]
    first: str


@dataclass(frozen=True)
class IndexingState:
    """Progress of indexing.

    Attributes:
        done: images that are described.
        total: images of the collection.
        seconds_left: until all are; None where that cannot be told yet.
        state: running, finished (and watching for new files), or failed.
        message: for people.
    """

    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    state: Literal["running", "finished", "failed"] = "running"
    message: str = ""


@dataclass(frozen=True)
class IndexedStore:
    """A finished store that can be searched.

    Attributes:
        folder: of the store.
        paths: of its images, in the order of the store.
        whole: whether these are all images of the collection.
    """

    folder: Path
    paths: tuple[str, ...]
    whole: bool


class Indexing:
    """The process that indexes, as a server sees it: it is told to look again, and tells of larger stores.

    It ends with the server, however that ends, since its input ends then. Its own end is told, and is no error of the
    server; `rescan` starts it again.

    Args:
        program: that indexes.
        on_store: is called with each store that is larger or newer than the one before. Earlier ones may be removed
            once it returns: what it has opened stays readable.
        on_state: is called with each new state.
        say: where lines for the terminal go.
    """

    def __init__(
        self,
        program: Program,
        on_store: Callable[[IndexedStore], None],
        on_state: Callable[[IndexingState], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.program, self.on_store, self.on_state, self.say = program, on_store, on_state, say
        self.state = IndexingState()
        self._process: subprocess.Popen[str] | None = None
        self._last: IndexedStore | None = None
        self._lock, self._stopped = threading.Lock(), False

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Number of the process; None where there is none."""
        return self._process.pid if self._process is not None and self.alive else None

    def start(self) -> None:
        """Start the process, where there is none."""
        with self._lock:
            if self.alive:
                return
            pipe = subprocess.PIPE
            process = subprocess.Popen(self.program.command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
            self._process, self._stopped = process, False
        self._change(replace(self.state, state="running", seconds_left=None, message="starting"))
        self._order(process, self.program.first)
        threading.Thread(target=self._watch, args=(process,), daemon=True, name="indexing").start()

    def rescan(self) -> None:
        """Look at the folder again now; a process that has ended is started anew."""
        process = self._process
        if process is None or not self.alive or not self._order(process, "look"):
            self.start()

    def stop(self) -> None:
        """Let the process leave; what it has described is kept."""
        with self._lock:
            process, self._stopped = self._process, True
        if process is None:
            return
        if process.stdin is not None:
            unless_broken(process.stdin.close)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _order(self, process: "subprocess.Popen[str]", line: str) -> bool:
        """Tell the process a line; False where it does not listen any more."""
        stdin = process.stdin
        if stdin is None or stdin.closed:
            return False

        def write() -> None:
            stdin.write(f"{line}\n")
            stdin.flush()

        return unless_broken(write)

    def _watch(self, process: "subprocess.Popen[str]") -> None:
        """Wait for the end of the process; hear meanwhile what it says."""
        errors: deque[str] = deque(maxlen=SHOWN)
        streams = ((process.stdout, self._take), (process.stderr, errors.append))
        hearing = [threading.Thread(target=drain, args=one, daemon=True) for one in streams]
        for thread in hearing:
            thread.start()
        code = process.wait()
        for thread, (stream, _) in zip(hearing, streams, strict=True):
            thread.join(FLUSH)  # processes that decode for it may keep its pipes open a little longer
            if stream is not None and not thread.is_alive():
                stream.close()
        if process.stdin is not None:
            unless_broken(process.stdin.close)
        if not self._stopped and self._process is process:
            why = f"signal {-code}" if code < 0 else f"exit code {code}"
            last = " ".join(line.strip() for line in errors)
            message = f"the process that indexes has ended ({why}). Look again to start it anew. {last}".strip()
            self.say(message)
            self._change(replace(self.state, state="failed", seconds_left=None, message=message))

    def _take(self, line: str) -> None:
        """Take a report in."""
        told = json.loads(line)
        if told["kind"] == "state":
            self._change(IndexingState(**told["state"]))
        elif told["kind"] == "said":
            self.say(told["message"])
        else:
            self._store(told)

    def _store(self, told: Mapping[str, Any]) -> None:
        """Hand a store on, unless it is the one that was handed on last; remove those that it takes the place of."""
        store = IndexedStore(Path(told["folder"]), tuple(told["paths"]), told["whole"])
        try:
            if self._last is None or replace(self._last, whole=store.whole) != store:
                self.on_store(store)
            self._last = store
        except Exception as error:  # the process goes on; the earlier store stays in use
            message = f"the store {store.folder} cannot be used: {error}"
            self.say(message)
            self._change(replace(self.state, state="failed", message=message))
            return
        growing.remove([Path(one) for one in told["superseded"]])

    def _change(self, state: IndexingState) -> None:
        self.state = state
        self.on_state(state)


def drain(lines: Iterable[str], take: Callable[[str], object]) -> None:
    """Take every line until there are no more."""
    for line in lines:
        take(line)


def unless_broken(act: Callable[[], object]) -> bool:
    """Do something with a pipe; False where nobody is at its other end any more."""
    try:
        act()
    except (BrokenPipeError, ValueError):  # a file that another thread has closed raises the latter
        return False
    return True
