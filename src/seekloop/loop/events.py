"""Events of a session: everything that happened, in plain values; images are named by what they hold."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from seekloop.artifacts import files
from seekloop.artifacts.folder import Folder
from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Json, Recipe

Box = tuple[float, float, float, float]  # (x0, y0, x1, y1), fractions of the image


@dataclass(frozen=True)
class Pointed:
    """An image that shows the object, and where; without a box the whole image."""

    image: str
    box: Box | None


@dataclass(frozen=True)
class Started:
    """A search began: by examples, words with their vector, or both; some images are presumed irrelevant."""

    examples: tuple[Pointed, ...]
    words: str | None
    vector: tuple[float, ...] | None
    presumed: tuple[str, ...]
    budget: int
    collection: str  # hash of its images' names
    event: Literal["started"] = "started"


@dataclass(frozen=True)
class Shown:
    """An image of a question, its region that scored highest (-1: the whole image), its score, and the region's box.

    `box_wanted`: whether a box of the object is asked for.
    """

    image: str
    region: int
    score: float
    region_box: Box | None = None
    box_wanted: bool = False


@dataclass(frozen=True)
class Asked:
    """A question was shown."""

    images: tuple[Shown, ...]
    event: Literal["asked"] = "asked"


@dataclass(frozen=True)
class Reply:
    """An answer to one image. `region` scored highest when it was asked about, and stands in for a box.

    Its own box is kept too: an image's regions may be numbered otherwise once the collection has grown.
    """

    image: str
    answer: Literal["relevant", "irrelevant", "unsure"]
    box: Box | None
    region: int
    seconds: float
    region_box: Box | None = None


@dataclass(frozen=True)
class Answered:
    """Some images were answered, and the classifier was fitted; those of the question, or any others."""

    replies: tuple[Reply, ...]
    event: Literal["answered"] = "answered"


@dataclass(frozen=True)
class Noted:
    """Answers were given, or withdrawn, that the next `Answered` takes in; about one image the last of them counts."""

    replies: tuple[Reply, ...]
    withdrawn: tuple[str, ...] = ()
    event: Literal["noted"] = "noted"


@dataclass(frozen=True)
class Revoked:
    """Answers were taken back: the images may be asked about again."""

    images: tuple[str, ...]
    event: Literal["revoked"] = "revoked"


@dataclass(frozen=True)
class ExampleAdded:
    """Another image that shows the object was given."""

    example: Pointed
    event: Literal["example added"] = "example added"


@dataclass(frozen=True)
class CriterionChanged:
    """Questions are chosen by another criterion from here on."""

    criterion: str
    event: Literal["criterion changed"] = "criterion changed"


@dataclass(frozen=True)
class CollectionGrown:
    """Images were added to the collection, or removed."""

    collection: str
    event: Literal["collection grown"] = "collection grown"


@dataclass(frozen=True)
class Undone:
    """An event was undone, known by its number; questions asked after it are void."""

    number: int
    event: Literal["undone"] = "undone"


Event = Started | Asked | Noted | Answered | Revoked | ExampleAdded | CriterionChanged | CollectionGrown | Undone
UNDOABLE = (Noted, Answered, Revoked, ExampleAdded, CriterionChanged)


def standing(events: Sequence[Event]) -> list[tuple[int, Event]]:
    """The events that count, with their numbers: those that were not undone, and no question based on one that was.

    Example:
        >>> [number for number, _ in standing([Asked(()), CriterionChanged("top"), Asked(()), Undone(1)])]
        [0]
    """
    kept: list[tuple[int, Event]] = []
    for number, event in enumerate(events):
        if isinstance(event, Undone):
            undone = event.number
            kept = [(n, one) for n, one in kept if n < undone or not (n == undone or isinstance(one, Asked))]
        else:
            kept.append((number, event))
    return kept


@runtime_checkable
class Log(Protocol):
    """Where a session's events are kept."""

    def read(self) -> list[Event]:
        """All events so far."""
        ...

    def append(self, event: Event) -> None:
        """Keep one more."""
        ...


class MemoryLog:
    """Events in memory: gone with the process."""

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self._events = list(events)

    def read(self) -> list[Event]:
        """All events so far."""
        return list(self._events)

    def append(self, event: Event) -> None:
        """Keep one more."""
        self._events.append(event)


class SessionFolder:
    """Events in a folder, a file each, written whole or not at all. Used inside `with folder.opened(parts):`.

    Whenever the process is killed, at most the event being written is lost. A session is never finished, so it needs no
    marker; its recipe holds a random id.

    Args:
        path: of the folder.
        key: of the config, below whose folder it lies.
    """

    DESCRIPTION = "session.json"

    def __init__(self, path: Path | str, key: str = "sessions_dir") -> None:
        self.folder = Folder(Path(path), key)
        self._count = 0

    @contextmanager
    def opened(self, parts: Json) -> Iterator["SessionFolder"]:
        """Be the only one who writes into the folder; begin a session, or go on with the one that is there.

        Args:
            parts: `settings` of the loop; a session goes on with the parts that it began with.

        Raises:
            BusyError: if another process has the session.
            StoreError: if it began with other parts, or is damaged.
        """
        with self.folder.claim(doing="running"):
            files.remove_drafts(self.folder.path)
            described = self.folder.path / self.DESCRIPTION
            if not described.exists():
                recipe = Recipe("session", {"id": uuid.uuid4().hex, "parts": parts})
                files.make_folder(self.folder.path, self.folder.key)
                files.write_json(described, recipe.plain(), self.folder.key)
            known = Recipe.from_plain(files.read_json(described)).settings["parts"]
            changed = sorted(name for name in known if known[name] != parts.get(name))  # earlier versions wrote fewer
            if changed := [name for name in changed if '"once"' not in json.dumps(parts.get(name))]:
                remedy = "Use the parts it began with, or start a new session."
                raise StoreError(f"the session in {self.folder.path} began with another {', '.join(changed)}. {remedy}")
            self._count = len(self._paths())
            yield self

    def read(self) -> list[Event]:
        """All events so far.

        Raises:
            StoreError: if one is damaged.
        """
        return [_event(path) for path in self._paths()]

    def append(self, event: Event) -> None:
        """Write one more.

        Raises:
            BusyError: if the folder is not open.
        """
        self.folder.write(f"event-{self._count:06d}.json", _adapter().dump_json(event, indent=1))
        self._count += 1

    def _paths(self) -> list[Path]:
        paths = sorted(self.folder.path.glob("event-*.json"))
        for number, path in enumerate(paths):
            if path.name != f"event-{number:06d}.json":
                raise StoreError(
                    f"{self.folder.path} lacks event {number}, and has later ones. Restore it from a copy."
                )
        return paths


def _event(path: Path) -> Event:
    try:
        event: Event = _adapter().validate_json(path.read_bytes())
    except ValueError as error:
        raise StoreError(f"{path} is no event of a session: {error}. Restore it from a copy.") from error
    return event


@cache
def _adapter() -> Any:  # noqa: ANN401 - pydantic's, imported when used
    from pydantic import TypeAdapter

    return TypeAdapter(Event)
