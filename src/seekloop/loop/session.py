"""One person's search: the same loop as the simulation, with q = 1."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from seekloop.contracts.boxes import clip, degenerate
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Answer, Feedback, Query
from seekloop.criteria.selection import lowest_first
from seekloop.loop.engine import Loop, Question
from seekloop.loop.shortlist import Shortlisted

Reply = bool | np.bool_ | None | Sequence[float | int]
MUCH_OUTSIDE = 2.0  # a drawn box may leave the image a little, in fractions of it


class Session:
    """A search that a person drives: `ask`, `answer`, look at `ranking`, as often as they like.

    Args:
        loop: the parts, over a collection's descriptors.
        image: position of the first image that shows the object.
        box: where it is, (x0, y0, x1, y1) in [0, 1]; None: the whole image.
        negatives: how many random images are presumed not to show it; they are not asked about.
        budget: images per question.

    Raises:
        ValueError: if the image is not in the collection or unreadable, or the box has no area inside it.
    """

    def __init__(self, loop: Loop, image: int, box: Sequence[float] | None, *, negatives: int, budget: int) -> None:
        self.loop = loop
        self.budget = budget
        first = self._feedback(image, True if box is None else box)
        query = Query("session", 0, image, first.box, self._presumed(image, negatives))
        self._state = loop.start((query,), [0.0])
        self._question: Question | None = None
        self._advance()

    def ask(self) -> list[int]:
        """Positions of the images to look at next, in the order to look; the same until some are answered."""
        if self._question is None:
            self._question = self.loop.ask(self._state, self._scores, self.budget)
        return self._question.image[0].tolist()

    def answer(self, replies: Mapping[int, Reply]) -> None:
        """Take answers to some of the images asked about, and learn from them.

        Args:
            replies: for each image position: True or False, None for "unsure", or a box, which means True.

        Raises:
            ValueError: if an image was not asked about, or a box has no area inside the image.
        """
        asked = self.ask()
        stray = sorted(set(replies) - set(asked))
        if stray:
            raise ValueError(f"images {stray} were not asked about; the question is {asked}")
        if self._question is None or not replies:
            return
        feedback = [self._feedback(image, reply) for image, reply in replies.items()]
        self.loop.learn(self._state, self._question, [feedback])
        self._advance()

    def ranking(self, top: int | None = None) -> list[int]:
        """Positions of the images, most likely first; equal scores by position."""
        if top is None or top >= len(self.scores):
            return self.scores.argsort(descending=True, stable=True).tolist()
        everything = torch.ones(1, len(self.scores), dtype=torch.bool, device=self.scores.device)
        return lowest_first(-self._scores, everything, top)[0].tolist()

    @property
    def scores(self) -> torch.Tensor:
        """Decision value of every image, shape (n,): above 0 is likely relevant. With an index, -inf off its list."""
        return self._scores[0]

    @property
    def found(self) -> Shortlisted | None:
        """What the index did in this round: length of the list, seconds, whether the question is certain; or None."""
        return self._found

    @property
    def answers(self) -> torch.Tensor:
        """+1, -1 or 0 for every image, shape (n,)."""
        return self._state.answers[0]

    def _advance(self) -> None:
        self.loop.fit(self._state)
        self._scores, self._found = self.loop.search(self._state, self.budget)
        self._question = None

    def _presumed(self, image: int, negatives: int) -> tuple[int, ...]:
        others = self.loop.descriptors.readable.clone()
        others[image] = False
        pool = others.nonzero()[:, 0]
        order = torch.randperm(len(pool), generator=generator(self.loop.seed, "presumed", image))
        return tuple(pool[order[:negatives]].tolist())

    def _feedback(self, image: int, reply: Reply) -> Feedback:
        readable = self.loop.descriptors.readable
        if not 0 <= image < len(readable) or not readable[image]:
            raise ValueError(f"image {image} is not one of the {int(readable.sum())} readable images")
        if reply is None or isinstance(reply, (bool, np.bool_)):
            answer = Answer.UNSURE if reply is None else Answer.RELEVANT if reply else Answer.IRRELEVANT
            return Feedback(image, answer, None, 0.0)
        if max(reply) > MUCH_OUTSIDE:
            raise ValueError(f"box {list(reply)} looks like pixels; give (x0, y0, x1, y1) as fractions of the image")
        box = clip(torch.tensor([list(reply)], dtype=torch.float32))
        if degenerate(box).any():
            raise ValueError(f"box {list(reply)} has no area inside the image; give (x0, y0, x1, y1) in [0, 1]")
        return Feedback(image, Answer.RELEVANT, box[0], 0.0)
