"""A person's search: a list of events, replayed through the same loop as the simulation, with q = 1."""

import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, SupportsIndex

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.boxes import clip, degenerate
from seekloop.contracts.declared import Count, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Criterion
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Answer, Example, Feedback, Query, Text
from seekloop.criteria.selection import lowest_first
from seekloop.loop import events as happened
from seekloop.loop import history
from seekloop.loop.engine import ANSWER_CODE, Loop
from seekloop.loop.events import Box, Event, Log, MemoryLog
from seekloop.loop.items import Images, Item
from seekloop.loop.shortlist import Shortlisted, require_by_score
from seekloop.loop.state import State
from seekloop.loop.stopping import BY_HAND, Progress, Turn, criterion_name, progress_of
from seekloop.representations.local import GLOBAL, best_overlap

GivenBox = Sequence[float | int] | np.ndarray | Tensor
MUCH_OUTSIDE = 1.0  # a drawn box may leave the image a little, in fractions of it


@dataclass(frozen=True)
class _Standing:
    """Where the search stands.

    Attributes:
        updates: the events that the state follows from.
        state: of the loop, after them.
        criterion: that chooses; None: the loop's own.
        question: that is open; None where the next is not chosen yet.
        pending: answers that no fit has taken in, by image.
    """

    updates: tuple[Event, ...]
    state: State
    criterion: Criterion | None
    question: tuple[happened.Shown, ...] | None
    pending: Mapping[str, happened.Reply]


class Session:
    """A search that a person drives: `ask`, `answer`, look at `ranking`, as often as they like.

    Everything that happens is an event: saving appends one, undoing replays without one, resuming replays all. Begin
    one with `Session.start`, go on with `Session(loop, log)`.

    Args:
        loop: the parts, over a collection's descriptors.
        log: the events so far, and where the next ones are kept.
        images: names of the collection's images.
        criteria: by name, those that `use` may change to. The loop's own is there too, under the name of its class
            in snake case, such as "uncertainty".
        clock: seconds since any moment.

    Raises:
        ValueError: if the log holds no search, or a criterion that is not among these.
    """

    def __init__(
        self,
        loop: Loop,
        log: Log,
        *,
        images: Images | None = None,
        criteria: Mapping[str, Criterion] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loop, self.log, self.criteria, self.clock = loop, log, dict(criteria or {}), clock
        self.images = images or Images(loop.descriptors.images)
        self.events: list[Event] = log.read()
        if not self.events or not isinstance(self.events[0], happened.Started):
            raise ValueError("this log holds no search: begin one with Session.start")
        self.budget = self.events[0].budget
        self._moment = clock()
        self._shown: tuple[State, Float[Tensor, " n"]] | None = None
        self._prepared: tuple[tuple[Event, ...], State] | None = None
        self._foreseen: tuple[State, Criterion | None, tuple[happened.Shown, ...]] | None = None
        known = [e.collection for e in self.events if isinstance(e, happened.Started | happened.CollectionGrown)]
        if known[-1] == self.images.listing:
            self._now = self._stands(self.events, None)
        else:
            self._happen(happened.CollectionGrown(self.images.listing), None)

    @classmethod
    @declared
    def start(
        cls,
        loop: Loop,
        image: SupportsIndex | None = None,
        box: GivenBox | None = None,
        *,
        examples: Sequence[Example] = (),
        text: Text | None = None,
        negatives: Annotated[int, Ge(0)] = 5,
        budget: Count = 10,
        log: Log | None = None,
        images: Images | None = None,
        **settings: Any,  # noqa: ANN401 - those of a session
    ) -> "Session":
        """Begin a search by images, by words, or by both.

        Args:
            loop: the parts, over a collection's descriptors.
            image: position of an image that shows the object; more are added by `add_example`.
            box: where it is, (x0, y0, x1, y1) as fractions (see `contracts.boxes.pixels`); None: the whole image.
            examples: further images that show it.
            text: words, and their vector; needs a loop with a prior.
            negatives: how many random images are presumed not to show it; they are not asked about. Without a prior, a
                classifier needs one at least.
            budget: images per question.
            log: keeps the events; None: memory.
            images: names of the collection's images.
            settings: `criteria` and `clock` of a session.

        Raises:
            ConfigError: if a number is out of its range.
            ValueError: if there is neither image nor text, the image is not in the collection or unreadable, or the box
                has no area inside it.
        """
        pointed = [] if image is None else [(image, box)]
        pointed += [(one.image, one.box) for one in examples]
        if not pointed and (text is None or loop.prior is None):
            raise ValueError("a search needs an image to start from, or a text and a loop with a prior")
        if negatives == 0 and loop.prior is None:
            why = "without a prior, a classifier needs an irrelevant image too"
            raise ConfigError("negatives", negatives, why, "Use 1 or more, or a loop with a prior.", cls.start)
        if log is not None and log.read():
            raise ValueError("this log holds a search already: go on with Session(loop, log)")
        images = images or Images(loop.descriptors.images)
        shown = tuple(_pointed(loop, images, *one) for one in pointed)
        positions = [operator.index(position) for position, _ in pointed]
        presumed = tuple(images.name(position) for position in _presumed(loop, positions, negatives))
        words, vector = (None, None) if text is None else (text.words, tuple(text.vector.tolist()))
        started = happened.Started(shown, words, vector, presumed, budget, images.listing)
        session = cls(loop, MemoryLog([started]), images=images, **settings)
        if log is not None:
            log.append(started)
            session.log = log
        return session

    def ask(self) -> list[Item]:
        """Images to look at next, in the order to look.

        They stay while answers are noted and the collection grows, but for images that are gone.
        """
        if self._now.question is None:
            state, foreseen = self._without(self._now.state, self._now.pending), self._foreseen
            if foreseen is not None and foreseen[0] is state and foreseen[1] is self._now.criterion:
                shown = foreseen[2]
            else:
                shown = self._chosen(state, self._now.criterion)
            self._happen(happened.Asked(shown), self._now)
            self._moment = self.clock()
        return [self._item(one) for one in self._now.question or ()]

    def _chosen(self, state: State, criterion: Criterion | None) -> tuple[happened.Shown, ...]:
        """The images that the criterion asks about in a state."""
        proposed = self.loop.propose(state, criterion, budget=self.budget)
        columns = (proposed.image, proposed.region, proposed.score, proposed.box_wanted)
        return tuple(
            happened.Shown(self.images.name(image), region, score, self._region_box(image, region), wanted)
            for image, region, score, wanted in zip(*(column[0].tolist() for column in columns), strict=True)
        )

    def answer(self, replies: Mapping[int, object]) -> None:
        """Take answers to some of the images asked about, and learn from them. Their seconds are measured.

        Args:
            replies: for each image position: True or False, None for "unsure", or a box, which means True.

        Raises:
            ValueError: if an image was not asked about, an answer is none of these, or a box has no area inside the
                image.
        """
        asked = [self.images.position(one.image) for one in self._now.question or ()]
        if stray := sorted(set(replies) - set(asked)):
            raise ValueError(f"images {stray} were not asked about; the question is {asked}")
        if replies:
            self._learn({**self._now.pending, **{one.image: one for one in self._replies(replies)}})

    def note(self, replies: Mapping[int, object], withdrawn: Sequence[int] = ()) -> None:
        """Keep answers for the next fit, which `advance` makes: to the question, or to any other images.

        The question stays. A later note about an image counts in place of an earlier one; an image that was answered in
        an earlier round, or presumed irrelevant, is corrected.

        Args:
            replies: as for `answer`.
            withdrawn: positions of images whose notes are taken back.

        Raises:
            ValueError: if an image is unreadable or an example, an answer is none of these, a box has no area inside
                the image, or there is no note to take back.
        """
        names = [self.images.name(operator.index(image)) for image in withdrawn]
        if stray := sorted(set(names) - set(self._now.pending)):
            raise ValueError(f"images {stray} have no answer that waits for the next round")
        examples = {example.image for example in self.query.examples}
        for image in replies:
            if not 0 <= image < self.images.count or not self.loop.descriptors.readable[image]:
                raise ValueError(f"image {image} is not one of the readable images")
            if image in examples:
                raise ValueError(f"image {image} is an example: it is relevant already")
        if replies or names:
            self._happen(happened.Noted(self._replies(replies), tuple(names)), self._now)

    def prepare(self) -> None:
        """Fit and choose in advance what `advance` and `ask` would now; nothing happens otherwise."""
        now = self._now
        updates = (*now.updates, self._answered(now.pending))
        if now.pending and (self._prepared is None or self._prepared[0] != updates):
            state = self._state(updates, now)
            self._prepared = updates, state
            self._foreseen = state, now.criterion, self._chosen(state, now.criterion)

    @property
    def foreseen(self) -> tuple[happened.Shown, ...]:
        """The next question, as far as it was prepared for the answers so far."""
        return () if self._foreseen is None else self._foreseen[2]

    def advance(self) -> None:
        """Take in the answers that were noted, and learn from them; nothing happens without any."""
        if self._now.pending:
            self._learn(self._now.pending)

    def _learn(self, replies: Mapping[str, happened.Reply]) -> None:
        self._happen(self._answered(replies), self._now)

    def _answered(self, replies: Mapping[str, happened.Reply]) -> happened.Answered:
        """The event that takes these answers in: those to the question in its order, then the others."""
        asked = [one.image for one in self._now.question or ()]
        order = [*(image for image in asked if image in replies), *(image for image in replies if image not in asked)]
        return happened.Answered(tuple(replies[image] for image in order))

    def _replies(self, replies: Mapping[int, object]) -> tuple[happened.Reply, ...]:
        """Answers as events hold them, with the time since the answers before, and the region that scores highest."""
        if not replies:
            return ()
        names = {image: self.images.name(image) for image in replies}
        asked = {one.image: one for one in self._now.question or ()}
        others = [image for image, name in names.items() if name not in asked]
        shown = asked | {one.image: one for one in self.shown(others)}
        read = {image: _reply(reply) for image, reply in replies.items()}
        now = self.clock()
        seconds, self._moment = (now - self._moment) / len(replies), now
        given = [(shown[names[image]], *reply) for image, reply in read.items()]
        return tuple(
            happened.Reply(one.image, answer.value, box, one.region, seconds, one.region_box, one.score)
            for one, answer, box in given
        )

    def shown(self, images: Sequence[int]) -> list[happened.Shown]:
        """Images with their scores, and the region of each that scores highest."""
        regions = [GLOBAL] * len(images)
        if images and self.loop.representation.local.uses_regions:
            regions = self.loop.best_regions(self._now.state, torch.tensor(images, dtype=torch.long)).tolist()
        scores = self.scores[torch.tensor(images, dtype=torch.long)].tolist()
        return [
            happened.Shown(self.images.name(image), region, score, self._region_box(image, region))
            for image, region, score in zip(images, regions, scores, strict=True)
        ]

    def revoke(self, images: Sequence[int]) -> None:
        """Take answers back: the images may be asked about again.

        Raises:
            ValueError: if an image has no answer.
        """
        images = [operator.index(image) for image in images]
        _, known = self._known(self._now.updates)
        if stray := sorted(set(images) - {one.image for one in known}):
            raise ValueError(f"images {stray} have no answer that could be taken back")
        self._happen(happened.Revoked(tuple(self.images.name(image) for image in images)), self._now)

    def add_example(self, image: SupportsIndex, box: GivenBox | None = None) -> None:
        """Give another image that shows the object, and where.

        Raises:
            ValueError: as for `start`.
        """
        self._happen(happened.ExampleAdded(_pointed(self.loop, self.images, image, box)), self._now)

    def use(self, criterion: str) -> None:
        """Choose questions by another criterion; nothing is fitted anew.

        Raises:
            ValueError: if it is not among the session's criteria.
            ConfigError: if the loop has an index, and the criterion looks at more than scores.
        """
        if self.loop.shortlist is not None:
            require_by_score(self._criterion(criterion))
        self._happen(happened.CriterionChanged(criterion), self._now)

    def grow(self, loop: Loop, images: Images | None = None) -> None:
        """Go on over a collection to which images were added, or from which some were removed.

        Args:
            loop: the same parts over its descriptors.
            images: names of its images.

        Raises:
            ValueError: if nothing that was searched for is left.
        """
        before = self.loop, self.images
        self.loop, self.images = loop, images or Images(loop.descriptors.images)
        try:
            self._happen(happened.CollectionGrown(self.images.listing), None)
        except BaseException:
            self.loop, self.images = before
            raise

    def undo(self) -> Event:
        """Undo the last note, answer, revocation, example, or change of criterion, and return it.

        Raises:
            ValueError: if there is nothing left to undo.
        """
        able = [(n, event) for n, event in happened.standing(self.events) if isinstance(event, happened.UNDOABLE)]
        if not able:
            raise ValueError("nothing is left to undo")
        number, event = able[-1]
        self._happen(happened.Undone(number), self._now)
        return event

    def ranking(self, top: int | None = None) -> list[int]:
        """Positions of the images, most likely first, equal scores by position; the re-ranker's, if there is one."""
        scores = self._seen()
        if top is None or top >= len(scores):
            return self.order().tolist()
        everything = torch.ones(1, len(scores), dtype=torch.bool, device=scores.device)
        return lowest_first(-scores[None], everything, top)[0].tolist()

    def order(self) -> Int[Tensor, " n"]:
        """The whole ranking."""
        return self._seen().argsort(descending=True, stable=True).cpu()

    def _seen(self) -> Float[Tensor, " n"]:
        """Scores of the ranking that the person sees, ranked again once for each state."""
        state = self._now.state
        if self._shown is None or self._shown[0] is not state:
            self._shown = (state, self.loop.shown(state)[0])
        return self._shown[1]

    @property
    def scores(self) -> Float[Tensor, " n"]:
        """Decision value of every image: above 0 is likely relevant. With an index, -inf off its list."""
        return self._now.state.ranked()[0]

    @property
    def shortlisted(self) -> Shortlisted | None:
        """This round's search through the index, its list's length, seconds, and certainty; None without an index."""
        return self._now.state.search

    @property
    def answers(self) -> Int[Tensor, " n"]:
        """+1, -1 or 0 for every image."""
        return self._now.state.answers[0]

    @property
    def state(self) -> State:
        """State of the loop: answers, candidates, rows, scorer and scores."""
        return self._now.state

    @property
    def pending(self) -> Mapping[str, happened.Reply]:
        """Answers that wait for `advance`, by the names of their images."""
        return self._now.pending

    @property
    def question(self) -> tuple[happened.Shown, ...] | None:
        """The open question; None where the next one is not chosen yet."""
        return self._now.question

    @property
    def rounds(self) -> list[history.Answers]:
        """Answers that count, by the rounds in which they were taken in; neither revoked nor corrected since."""
        return list(history.rounds(self.events, self.said))

    @property
    def progress(self) -> Progress:
        """The search so far, as estimators of what remains and rules see it."""
        own, turns = criterion_name(self.loop.criterion), list[Turn]()
        for one in self.rounds:
            turns += [self._turn(one.criterion or own, one.replies), self._turn(BY_HAND, one.others)]
        return progress_of(self.loop, self._now.state, 0, [turn for turn in turns if len(turn.image)])

    def _turn(self, criterion: str, replies: Sequence[happened.Reply]) -> Turn:
        """Answers to images that are still there, with the scores that they were given at."""
        known = [(self._there(one.image), one) for one in replies if one.score is not None]
        given = [(image, ANSWER_CODE[Answer(one.answer)], one.score) for image, one in known if image is not None]
        image, answer, score = zip(*given, strict=True) if given else ((), (), ())
        return Turn(
            criterion,
            torch.tensor(image, dtype=torch.long),
            torch.tensor(answer, dtype=torch.long),
            torch.tensor(score),
        )

    @property
    def said(self) -> dict[str, tuple[happened.Reply, int | None]]:
        """The answer that counts for each image, in the order given, and its round; None where it waits for one."""
        return history.said(self.events, self.pending)

    @property
    def query(self) -> Query:
        """Query of the search as it stands: with all examples, and the images presumed irrelevant."""
        return self._now.state.queries[0]

    @property
    def seconds(self) -> float:
        """Time that the answers that count took."""
        return float(self._now.state.seconds[0])

    def _happen(self, event: Event, before: _Standing | None) -> None:
        """Go on with one more event; it counts once it is kept."""
        events = [*self.events, event]
        after = self._stands(events, before)
        self.log.append(event)
        self.events, self._now = events, after

    def _stands(self, events: Sequence[Event], before: _Standing | None) -> _Standing:
        """Where the search stands after these events; `before` are those that need not be repeated."""
        live = [event for _, event in happened.standing(events)]
        changes = [event.criterion for event in live if isinstance(event, happened.CriterionChanged)]
        criterion = self._criterion(changes[-1]) if changes else None
        updates = history.updates(live)
        keeping = (happened.Noted, happened.CollectionGrown)  # a question is not taken from under the hand
        last = next((event for event in reversed(live) if not isinstance(event, keeping)), live[0])
        question = None
        if isinstance(last, happened.Asked):
            question = tuple(one for one in last.images if self._there(one.image) is not None) or None
        waiting = {image: one for image, one in history.pending(live).items() if self._there(image) is not None}
        return _Standing(updates, self._state(updates, before), criterion, question, waiting)

    def _state(self, updates: tuple[Event, ...], before: _Standing | None) -> State:
        """State of the loop after these updates.

        What changes rows that were there before (`history.cold_start`) makes the classifier be fitted without a warm
        start. So only the fits since the last such update are repeated, and they give the same bits.
        """
        prepared = self._prepared  # another thread may prepare the next one meanwhile
        if prepared is not None and prepared[0] == updates:
            return prepared[1]
        cold = history.cold_start(updates)
        if before is not None and before.updates == updates:
            return before.state
        if before is not None and before.updates == updates[:-1] and cold < len(updates) - 1:
            state = self.loop.learn(before.state, [self._feedback(updates[-1])])
            return self.loop.scored(self.loop.fit(state), budget=self.budget)
        query, feedback = self._known(updates[: cold + 1])
        state = self.loop.start((query,), [0.0], self.images.names)
        state = self.loop.fit(replace(self.loop.learn(state, [feedback]), round=cold - 1))
        for event in updates[cold + 1 :]:
            state = self.loop.fit(self.loop.learn(state, [self._feedback(event)]))
        return self.loop.scored(state, budget=self.budget)

    def _without(self, state: State, pending: Mapping[str, happened.Reply]) -> State:
        """The state where images whose answers wait for a fit are no candidates."""
        there = [position for image in pending if (position := self._there(image)) is not None]
        if not there:
            return state
        candidate = state.candidate.clone()
        candidate[:, there] = False
        return replace(state, candidate=candidate)

    def _criterion(self, name: str) -> Criterion:
        """A criterion by its name; the loop's own, unless another was given that name, by that of its class."""
        known = {criterion_name(self.loop.criterion): self.loop.criterion, **self.criteria}
        if name not in known:
            fix = f"open it with criteria=[{name!r}]"
            raise ValueError(f"criterion {name!r} is not among those of this session: {sorted(known)}; {fix}")
        return known[name]

    def _known(self, events: Sequence[Event]) -> tuple[Query, list[Feedback]]:
        """Query and answers after these events, without images that the collection has no more."""
        examples: list[happened.Pointed] = []
        replies: dict[str, happened.Reply] = {}
        started = next(event for event in events if isinstance(event, happened.Started))
        for event in events:
            match event:
                case happened.Started():
                    examples += event.examples
                case happened.ExampleAdded():
                    examples.append(event.example)
                    replies.pop(event.example.image, None)
                case happened.Answered():
                    replies |= {one.image: one for one in event.replies}
                case happened.Revoked():
                    replies = {image: one for image, one in replies.items() if image not in event.images}
        shown = {one.image for one in examples}
        presumed = [self._there(name) for name in started.presumed if name not in shown | set(replies)]
        pairs = [(self._there(one.image), one.box) for one in examples]
        query = Query(
            "session",
            0,
            tuple(Example(image, _tensor(box)) for image, box in pairs if image is not None),
            tuple(image for image in presumed if image is not None),
            None if started.vector is None else Text(started.words or "", torch.tensor(started.vector)),
        )
        if not query.examples and query.text is None:
            raise ValueError("the collection has no image left that the search started from")
        return query, self._feedback(happened.Answered(tuple(replies.values())))

    def _there(self, name: str) -> int | None:
        """Position of a readable image; None where the collection has it no more."""
        position = self.images.position(name)
        return position if position is not None and self.loop.descriptors.readable[position] else None

    def _feedback(self, event: Event) -> list[Feedback]:
        pairs = [(self._there(one.image), one) for one in getattr(event, "replies", ())]
        return [
            Feedback(image, Answer(one.answer), _tensor(one.box), one.seconds, self._region(image, one))
            for image, one in pairs
            if image is not None
        ]

    def _item(self, shown: happened.Shown) -> Item:
        image = self.images.position(shown.image)
        if image is None:
            raise ValueError(f"the collection has no image {shown.image}")
        path = None if self.images.paths is None else self.images.paths[image]
        box = self._region_box(image, self._region(image, shown))
        return Item(image, shown.image, path, box, shown.score, shown.box_wanted)

    def _region(self, image: int, event: happened.Shown | happened.Reply) -> int:
        """The image's region that an event speaks of, or where there is none with that box now, the nearest to it."""
        boxes = self.loop.descriptors.regions.of(image)
        if event.region < 0 or event.region_box is None:
            return event.region
        if event.region < len(boxes) and self._region_box(image, event.region) == event.region_box:
            return event.region
        return best_overlap(boxes, torch.tensor(event.region_box)) if len(boxes) else GLOBAL

    def _region_box(self, image: int, region: int) -> Box | None:
        """Box of a region; None for the whole image."""
        if region < 0:
            return None
        x0, y0, x1, y1 = self.loop.descriptors.regions.of(image)[region].tolist()
        return x0, y0, x1, y1


def _presumed(loop: Loop, shown: Sequence[int], negatives: int) -> list[int]:
    """Random readable images other than the examples, presumed irrelevant."""
    others = loop.descriptors.readable.clone()
    others[list(shown)] = False
    left = others.nonzero()[:, 0]
    order = torch.randperm(len(left), generator=generator(loop.seed, "presumed", shown[0] if shown else -1))
    return left[order[:negatives]].tolist()


def _pointed(loop: Loop, images: Images, image: SupportsIndex, box: GivenBox | None) -> happened.Pointed:
    readable, position = loop.descriptors.readable, operator.index(image)
    if not 0 <= position < len(readable) or not readable[position]:
        raise ValueError(f"image {position} is not one of the {int(readable.sum())} readable images")
    return happened.Pointed(images.name(position), None if box is None else _box(box))


def _reply(reply: object) -> tuple[Answer, Box | None]:
    """An answer and its box, from True, False, None or a box."""
    if reply is None:
        return Answer.UNSURE, None
    if isinstance(reply, bool | np.bool_):
        return (Answer.RELEVANT if reply else Answer.IRRELEVANT), None
    return Answer.RELEVANT, _box(reply)


def _box(given: object) -> Box:
    """The box, cut to the image."""
    try:
        corners = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, dtype=float)
    except (TypeError, ValueError):
        corners = np.empty(0)
    if corners.shape != (4,):
        raise ValueError(f"{given!r} is no box: give (x0, y0, x1, y1), or answer with True, False or None")
    if corners.max() > 1 + MUCH_OUTSIDE or corners.min() < -MUCH_OUTSIDE:
        raise ValueError(
            f"box {corners.tolist()} looks like pixels; give (x0, y0, x1, y1) as fractions of the image, or use "
            "contracts.boxes.pixels(x0, y0, x1, y1, width=..., height=...)"
        )
    box = clip(torch.tensor(corners[None], dtype=torch.float32))
    if degenerate(box).any():
        raise ValueError(f"box {corners.tolist()} has no area inside the image; give (x0, y0, x1, y1) in [0, 1]")
    x0, y0, x1, y1 = box[0].tolist()
    return x0, y0, x1, y1


def _tensor(box: Box | None) -> Float[Tensor, " 4"] | None:
    return None if box is None else torch.tensor(box, dtype=torch.float32)
