"""Sessions from files that `export.as_json` made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seekloop.app.export import FORMAT, VERSION
from seekloop.contracts.recipe import Json
from seekloop.loop.events import Answered, Event, ExampleAdded, Noted, Started
from seekloop.loop.items import Images
from seekloop.loop.sessions import Sessions, read

PARTS = ("parts", "about")


@dataclass(frozen=True)
class Imported:
    """A session that came from a file.

    Attributes:
        id: that it has now.
        events: number of them.
        missing: images that it names and the collection lacks; None where the collection is not known.
    """

    id: str
    events: int
    missing: int | None

    @property
    def said(self) -> str:
        """The import in a sentence."""
        lost = f"; {self.missing} of its images are not in this collection and count no more" if self.missing else ""
        return f"{self.events} events imported as session {self.id}{lost}"


def imported(
    sessions: Sessions, data: bytes, *, images: Images | None = None, about: Mapping[str, Json] | None = None
) -> Imported:
    """Keep the session of a file under an id of its own.

    Args:
        sessions: where it goes.
        data: content of the file.
        images: names of the collection that it will search.
        about: that replaces what the file says of how its loop was built, which may be of another machine.

    Raises:
        ValueError: if it is no session, damaged, or of a newer version.
    """
    content = _content(data)
    try:
        events = [read(json.dumps(one)) for one in content["events"]]
    except ValueError as error:
        raise ValueError(
            f"the file is damaged: one of its events is none ({_first(error)}). Export it again."
        ) from error
    if not events or not isinstance(events[0], Started) or any(isinstance(one, Started) for one in events[1:]):
        raise ValueError("the file is damaged: a session begins with its start, once. Export it again.")
    kept = {**content["about"], **(about or {}), "imported": {"from": str(content.get("id", ""))}}
    log = sessions.create(content["parts"], title=str(content.get("title", "")), about=kept, events=events)
    names = {name for event in events for name in _named(event)}
    missing = None if images is None else sum(images.position(name) is None for name in names)
    return Imported(log.id, len(events), missing)


def _content(data: bytes) -> dict[str, Any]:
    """The file's content, its parts of the right kinds."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is no session: it is no JSON ({_first(error)}). Give a file of format=json.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("this is no session of seekloop. Give a file that was exported with format=json.")
    if content.get("version") != VERSION:
        raise ValueError(
            f"the file is of version {content.get('version')!r}, and this seekloop reads {VERSION}. Update it."
        )
    if not (isinstance(content.get("events"), list) and all(isinstance(content.get(key), dict) for key in PARTS)):
        raise ValueError("the file is damaged: events, parts and about are not all there. Export it again.")
    return content


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _named(event: Event) -> list[str]:
    """Names of the images that an event says something of; questions say nothing."""
    match event:
        case Started():
            return [*(one.image for one in event.examples), *event.presumed]
        case Answered() | Noted():
            return [one.image for one in event.replies]
        case ExampleAdded():
            return [event.example.image]
        case _:
            return []
