"""Who is running a run: a lock of the operating system, and a sign of life for other machines to see."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.locks import lock
from seekloop.logs.files import write_atomically

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
PATIENCE_SECONDS = 2.0  # somebody looking at the state holds the lock for a moment


class RunBusyError(RuntimeError):
    """Another process is running this run, or has taken it over."""


class Claim:
    """The right to write into a run's folder.

    The lock tells at once whether a process of this machine is alive. A lock may outlive a machine that went down
    (network file systems), so there is also the heartbeat, a file touched every `BEAT_SECONDS`: on another machine a
    run counts as alive for `STALE_SECONDS` after its last beat.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "run.lock"
        self.heartbeat = folder / "heartbeat"
        self.token: str | None = None

    def alive(self) -> bool:
        """Is a process running it now, here or on another machine?"""
        owner = self._owner()
        fresh = owner is not None and self.silence() < STALE_SECONDS
        if owner is not None and owner["host"] != socket.gethostname():
            return fresh
        return self._locked()

    def silence(self) -> float:
        """Seconds since the last sign of life; infinite where there never was one."""
        try:
            return time.time() - self.heartbeat.stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one who runs it.

        Raises:
            RunBusyError: another process is.
            ConfigError: the file system gives no locks.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.alive():
            raise RunBusyError(self._busy())
        with self._acquired(), self._beating():
            yield

    def check(self) -> None:
        """Make sure that the run is still ours.

        Raises:
            RunBusyError: it never was, or another process has taken it over while this one was silent.
        """
        owner = self._owner()
        if self.token is None:
            raise RunBusyError(f"{self.folder} is not claimed: write into it inside `with folder.claim():`")
        if owner is None or owner["token"] != self.token:
            raise RunBusyError(
                f"{self.folder} was taken over or removed while this process was silent; what it found since is dropped"
            )

    @contextlib.contextmanager
    def _acquired(self) -> Iterator[None]:
        try:
            taken = lock(self.lock, "runs_dir", PATIENCE_SECONDS)
        except Timeout as error:
            if self.silence() < STALE_SECONDS or not self._elsewhere():
                raise RunBusyError(self._busy()) from error
            self.lock.unlink(missing_ok=True)  # the lock of a machine that is gone
            taken = lock(self.lock, "runs_dir", PATIENCE_SECONDS)
        with taken:
            yield

    @contextlib.contextmanager
    def _beating(self) -> Iterator[None]:
        self.token = uuid.uuid4().hex
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": self.token}
        write_atomically(self.heartbeat, json.dumps(owner).encode())
        stop = threading.Event()
        beat = threading.Thread(target=self._beat, args=(stop,), daemon=True, name="heartbeat")
        beat.start()
        try:
            yield
        finally:
            stop.set()
            beat.join()
            self._sign_off()

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # a hiccup of the file system must not end the run
                os.utime(self.heartbeat)

    def _sign_off(self) -> None:
        with contextlib.suppress(OSError, RunBusyError):
            self.check()
            self.heartbeat.unlink(missing_ok=True)
        self.token = None

    def _locked(self) -> bool:
        if not self.lock.exists():
            return False
        try:
            probe = lock(self.lock, "runs_dir", timeout=0.0)
        except Timeout:
            return True
        except (PermissionError, ConfigError):  # somebody else's folder, open for reading only; or one without locks
            return self.silence() < STALE_SECONDS
        with probe:
            return False

    def _owner(self) -> dict[str, str] | None:
        try:
            return dict(json.loads(self.heartbeat.read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def _elsewhere(self) -> bool:
        owner = self._owner()
        return owner is not None and owner["host"] != socket.gethostname()

    def _busy(self) -> str:
        owner = self._owner() or {"host": socket.gethostname(), "pid": "?"}
        seen = "" if self.silence() == float("inf") else f", last sign of life {self.silence():.0f} s ago"
        return (
            f"{self.folder} is being run by process {owner['pid']} on {owner['host']}{seen}. "
            "Wait until it is done, or stop that process first"
        )
