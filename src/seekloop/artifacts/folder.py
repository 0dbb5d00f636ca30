"""Claim, fill and finish a folder: one process at a time writes into it, and its marker is written last."""

import contextlib
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seekloop.artifacts import files
from seekloop.contracts.errors import Interrupted, StoreError

COMPLETE = "COMPLETE"
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
PATIENCE_SECONDS = 2.0  # somebody looking at the state holds the lock for a moment
POLL_SECONDS = 0.2  # between two looks at what another process does
FOREVER = -1.0

Say = Callable[[str], None]


class BusyError(RuntimeError):
    """This process may not write into a folder: another one has it, or it was never claimed."""


def lock(path: Path, key: str, timeout: float = FOREVER) -> AbstractContextManager[object]:
    """Take the lock that a file stands for, until the end of a `with` over the result.

    Args:
        path: of the lock's file, made if it is absent.
        key: of the config, below whose folder it lies.
        timeout: seconds to wait for another process that has it.

    Raises:
        Timeout: if another process has it still.
        CannotWriteError: if the file cannot be made, or its file system has no locks to give, as that of a network may.
    """
    try:
        return FileLock(path).acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError as error:
        if error.filename is not None:  # of opening the file; locking knows only its number
            raise files.refused(error, path, key) from error
        reason, remedy = f"its file system gives no locks ({error})", f"Put {key} on a local disk."
        raise files.cannot_write(error.errno or 0, path, key, reason, remedy) from error


class Folder:
    """A folder that lasts: claimed by one process at a time, finished once its marker is there.

    The lock tells at once whether a process of this machine is alive. A lock may outlive a machine that went down
    (network file systems), so there is also the heartbeat, a file touched every `BEAT_SECONDS`: on another machine a
    process counts as alive for `STALE_SECONDS` after its last beat. Nothing in a folder says where it lies, so one
    that was moved or copied is still the same.

    Args:
        path: of the folder; made when something is written.
        key: of the config, below whose folder it lies; for messages.
        guard: path of the lock; None: beside the folder, which may then appear later than the claim.
        heartbeat: path of the heartbeat; None: beside the folder.
        marker: name of the file that is written last.
    """

    def __init__(
        self, path: Path, key: str, guard: Path | None = None, heartbeat: Path | None = None, marker: str = COMPLETE
    ) -> None:
        self.path, self.key = path, key
        self.guard = guard or path.with_name(f"{path.name}.lock")
        self.heartbeat = heartbeat or path.with_name(f"{path.name}.heartbeat")
        self.marker = path / marker
        self.token: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the marker is there."""
        return self.marker.exists()

    def alive(self) -> bool:
        """Whether a process is writing into it now, here or on another machine."""
        if self._elsewhere():
            return self.silence() < STALE_SECONDS
        if not self.guard.exists():
            return False
        try:
            with lock(self.guard, self.key, timeout=0.0):
                return False
        except Timeout:
            return True
        except OSError:  # somebody else's folder, open for reading only; or one without locks
            return self.silence() < STALE_SECONDS

    def silence(self) -> float:
        """Seconds since the last sign of life; infinite where there never was one."""
        try:
            return time.time() - self.heartbeat.stat().st_mtime
        except OSError:
            return float("inf")

    @contextlib.contextmanager
    def claim(
        self, kept: Callable[[], str] | None = None, wait: Say | None = None, doing: str = "writing into"
    ) -> Iterator[None]:
        """Be the only one who writes into it.

        Args:
            kept: says what is kept, should a person stop the process; None leaves that to the caller.
            wait: told that another process has the folder, which is then waited for; None: refuse.
            doing: what the other process is doing.

        Raises:
            BusyError: if another process has the folder, and nobody waits.
            CannotWriteError: if nothing can be written there, or the file system gives no locks.
            Interrupted: if a person stops the process.
        """
        files.make_folder(self.guard.parent, self.key)
        with self._acquired(wait, doing):
            self.token = uuid.uuid4().hex
            owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": self.token}
            files.write_bytes(self.heartbeat, json.dumps(owner).encode(), self.key)
            stop = threading.Event()
            beat = threading.Thread(target=self._beat, args=(stop,), daemon=True, name="heartbeat")
            beat.start()
            try:
                yield
            except KeyboardInterrupt as interrupt:
                if kept is None or isinstance(interrupt, Interrupted):
                    raise
                raise Interrupted(kept()) from interrupt
            finally:
                stop.set()
                beat.join()
                with contextlib.suppress(OSError, BusyError):
                    self.check()
                    self.heartbeat.unlink(missing_ok=True)
                self.token = None

    def _acquired(self, wait: Say | None, doing: str) -> AbstractContextManager[object]:
        """The lock; with `wait`, after another process has let it go."""
        taken = None if wait is None and self.alive() else self._taken(PATIENCE_SECONDS if wait is None else 0.0)
        if taken is None and wait is not None:
            wait(f"another process is {doing} {self.path.name}: waiting for it")
        while taken is None:
            if wait is None:
                owner = self._owner() or {"host": socket.gethostname(), "pid": "?"}
                seen = "" if self.silence() == float("inf") else f", last sign of life {self.silence():.0f} s ago"
                raise BusyError(
                    f"{self.path} is being run by process {owner['pid']} on {owner['host']}{seen}. "
                    "Wait until it is done, or stop that process first"
                )
            time.sleep(POLL_SECONDS)
            taken = self._taken(POLL_SECONDS)
        return taken

    def _taken(self, patience: float) -> AbstractContextManager[object] | None:
        """The lock; None where another process has it."""
        elsewhere = self._elsewhere()
        if elsewhere and self.silence() < STALE_SECONDS:
            return None
        with contextlib.suppress(Timeout):
            return lock(self.guard, self.key, patience)
        if elsewhere:
            self.guard.unlink(missing_ok=True)  # the lock of a machine that is gone
            with contextlib.suppress(Timeout):
                return lock(self.guard, self.key, patience)
        return None

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # a hiccup of the file system must not end the work
                os.utime(self.heartbeat)

    def check(self) -> None:
        """Make sure that the folder is still ours.

        Raises:
            BusyError: if it never was, or another process has taken it over while this one was silent.
        """
        owner = self._owner()
        if self.token is None:
            raise BusyError(f"{self.path} is not claimed: write into it inside `with folder.claim():`")
        if owner is None or owner["token"] != self.token:
            raise BusyError(
                f"{self.path} was taken over or removed while this process was silent; what it found since is dropped"
            )

    def begin(self, description: str, key: str) -> dict[str, Any] | None:
        """Start, or go on: what killed processes left half written goes, and the marker with it.

        Args:
            description: name of the JSON file that says what the folder holds.
            key: what that file must say.

        Returns:
            The description that is there; None in a new folder.

        Raises:
            StoreError: if the folder holds something else.
        """
        files.make_folder(self.path, self.key)
        files.remove_drafts(self.path)
        self.marker.unlink(missing_ok=True)
        try:
            found = dict(files.read_json(self.path / description))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{self.path / description} is damaged. Delete the folder and start again.") from error
        if found.get("key") != key:
            raise StoreError(f"{self.path} holds something else than was asked for. Choose another {self.key}.")
        return found

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all. Only inside `claim`."""
        files.write_bytes(self._checked(name), content, self.key)

    def write_tensors(self, name: str, content: Mapping[str, Any] | None) -> None:
        """Write tensors in plain containers. Only inside `claim`."""
        files.write_tensors(self._checked(name), content, self.key)

    def _checked(self, name: str) -> Path:
        """Path of a file to write into the folder, which is ours, and there."""
        self.check()
        path = self.path / name
        files.make_folder(path.parent, self.key)
        return path

    def finish(self) -> None:
        """Write the marker."""
        files.write_bytes(self.marker, b"", self.key)

    def used(self) -> None:
        """Note that the finished folder was asked for: its marker's time says when it was last of use."""
        with contextlib.suppress(OSError):  # a folder that may only be read is of use, too
            os.utime(self.marker)

    def clear(self) -> None:
        """Delete all that it holds but lock and heartbeat, the marker first. Only inside `claim`."""
        self.check()
        self.marker.unlink(missing_ok=True)
        for entry in self.path.iterdir() if self.path.is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry not in (self.guard, self.heartbeat):
                entry.unlink()

    def remove(self) -> None:
        """Delete the folder.

        Raises:
            BusyError: if a process is writing into it.
        """
        with self.claim():
            self.clear()
        self.guard.unlink(missing_ok=True)
        self.path.rmdir()

    def size(self) -> int:
        """Bytes of all its files."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    def _owner(self) -> dict[str, str] | None:
        try:
            return dict(json.loads(self.heartbeat.read_text()))
        except (OSError, ValueError):
            return None

    def _elsewhere(self) -> bool:
        owner = self._owner()
        return owner is not None and owner["host"] != socket.gethostname()


def folders_below(root: Path, key: str, descriptions: tuple[str, ...]) -> list[Folder]:
    """Every folder at or below `root` that holds one of these files, or a marker, in the order of their paths."""
    found = []
    for path, inside, names in os.walk(root):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        if any(name in names for name in (*descriptions, COMPLETE)):
            found.append(Folder(Path(path), key))
            inside.clear()
    return found
