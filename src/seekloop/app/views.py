"""A session as the page shows it."""

import math
from collections.abc import Mapping

from seekloop.app import models
from seekloop.contracts.problems import many
from seekloop.contracts.records import Answer
from seekloop.loop import events as happened
from seekloop.loop import stopping
from seekloop.loop.session import Session
from seekloop.loop.sessions import Listed
from seekloop.loop.stopping import Progress

SAID: Mapping[str, models.Said] = {Answer.RELEVANT: "yes", Answer.IRRELEVANT: "no", Answer.UNSURE: "unsure"}


def question(session: Session) -> list[models.Asked]:
    """The images asked about, with the answers that they have already."""
    pending = session.pending
    return [
        models.Asked(
            name=item.name,
            path=item.path or item.name,
            box=item.box,
            score=item.score,
            box_wanted=item.box_wanted,
            answer=SAID[pending[item.name].answer] if item.name in pending else None,
            answer_box=pending[item.name].box if item.name in pending else None,
        )
        for item in session.ask()
    ]


def examples(session: Session) -> list[models.Example]:
    """The images that the search was given, with their boxes."""
    names = session.images
    paths = names.paths
    return [
        models.Example(
            name=names.name(one.image),
            path=names.name(one.image) if paths is None else paths[one.image],
            box=None if one.box is None else box_of(one.box.tolist()),
        )
        for one in session.query.examples
    ]


def box_of(corners: list[float]) -> models.Box:
    """Four corners as a box."""
    x0, y0, x1, y1 = corners
    return x0, y0, x1, y1


def rounds(session: Session) -> list[models.Round]:
    """Finds of each round; precision is that of the images asked about, without those of which nobody is sure."""
    found, out = {example.image for example in session.query.examples}, list[models.Round]()
    for number, answers in enumerate(session.rounds, start=1):
        asked = [SAID[one.answer] for one in answers.replies]
        sure = [one for one in asked if one != "unsure"]
        for one in (*answers.replies, *answers.others):
            image = session.images.position(one.image)
            if image is not None:
                found = found | {image} if SAID[one.answer] == "yes" else found - {image}
        out.append(
            models.Round(
                round=number,
                asked=len(asked),
                yes=asked.count("yes"),
                precision=sure.count("yes") / len(sure) if sure else None,
                found=len(found),
            )
        )
    return out


def progress(session: Session, remaining: models.Remaining | None, hint: str) -> models.Progress:
    """How a search goes; answers that wait for the next round count."""
    answers = [SAID[reply.answer] for reply, _ in session.said.values()]
    waiting = sum(reply.seconds for reply in session.pending.values())
    return models.Progress(
        found=len(session.query.examples) + answers.count("yes"),
        irrelevant=answers.count("no"),
        unsure=answers.count("unsure"),
        seconds=session.seconds + waiting,
        rounds=rounds(session),
        remaining=remaining,
        hint=hint,
    )


def remaining(progress: Progress) -> tuple[models.Remaining | None, str]:
    """How many images remain to be found, where that holds, and a hint when to stop, or to check the rest."""
    estimate, told = stopping.shown(progress), stopping.hint(progress).why
    if estimate is None:
        return None, told
    low, value, high = math.floor(estimate.low), round(estimate.value), math.ceil(estimate.high)
    return models.Remaining(low=low, estimate=value, high=high, method=estimate.method), told


def criterion(session: Session, names: Mapping[str, object]) -> str:
    """Name of the criterion in force; the first of the page's, where nobody changed it."""
    changes = [event.criterion for _, event in happened.standing(session.events) if event.event == "criterion changed"]
    return changes[-1] if changes else next(iter(names))


def search(
    session: Session,
    listed: Listed,
    *,
    criteria: Mapping[str, object],
    learning: bool,
    remaining: models.Remaining | None = None,
    hint: str = "",
    undone: str = "",
    notice: str = "",
) -> models.SearchOut:
    """The search as it stands, with its open question."""
    live = [event for _, event in happened.standing(session.events)]
    start = session.events[0]
    return models.SearchOut(
        id=listed.id,
        title=listed.title,
        created=listed.created.isoformat(timespec="seconds"),
        words=(start.words or "") if isinstance(start, happened.Started) else "",
        version=len(session.events),
        examples=examples(session),
        criterion=criterion(session, criteria),
        round=len(session.rounds) + 1,
        budget=session.budget,
        question=question(session),
        pending=len(session.pending),
        learning=learning,
        progress=progress(session, remaining, hint),
        left=session.state.left,
        can_undo=any(isinstance(event, happened.UNDOABLE) for event in live),
        undone=undone,
        notice=notice,
    )


def undone(event: happened.Event, paths: Mapping[str, str]) -> str:
    """A sentence that says what was undone."""
    match event:
        case happened.Noted():
            count = len(event.replies) + len(event.withdrawn)
            names = [paths.get(one, one) for one in (*(reply.image for reply in event.replies), *event.withdrawn)]
            return f"the answer to {names[0]}" if count == 1 else f"{count} answers"
        case happened.Answered():
            return f"the round of {many(len(event.replies), 'answer', 'answers')}; the answers are there to be changed"
        case happened.Revoked():
            return f"the withdrawal of {many(len(event.images), 'answer', 'answers')}"
        case happened.ExampleAdded():
            return f"the example {paths.get(event.example.image, event.example.image)}"
        case happened.CriterionChanged():
            return "the other way of choosing questions"
        case _:
            return "the last step"
