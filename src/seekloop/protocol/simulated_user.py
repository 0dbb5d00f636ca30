"""A user made of annotations: the only part of a simulation that knows the truth."""

from functools import cached_property
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor

from seekloop.contracts.boxes import clip
from seekloop.contracts.declared import Share, component
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Annotations, Answer, Feedback, Query

FromZero = Annotated[float, Interval(ge=0, lt=float("inf"))]


@component
class SimulatedUser:
    """Answers from the annotations, with the faults of a person where asked for.

    An answer depends on (seed, class, query, image) alone: not on the round, nor on what was asked before.

    Args:
        annotations: the truth.
        seed: of all faults.
        draws_boxes: whether a relevant image comes with the box of its largest object of the class; not where nothing
            reads boxes.
        label_noise: probability of answering the opposite.
        missed: probability of overlooking the object in a relevant image.
        unsure: probability of answering "unsure".
        box_jitter: standard deviation of each side of a drawn box, as a share of the box's width or height.
        click_seconds: time of an answer.
        box_seconds: time of drawing a box, on top.
        boxes: which relevant images that were asked about get one: all, those where the loop asks for it, or none. A
            search's first examples always do.
    """

    annotations: Annotations
    seed: int
    draws_boxes: bool
    label_noise: Share = 0.0
    missed: Share = 0.0
    unsure: Share = 0.0
    box_jitter: FromZero = 0.0
    click_seconds: FromZero = 1.8
    box_seconds: FromZero = 2.8
    boxes: Literal["always", "asked", "never"] = "always"

    def answer(self, query: Query, image: int, round: int, box_wanted: bool) -> Feedback:
        """Relevant with the largest box of the class, or irrelevant, or a fault."""
        label = self.annotations.classes.index(query.class_name)
        box = self.annotations.largest_box(image, label)
        drawn = self.draws_boxes and (self.boxes == "always" or (self.boxes == "asked" and box_wanted))
        if not self.faulty:
            return self._feedback(image, box is not None, box if drawn else None)
        rng = generator(self.seed, "user", query.class_name, query.number, image)
        unsure, missed, flipped = torch.rand(3, generator=rng).tolist()
        if unsure < self.unsure:
            return Feedback(image, Answer.UNSURE, None, self.click_seconds)
        relevant = (box is not None and missed >= self.missed) != (flipped < self.label_noise)
        return self._feedback(image, relevant, self._drawn(box, rng) if drawn and box is not None else None)

    @cached_property
    def faulty(self) -> bool:
        """Whether anything is drawn at all; a perfect user saves the time."""
        return any((self.label_noise, self.missed, self.unsure, self.box_jitter))

    def _feedback(self, image: int, relevant: bool, box: Float[Tensor, " 4"] | None) -> Feedback:
        if not relevant:
            return Feedback(image, Answer.IRRELEVANT, None, self.click_seconds)
        if box is None:
            return Feedback(image, Answer.RELEVANT, None, self.click_seconds)
        return Feedback(image, Answer.RELEVANT, box, self.click_seconds + self.box_seconds)

    def seed_seconds(self, query: Query) -> float:
        """Seconds that starting a search costs: a click per first image, and one box per example where they are drawn.

        Giving the words counts as a click.
        """
        clicks = len(query.examples) + len(query.negatives) + (query.text is not None)
        return clicks * self.click_seconds + (self.box_seconds * len(query.examples) if self.draws_boxes else 0.0)

    def _drawn(self, box: Float[Tensor, " 4"], rng: torch.Generator) -> Float[Tensor, " 4"]:
        if self.box_jitter == 0:
            return box
        size = (box[2:] - box[:2]).repeat(2)
        moved = clip((box + self.box_jitter * size * torch.randn(4, generator=rng))[None])[0]
        low, high = moved[:2].minimum(moved[2:]), moved[:2].maximum(moved[2:])
        return torch.cat([low, high]) if ((high - low) > 0).all() else box
