"""Events of a session: everything that happened, in plain values; images are named by what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

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

    Its own box is kept too: an image's regions may be numbered otherwise once the collection has grown. `score` is the
    decision value that the answer was given at.
    """

    image: str
    answer: Literal["relevant", "irrelevant", "unsure"]
    box: Box | None
    region: int
    seconds: float
    region_box: Box | None = None
    score: float | None = None


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
