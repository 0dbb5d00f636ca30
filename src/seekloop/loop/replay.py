"""Replays of sessions: what was asked is asked again, and compared bit for bit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seekloop.contracts.protocols import Criterion
from seekloop.loop.engine import Loop
from seekloop.loop.events import Asked, CollectionGrown, Event, MemoryLog, Started
from seekloop.loop.items import Images
from seekloop.loop.session import Session


@dataclass(frozen=True)
class Replay:
    """Comparison of a session with its replay.

    Attributes:
        session: after all events, in memory.
        questions: how many came out as they were asked, images, regions and scores bit for bit.
        unchecked: how many were asked over images that are not known now, before the collection grew or shrank.
        differs: number of the first event that came out otherwise; None: there is none.
        why: that event, in a sentence; empty where there is none.
    """

    session: Session
    questions: int
    unchecked: int
    differs: int | None = None
    why: str = ""

    @property
    def said(self) -> str:
        """The comparison in a sentence."""
        if self.differs is not None:
            return f"the replay differs: {self.why}"
        other = f"; {self.unchecked} were asked over other images than there are now" if self.unchecked else ""
        return f"{self.questions} questions came out again bit for bit{other}"


def replayed(
    loop: Loop,
    events: Sequence[Event],
    *,
    images: Images | None = None,
    criteria: Mapping[str, Criterion] | None = None,
    others: Sequence[tuple[Loop, Images]] = (),
) -> Replay:
    """Repeat a session event by event, and ask every question again.

    Args:
        loop: the parts that it began with, over the collection's descriptors.
        events: of the session.
        images: names of the collection's images.
        criteria: by name, those that the session changed to.
        others: the same parts over other images that questions may have been asked over, and their names.

    Raises:
        ValueError: if the events are no search, or change to a criterion that is not among these.
    """
    images = images or Images(loop.descriptors.images)
    known = {names.listing: (machine, names) for machine, names in (*others, (loop, images))}

    def after(count: int, machine: Loop, names: Images) -> Session:
        return Session(machine, MemoryLog(events[:count]), images=names, criteria=criteria)

    session, questions, unchecked = None, 0, 0
    for number, event in enumerate(events):
        if isinstance(event, Started | CollectionGrown):
            there = known.get(event.collection)
            session = None if there is None else after(number + 1, *there)
        elif session is None:
            unchecked += isinstance(event, Asked)
        elif isinstance(event, Asked):
            session.ask()
            if session.events[-1] != event:
                why = _difference(number, event, session.events[-1])
                return Replay(after(len(events), loop, images), questions, unchecked, number, why)
            questions += 1
        else:
            session._happen(event, session._now)
    return Replay(session or after(len(events), loop, images), questions, unchecked)


def _difference(number: int, was: Asked, now: Event) -> str:
    """The first image of a question that is another one, or has another region or score."""
    images = now.images if isinstance(now, Asked) else ()
    for place, one in enumerate(was.images):
        other = images[place] if place < len(images) else None
        if other is not None and other.image == one.image and other != one:
            what = "score" if other.score != one.score else "region"
            values = (other.score, one.score) if what == "score" else (other.region_box, one.region_box)
            return f"event {number}, image {one.image}: its {what} is {values[0]!r} and was {values[1]!r}"
        if other != one:
            return f"event {number}: image {place + 1} of the question is {other and other.image} and was {one.image}"
    return f"event {number}: the question has {len(images)} images and had {len(was.images)}"
