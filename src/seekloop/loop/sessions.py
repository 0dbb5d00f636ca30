"""Sessions on disk: lists of events in one SQLite database, each event on disk before the next one."""

import contextlib
import errno
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from seekloop.artifacts import files
from seekloop.artifacts.folder import BusyError
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.recipe import Json
from seekloop.loop.events import Event

KEY = "sessions"  # of the commands' options: the file of the database
PROGRAM = 0x5EEC100B  # application_id: tells our databases from those of other programs
SCHEMA = 1  # user_version
PATIENCE_SECONDS = 10.0  # another process writes an event in some milliseconds
TABLES = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, created REAL NOT NULL, parts TEXT NOT NULL, about TEXT NOT NULL
) STRICT;
CREATE TABLE events (
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    number INTEGER NOT NULL, at REAL NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (session, number)
) STRICT;
"""
LISTED = """
SELECT id, title, created, (SELECT count(*) FROM events WHERE session = id),
       coalesce((SELECT at FROM events WHERE session = id ORDER BY number DESC LIMIT 1), created) AS changed
FROM sessions ORDER BY changed DESC, id
"""
RESTORE = "Restore it from a copy, or save what is left with `sqlite3 FILE .recover`."
REFUSED = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}


@dataclass(frozen=True)
class Listed:
    """A session of a database.

    Attributes:
        id: random, for ever its own.
        title: given by a person; may be empty.
        created: moment at which it began, in UTC.
        changed: moment of its last event.
        events: number of them.
    """

    id: str
    title: str
    created: datetime
    changed: datetime
    events: int


@dataclass(frozen=True)
class Kept:
    """A whole session in plain values.

    Attributes:
        title: given by a person.
        parts: `settings` of the loop that it began with.
        about: what else it began with, such as the overrides that build its loop.
        events: all of them.
    """

    title: str
    parts: Mapping[str, Json]
    about: Mapping[str, Json]
    events: Sequence[Event] = field(default=())


class NoSessionError(StoreError):
    """There is no session of this id."""


class OtherPartsError(StoreError):
    """A session began with other parts than those that would go on with it."""


class Sessions:
    """A database of any number of sessions, for any number of threads and processes.

    An event is one transaction, forced to disk before `append` returns, so a kill or a power cut loses none that was
    acknowledged. While the file is open there are `-wal` and `-shm` files beside it that belong to it; `backup` copies
    what is whole at that moment.

    Args:
        path: of the database; made, and readable by its owner alone, if it is absent.

    Raises:
        StoreError: if the file is none of our databases, damaged, of a newer version, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._connection = self._connected()
        try:
            with self._told():
                self._prepared()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> "Sessions":
        """Close the database at the end of a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database."""
        self.close()

    def close(self) -> None:
        """Close the database: nothing but its own file remains, unless another process has it open."""
        with self._lock:
            self._connection.close()

    def create(
        self,
        parts: Json,
        *,
        title: str = "",
        about: Mapping[str, Json] | None = None,
        events: Sequence[Event] = (),
    ) -> "SessionLog":
        """Begin a session.

        Args:
            parts: `settings` of the loop; it goes on with the parts that it begins with.
            title: for people.
            about: what `replay` needs to build the same loop again, such as {"overrides": [...]}.
            events: that it begins with.
        """
        id, now = uuid.uuid4().hex, time.time()
        row = (id, title, now, _json(parts), _json(dict(about or {})))
        rows = [(id, number, now, written(event)) for number, event in enumerate(events)]
        with self._changing() as connection:
            connection.execute("INSERT INTO sessions (id, title, created, parts, about) VALUES (?, ?, ?, ?, ?)", row)
            connection.executemany("INSERT INTO events (session, number, at, event) VALUES (?, ?, ?, ?)", rows)
        return SessionLog(self, id, len(rows))

    def open(self, id: str, parts: Json = None) -> "SessionLog":
        """Go on with a session.

        Args:
            id: of the session.
            parts: `settings` of the loop that goes on; None: whatever it is.

        Raises:
            StoreError: if there is no such session, or it began with other parts.
        """
        known = self.kept(id, events=False).parts
        changed = [] if parts is None else sorted(name for name in known if known[name] != parts.get(name))
        if changed := [name for name in changed if '"once"' not in json.dumps(parts.get(name))]:
            remedy = "Use the parts it began with, or start a new session."
            raise OtherPartsError(f"the session {id} in {self.path} began with another {', '.join(changed)}. {remedy}")
        return SessionLog(self, id, self._count(id))

    def find(self, word: str) -> str:
        """Id of the session that a person means: by its id, the beginning of it, or its title.

        Raises:
            ConfigError: if there is none, or several.
        """
        listed = self.listed()
        exact = [one.id for one in listed if word in (one.id, one.title)]
        found = exact or [one.id for one in listed if word and one.id.startswith(word)]
        if len(found) != 1:
            why = f"{self.path} holds {'several' if found else 'no'} sessions of this id or title"
            known = ", ".join(f"{one.id[:8]} {one.title}".strip() for one in listed[:5]) or "none yet"
            raise ConfigError("session", word, why, f"Sessions, the latest first: {known}.")
        return found[0]

    def listed(self) -> list[Listed]:
        """All sessions, the one that changed last first."""
        with self._reading() as connection:
            rows = connection.execute(LISTED).fetchall()
        return [Listed(id, title, _moment(created), _moment(at), events) for id, title, created, events, at in rows]

    def kept(self, id: str, events: bool = True) -> Kept:
        """A session in plain values, with or without its events.

        Raises:
            StoreError: if there is no such session, or it is damaged.
        """
        with self._reading() as connection:
            row = connection.execute("SELECT title, parts, about FROM sessions WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise NoSessionError(f"{self.path} holds no session {id}: it was removed, or is in another file.")
            return Kept(row[0], json.loads(row[1]), json.loads(row[2]), self.events(id) if events else ())

    def about(self, id: str) -> Mapping[str, Json]:
        """Settings that a session began with, beside its parts."""
        return self.kept(id, events=False).about

    def events(self, id: str) -> list[Event]:
        """All events of a session so far.

        Raises:
            StoreError: if one is damaged or missing.
        """
        query = "SELECT number, event FROM events WHERE session = ? ORDER BY number"
        with self._reading() as connection:
            rows = connection.execute(query, (id,)).fetchall()
        for expected, (number, _) in enumerate(rows):
            if number != expected:
                raise StoreError(f"session {id} in {self.path} lacks event {expected}, and has later ones. {RESTORE}")
        return [self._event(id, number, text) for number, text in rows]

    def rename(self, id: str, title: str) -> None:
        """Give a session another title.

        Raises:
            StoreError: if there is no such session.
        """
        self._change(id, "UPDATE sessions SET title = ? WHERE id = ?", (title, id))

    def remove(self, id: str) -> None:
        """Remove a session with all its events.

        Raises:
            StoreError: if there is no such session.
        """
        self._change(id, "DELETE FROM sessions WHERE id = ?", (id,))

    def fork(self, id: str, events: int | None = None) -> str:
        """Copy a session, so that both go on by themselves; returns the id of the copy.

        Args:
            id: of the session.
            events: how many of its events; None: all.

        Raises:
            StoreError: if there is no such session.
        """
        kept = self.kept(id)
        taken = kept.events[:events]
        about = {**kept.about, "forked": {"from": id, "events": len(taken)}}
        return self.create(kept.parts, title=kept.title, about=about, events=taken).id

    def backup(self, path: Path | str) -> None:
        """Copy the database as it is at this moment, whole, also while others write.

        Raises:
            CannotWriteError: if the copy cannot be written.
        """

        def fill(draft: Path) -> None:
            with contextlib.closing(sqlite3.connect(draft)) as copy:
                self._connection.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # one file

        with self._reading():
            files.write_through(Path(path), "to", fill)

    def _count(self, id: str) -> int:
        with self._reading() as connection:
            return int(connection.execute("SELECT count(*) FROM events WHERE session = ?", (id,)).fetchone()[0])

    def _append(self, id: str, number: int, event: Event) -> None:
        row = (id, number, time.time(), written(event))
        with self._changing() as connection:
            try:
                connection.execute("INSERT INTO events (session, number, at, event) VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                    raise NoSessionError(f"the session {id} was removed from {self.path} meanwhile.") from error
                why = f"the session {id} in {self.path} has gone on elsewhere: another window or process added to it"
                raise BusyError(f"{why}. Nothing is lost: open it again, and repeat the last step.") from error

    def _change(self, id: str, statement: str, values: tuple[str, ...]) -> None:
        with self._changing() as connection:
            if connection.execute(statement, values).rowcount == 0:
                raise NoSessionError(f"{self.path} holds no session {id}: it was removed, or is in another file.")

    def _event(self, id: str, number: int, text: str) -> Event:
        try:
            return read(text)
        except ValueError as error:
            why = f"event {number} of session {id} in {self.path} is no event of a session: {error}"
            raise StoreError(f"{why}. {RESTORE}") from error

    def _connected(self) -> sqlite3.Connection:
        """The connection to the file, which is made for its owner alone."""
        if self.path.is_dir():
            why = f"{self.path} is a folder"
            if (self.path / "session.json").exists():
                why += ", with a session of an earlier version of seekloop, which reads it"
            raise StoreError(f"{why}; sessions are kept in one file. Give {KEY}=<file>, such as sessions.sqlite.")
        try:
            files.make_folder(self.path.parent, KEY)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(str(files.refused(error, self.path, KEY))) from error
        return sqlite3.connect(self.path, PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)

    def _prepared(self) -> None:
        """Check whose the database is, and make its tables where it is new."""
        connection = self._connection
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")
        with self._transaction("IMMEDIATE"):
            self._require_ours()
            if self._pragma("user_version") == 0:
                for statement in TABLES.strip().split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={PROGRAM}")
                connection.execute(f"PRAGMA user_version={SCHEMA}")
        if self._pragma("journal_mode") != "wal":
            with contextlib.suppress(sqlite3.OperationalError):  # somebody else is in it, and will change it
                connection.execute("PRAGMA journal_mode=WAL")

    def _require_ours(self) -> None:
        version, program = self._pragma("user_version"), self._pragma("application_id")
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if program != PROGRAM and (tables or version or program):
            raise StoreError(f"{self.path} is a database of another program. Give {KEY}=<another file>.")
        if version > SCHEMA:
            why = f"{self.path} was written by a newer version of seekloop (schema {version}, this one knows {SCHEMA})"
            raise StoreError(f"{why}. Update seekloop, or give {KEY}=<another file>.")

    def _pragma(self, name: str) -> Any:  # noqa: ANN401 - a number or a word
        return self._connection.execute(f"PRAGMA {name}").fetchone()[0]

    @contextlib.contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that writes, of this thread alone."""
        with self._lock, self._told(), self._transaction("IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._told():
            yield self._connection

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors in words that say what to do."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # closed already, or a mistake of ours
        except sqlite3.Error as error:
            raise self._words(error) from error

    def _words(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extension
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return BusyError(f"{self.path} is being written by another process for longer than {PATIENCE_SECONDS:g} s.")
        if code == sqlite3.SQLITE_NOTADB:
            return StoreError(f"{self.path} is no database. Give {KEY}=<another file>, or restore it from a copy.")
        if code in REFUSED:
            return StoreError(str(files.refused(OSError(REFUSED[code], str(error)), self.path, KEY)))
        return StoreError(f"{self.path} is damaged or cannot be read ({error}). {RESTORE}")


class SessionLog:
    """Events of one session of a database (`loop.events.Log`), for one `Session`.

    Each event has a number. Where another process or window has given that number away meanwhile, `append` refuses:
    nothing is overwritten.

    Args:
        sessions: the database.
        id: of the session.
        count: events that its reader knows.
    """

    def __init__(self, sessions: Sessions, id: str, count: int) -> None:
        self.sessions, self.id, self._count = sessions, id, count

    def read(self) -> list[Event]:
        """All events so far; the next one follows them.

        Raises:
            StoreError: if one is damaged or missing.
        """
        events = self.sessions.events(self.id)
        self._count = len(events)
        return events

    def append(self, event: Event) -> None:
        """Keep one more: it is on disk when this returns.

        Raises:
            BusyError: if another process or window added one meanwhile; read again.
            StoreError: if it cannot be written, or the session was removed.
        """
        self.sessions._append(self.id, self._count, event)
        self._count += 1


def written(event: Event) -> str:
    """An event as JSON."""
    text: bytes = _adapter().dump_json(event)
    return text.decode()


def read(text: str) -> Event:
    """An event from JSON.

    Raises:
        ValueError: if it is none.
    """
    event: Event = _adapter().validate_json(text)
    return event


def _json(value: Json) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@cache
def _adapter() -> Any:  # noqa: ANN401 - pydantic's, imported when used
    from pydantic import TypeAdapter

    return TypeAdapter(Event)
