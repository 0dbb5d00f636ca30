"""Tables of a person's session: what each round asked and found, from its events alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.loop.events import (
    Answered,
    Asked,
    Event,
    ExampleAdded,
    Reply,
    Revoked,
    Shown,
    Started,
    standing,
)
from seekloop.loop.items import Images

RELEVANT, IRRELEVANT = "relevant", "irrelevant"


@dataclass
class Tally:
    """Labels and rounds of a session, event by event.

    Attributes:
        labels: of each image, examples and images presumed irrelevant among them; `RELEVANT` or `IRRELEVANT`.
        rounds: a row per round, the start first.
        asked: a row per answer.
        seconds: that the answers took.
    """

    labels: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    question: dict[str, Shown] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """How many images are relevant, examples among them."""
        return sum(label == RELEVANT for label in self.labels.values())

    def take(self, event: Event) -> None:
        """Take in one more event."""
        match event:
            case Started():
                self.labels |= dict.fromkeys(event.presumed, IRRELEVANT)
                self.labels |= {one.image: RELEVANT for one in event.examples}
                self._round([])
            case Asked():
                self.question = {one.image: one for one in event.images}
            case ExampleAdded():
                self.labels[event.example.image] = RELEVANT
            case Revoked():
                self.labels = {image: label for image, label in self.labels.items() if image not in event.images}
            case Answered():
                self._answered(event.replies)

    def _answered(self, replies: Sequence[Reply]) -> None:
        """One round: answers to the question, and to whatever else was corrected or accepted."""
        for one in replies:
            self.labels.pop(one.image, None)
            if one.answer in (RELEVANT, IRRELEVANT):
                self.labels[one.image] = one.answer
        self.seconds += sum(one.seconds for one in replies)
        self._round(replies)
        self.question = {}

    def _round(self, replies: Sequence[Reply]) -> None:
        number = len(self.rounds)
        answers: list[str] = [one.answer for one in replies if one.image in self.question]
        yes, sure = answers.count(RELEVANT), len(answers) - answers.count("unsure")
        row = {"round": number, "asked": len(answers), "yes": yes, "precision": yes / sure if sure else None}
        self.rounds.append({**row, "found": self.found, "labels": len(self.labels), "seconds": self.seconds})
        self.asked += [self._row(number, one) for one in replies]

    def _row(self, number: int, reply: Reply) -> dict[str, Any]:
        shown = self.question.get(reply.image)
        relevant = None if reply.answer == "unsure" else reply.answer == RELEVANT
        score = None if shown is None else shown.score
        box = dict(zip(("x0", "y0", "x1", "y1"), reply.box or reply.region_box or WHOLE_IMAGE, strict=True))
        about = {"round": number, "name": reply.image, "region": reply.region, "score": score}
        return {**about, "relevant": relevant, **box}


def tally(events: Sequence[Event]) -> Tally:
    """Count what stands of a session: what was undone is left out.

    The precision of a round is the share of relevant images among those of the question that got a yes or a no; answers
    to other images, such as corrections, count among what was found.
    """
    counted = Tally()
    for _, event in standing(events):
        counted.take(event)
    return counted


def tables(counted: Tally, images: Images) -> dict[str, pd.DataFrame]:
    """Tables of the run that a session is; answers about images that the collection has no more are left out."""
    columns = ["round", "name", "region", "score", "relevant", "x0", "y0", "x1", "y1"]
    asked = pd.DataFrame(counted.asked, columns=columns)
    asked.insert(1, "image", [images.position(name) for name in asked["name"]])
    asked = asked[asked["image"].notna()].astype({"image": int, "score": float})
    paths = images.paths
    asked["path"] = [
        name if paths is None else paths[at] for name, at in zip(asked["name"], asked["image"], strict=True)
    ]
    return {"rounds": pd.DataFrame(counted.rounds).astype({"precision": float}), "asked": asked.drop(columns="name")}
