"""Answers of a session, derived from its events: which count, in which round, and which wait for one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from seekloop.loop.events import (
    Answered,
    Asked,
    CollectionGrown,
    CriterionChanged,
    Event,
    ExampleAdded,
    Noted,
    Reply,
    Revoked,
    Started,
    standing,
)

COLD = (Started, Revoked, ExampleAdded, CollectionGrown)
"""Events that change training rows which were there before."""
Said = Mapping[str, tuple[Reply, int | None]]
"""By image, the answer that counts, and its round; None where it waits for the next."""


@dataclass(frozen=True)
class Answers:
    """Answers of one round.

    Attributes:
        criterion: name of the criterion that chose the question; empty: the loop's own.
        replies: answers to the question, in its order.
        others: answers to other images that were taken in with them.
    """

    criterion: str
    replies: tuple[Reply, ...]
    others: tuple[Reply, ...]


def updates(live: Sequence[Event]) -> tuple[Event, ...]:
    """The events that a classifier learns from, among those that count."""
    return tuple(event for event in live if isinstance(event, (*COLD, Answered)))


def cold_start(learnt: Sequence[Event]) -> int:
    """Position of the last of these updates that changes rows which were there before: corrections do, too."""
    cold, known = 0, set[str]()
    for number, event in enumerate(learnt):
        if isinstance(event, Answered):
            images = {one.image for one in event.replies}
            cold = number if images & known else cold
            known |= images
        else:
            cold = number
            known |= set(event.presumed) if isinstance(event, Started) else set()
    return cold


def pending(live: Sequence[Event]) -> dict[str, Reply]:
    """Answers that were noted since others were taken in, by image."""
    waiting: dict[str, Reply] = {}
    for event in live:
        if isinstance(event, Answered):
            waiting = {}
        elif isinstance(event, ExampleAdded):
            waiting.pop(event.example.image, None)
        elif isinstance(event, Noted):
            waiting |= {one.image: one for one in event.replies}
            waiting = {image: one for image, one in waiting.items() if image not in event.withdrawn}
    return waiting


def said(events: Sequence[Event], waiting: Mapping[str, Reply]) -> dict[str, tuple[Reply, int | None]]:
    """The answer that counts for each image, in the order given, and its round.

    Args:
        events: all of a session.
        waiting: answers that wait for the next round.
    """
    told: dict[str, tuple[Reply, int | None]] = {}
    number = 0
    for _, event in standing(events):
        gone: tuple[str, ...] = ()
        if isinstance(event, Answered):
            number, gone = number + 1, tuple(one.image for one in event.replies)
        elif isinstance(event, Revoked):
            gone = event.images
        elif isinstance(event, ExampleAdded):
            gone = (event.example.image,)
        told = {image: one for image, one in told.items() if image not in set(gone)}
        if isinstance(event, Answered):
            told |= {one.image: (one, number) for one in event.replies}
    later = {image: (one, None) for image, one in waiting.items()}
    return {image: one for image, one in told.items() if image not in later} | later


def rounds(events: Sequence[Event], told: Said) -> Iterator[Answers]:
    """Answers that count, by the rounds in which they were taken in; neither revoked nor corrected since."""
    criterion, asked, number = "", tuple[str, ...](), 0
    for _, event in standing(events):
        if isinstance(event, CriterionChanged):
            criterion = event.criterion
        elif isinstance(event, Asked):
            asked = tuple(one.image for one in event.images)
        elif isinstance(event, Answered):
            number += 1
            counting = [one for one in event.replies if told.get(one.image) == (one, number)]
            replies, others = ([one for one in counting if (one.image in asked) == of] for of in (True, False))
            yield Answers(criterion, tuple(replies), tuple(others))
            asked = ()
