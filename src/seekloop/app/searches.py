"""Searches of a page: several at once over one collection, each a session whose events are on disk."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import PurePosixPath

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from seekloop.app import models, views
from seekloop.app.export import Exported, exported
from seekloop.app.library import Indexed, Library
from seekloop.app.uploads import Uploads
from seekloop.contracts.errors import StoreError
from seekloop.contracts.records import Example
from seekloop.loop import events as happened
from seekloop.loop.session import Session
from seekloop.loop.sessions import Listed, Sessions

OPEN = 64  # searches that are kept open; others are replayed when somebody returns to them
REPLY: Mapping[str, bool | None] = {"yes": True, "no": False, "unsure": None}


class MissingError(Exception):
    """There is no such search, or no such image."""


class Search:
    """One open search.

    Answers are kept at once, also while a fit is under way: `_order` is held while an event is appended, `_fitting`
    while the loop computes.

    Args:
        id: of the session.
        session: itself.
        indexed: the images that it is over.
    """

    def __init__(self, id: str, session: Session, indexed: Indexed) -> None:
        self.id, self.session, self.indexed = id, session, indexed
        self.learning = False
        self._order, self._fitting = threading.RLock(), threading.RLock()
        self._ranked: tuple[object, Int[Tensor, " k"], int] | None = None
        self._estimated: tuple[object, models.Remaining | None, str] = None, None, ""

    @contextmanager
    def changing(self) -> Iterator[Session]:
        """The session, while nobody else may change it; the loop may compute."""
        with self._fitting, self._order:
            yield self.session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """The session with an open question, while nobody else may change it; nothing is computed if it is open."""
        if self.session.question is None:
            with self.changing() as session:
                session.ask()
        with self._order:
            yield self.session

    @property
    def version(self) -> int:
        """Number of events so far."""
        return len(self.session.events)

    def asked_at(self) -> int:
        """Number of events when the open question was shown."""
        asked = [n for n, event in enumerate(self.session.events) if isinstance(event, happened.Asked)]
        return asked[-1] + 1 if asked else 0

    def note(self, answers: Sequence[models.AnswerIn]) -> None:
        """Keep answers, of several to one image the last; those that no round has taken in may be withdrawn.

        Raises:
            MissingError: if an image is not in the collection.
            ValueError: if an answer cannot be kept.
        """
        with self._order:
            answers = list({one.name: one for one in answers}.values())
            replies: dict[int, object] = {}
            for one in answers:
                if one.answer is not None:
                    reply = REPLY[one.answer]
                    replies[self.position(one.name)] = one.box if reply and one.box is not None else reply
            withdrawn = [self.position(one.name) for one in answers if one.answer is None]
            self.session.note(replies, [image for image in withdrawn if self.name(image) in self.session.pending])

    def prepare(self) -> None:
        """Fit the answers so far while the person still answers."""
        with self._fitting:
            self.learning = True
            try:
                self.session.prepare()
            finally:
                self.learning = False

    @property
    def is_estimated(self) -> bool:
        """Whether what remains is known as the search stands."""
        return self._estimated[0] is self.session.state

    @property
    def estimated(self) -> tuple[models.Remaining | None, str]:
        """How many images remain to be found, and a hint when to stop: the last that are known."""
        return self._estimated[1:]

    def estimate(self) -> None:
        """Estimate what remains."""
        with self._fitting:
            if not self.is_estimated:
                state, progress = self.session.state, self.session.progress
                self._estimated = state, *views.remaining(progress)

    def name(self, image: int) -> str:
        """Name of an image."""
        return self.session.images.name(image)

    def position(self, name: str) -> int:
        """Position of an image.

        Raises:
            MissingError: if it is not in the collection.
        """
        position = self.session.images.position(name)
        if position is None:
            raise MissingError(f"there is no image {name[:40]} in this search; it may have been moved or changed")
        return position

    def order(self) -> tuple[Int[Tensor, " k"], int]:
        """Readable images of the collection, most likely first, and how many of them score above 0."""
        with self._fitting:
            state = self.session.state
            if self._ranked is None or self._ranked[0] is not state:
                count, scores = len(self.indexed.collection.paths), self.session.scores
                order = self.session.order()
                order = order[(order < count) & scores[order].isfinite()]
                self._ranked = state, order, int((scores[order] > 0).sum())
            return self._ranked[1], self._ranked[2]

    def ranking(self, after: int, count: int) -> models.RankingOut:
        """A part of the ranking, with the regions that scored."""
        order, above = self.order()
        part = order[after : after + count].tolist()
        session, known = self.session, self.known()
        images = [
            models.Ranked(
                name=one.image,
                path=self.path(image),
                score=one.score,
                box=one.region_box,
                answer=known.get(one.image),
            )
            for image, one in zip(part, session.shown(part), strict=True)
        ]
        return models.RankingOut(version=self.version, total=len(order), above=above, images=images)

    def images_of(self, event: happened.Event) -> list[int]:
        """Positions of the images that an event is about, as far as they are there."""
        replies = [one.image for one in getattr(event, "replies", ())]
        names = [*replies, *getattr(event, "withdrawn", ()), *getattr(event, "images", ())]
        names += [event.example.image] if isinstance(event, happened.ExampleAdded) else []
        found = [self.session.images.position(name) for name in names if isinstance(name, str)]
        return [position for position in found if position is not None]

    def known(self) -> dict[str, models.Known]:
        """Answers by image; examples are answered, too."""
        answers: dict[str, models.Known] = {
            name: views.SAID[reply.answer] for name, (reply, _) in self.session.said.items()
        }
        for one in self.session.query.examples:
            answers[self.name(one.image)] = "example"
        return answers

    def path(self, image: int) -> str:
        """Path of an image, for people."""
        paths = self.session.images.paths
        return self.name(image) if paths is None else paths[image]

    def top(self, cut: models.CutOff) -> list[int]:
        """Images at the top of the ranking, down to a cut-off; none without one."""
        order, _ = self.order()
        first = len(order) if cut.first is None else cut.first
        if cut.above is not None:
            first = min(first, int((self.session.scores[order] > cut.above).sum()))
        elif cut.first is None:
            first = 0
        return order[:first].tolist()

    def accept(self, cut: models.Accepted) -> int:
        """Give the top of the ranking one answer, where an image has none; how many got it."""
        known = self.known()
        fresh = [image for image in self.top(cut) if self.name(image) not in known]
        with self._order:
            self.session.note(dict.fromkeys(fresh, REPLY[cut.answer]))
        return len(fresh)

    def exported(self, cut: models.CutOff) -> list[Exported]:
        """Images found, and those of the ranking down to a cut-off."""
        with self._fitting:
            return exported(self.session, self.indexed.collection, above=cut.above, first=cut.first)

    def answers(self) -> list[models.Answered]:
        """Everything that was said, the latest first, the examples behind it."""
        session, scores = self.session, self.session.scores
        out = []
        for name, (reply, number) in reversed(session.said.items()):
            position = session.images.position(name)
            score = None if position is None or not scores[position].isfinite() else float(scores[position])
            path = name if position is None else self.path(position)
            said = views.SAID[reply.answer]
            out.append(models.Answered(name=name, path=path, answer=said, box=reply.box, round=number, score=score))
        shown = [
            models.Answered(name=one.name, path=one.path, answer="example", box=one.box, round=None, score=None)
            for one in views.examples(session)
        ]
        return [*out, *shown]


class Searches:
    """All searches of a page.

    Args:
        sessions: where their events are kept.
        library: what is searched.
        uploads: pictures from outside the collection.
        changed: is told the id and the version of a search that has changed.
        foreseen: is told the names of images that will probably be shown next.
    """

    def __init__(
        self,
        sessions: Sessions,
        library: Library,
        uploads: Uploads,
        changed: Callable[[str, int], None],
        foreseen: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        self.sessions, self.library, self.uploads = sessions, library, uploads
        self.changed, self.foreseen = changed, foreseen
        self._open: OrderedDict[str, Search] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self._background = ThreadPoolExecutor(2, "fit")

    def close(self) -> None:
        """Let the fits under way end, and close the database."""
        self._background.shutdown(wait=True, cancel_futures=True)
        self.sessions.close()

    def summaries(self) -> list[models.Summary]:
        """All searches, the latest first."""
        return [self._summary(one) for one in self.sessions.listed() if one.events]

    def begin(self, wanted: models.NewSearch) -> Search:
        """Begin a search.

        Raises:
            MissingError: if an example is not there.
            ConfigError: if it has neither examples nor words, words cannot be used, or nothing is indexed yet.
            ValueError: if a box has no area, or an image is unreadable.
        """
        parts, words = self.library.parts, wanted.words.strip()
        indexed = self._with_uploads([one.name for one in wanted.examples])
        text = None
        if words:
            if parts.encode is None:
                raise ValueError("these descriptors cannot be compared with words; begin with a photograph")
            text = parts.encode(words)
        examples = []
        for one in wanted.examples:
            position = indexed.images.position(one.name)
            if position is None:
                raise MissingError(f"there is no photograph {one.name[:40]}; it may have been moved or changed")
            examples.append(Example(position, None if one.box is None else torch.tensor(one.box)))
        session = Session.start(
            parts.loop(indexed.descriptors),
            examples=examples,
            text=text,
            negatives=min(parts.negatives, indexed.images.count - 1),
            budget=parts.budget,
            images=indexed.images,
            criteria=parts.criteria,
        )
        title = wanted.title.strip() or words or _titled(indexed, examples)
        log = self.sessions.create(self.library.loop_settings, title=title, about=parts.about, events=session.events)
        session.log = log
        search = Search(log.id, session, indexed)
        self._keep(search)
        self.changed(search.id, search.version)
        return search

    def get(self, id: str) -> Search:
        """A search, opened where it is not, over all images that can be searched by now.

        Raises:
            MissingError: if there is none.
        """
        with self._lock:
            opening = self._opening.setdefault(id, threading.Lock())
        with opening:
            search = self._open.get(id)
            if search is None:
                search = self._opened(id)
                self._keep(search)
            elif not self._is_over_all(search):
                self.refresh(search)
            with self._lock:
                if id in self._open:
                    self._open.move_to_end(id)
            return search

    def forget(self, id: str) -> None:
        """Close a search; the next who asks for it reads it again from disk."""
        with self._lock:
            self._open.pop(id, None)

    def remove(self, id: str) -> None:
        """Remove a search and everything that was said in it.

        Raises:
            MissingError: if there is none.
        """
        self.forget(id)
        self._known(id)
        self.sessions.remove(id)
        self.changed(id, -1)

    def rename(self, id: str, title: str) -> None:
        """Give a search another title.

        Raises:
            MissingError: if there is none.
        """
        self._known(id)
        self.sessions.rename(id, title.strip())

    def fork(self, id: str) -> Search:
        """Copy a search, so that both go on by themselves.

        Raises:
            MissingError: if there is none.
        """
        title = self._known(id).title
        copy = self.sessions.fork(id)
        self.sessions.rename(copy, f"{title} (copy)")
        return self.get(copy)

    def listed(self, id: str) -> Listed:
        """Title and times of a search.

        Raises:
            MissingError: if there is none.
        """
        return self._known(id)

    def learn_ahead(self, search: Search) -> None:
        """Fit the answers so far in the background; what is fitted already is not fitted again."""
        if search.session.pending:
            self._background.submit(self._learn_ahead, search)

    def _learn_ahead(self, search: Search) -> None:
        search.prepare()
        self.foreseen([one.image for one in search.session.foreseen])

    def picture(self, search: Search, name: str) -> Image.Image:
        """The whole picture of an image of a search, or of one of its uploads.

        Raises:
            MissingError: if there is none.
            UnreadableImageError: if it cannot be decoded.
        """
        image, known = search.position(name), len(search.indexed.collection.paths)
        return self.uploads.collection([name]).read(0) if image >= known else search.indexed.collection.read(image)

    def estimated(self, search: Search) -> tuple[models.Remaining | None, str]:
        """How many images remain to be found, and a hint when to stop; estimated in the background after each round."""
        if not search.is_estimated:
            self._background.submit(self._estimate, search)
        return search.estimated

    def _estimate(self, search: Search) -> None:
        if not search.is_estimated:
            search.estimate()
            self.changed(search.id, search.version)

    def add_example(self, search: Search, name: str, box: models.Box | None) -> None:
        """Give a search another example, of the collection or uploaded.

        Raises:
            MissingError: if it is not there.
            ValueError: if the box has no area, or the image is unreadable.
        """
        with search.changing() as session:
            if session.images.position(name) is None:
                known = [one.name for one in views.examples(session)]
                indexed = self._with_uploads([*known, name])
                if indexed.images.position(name) is None:
                    raise MissingError(f"there is no photograph {name[:40]}; it may have been moved or changed")
                session.grow(self.library.parts.loop(indexed.descriptors), indexed.images)
                search.indexed = indexed
            session.add_example(search.position(name), box)

    def _known(self, id: str) -> Listed:
        found = next((one for one in self.sessions.listed() if one.id == id), None)
        if found is None:
            raise MissingError(f"there is no search {id[:40]}; it may have been deleted")
        return found

    def _keep(self, search: Search) -> None:
        with self._lock:
            self._open[search.id] = search
            while len(self._open) > OPEN:
                self._open.popitem(last=False)

    def _opened(self, id: str) -> Search:
        self._known(id)
        log = self.sessions.open(id, self.library.loop_settings)
        indexed = self._with_uploads(_examples_of(log.read()))
        loop = self.library.parts.loop(indexed.descriptors)
        session = Session(loop, log, images=indexed.images, criteria=self.library.parts.criteria)
        return Search(id, session, indexed)

    def _is_over_all(self, search: Search) -> bool:
        return search.indexed.collection is self.library.indexed.collection

    def refresh(self, search: Search) -> None:
        """Let a search go on over what can be searched by now, with those uploads behind it that are its examples."""
        with search.changing() as session:
            indexed = self._with_uploads([one.name for one in views.examples(session)])
            if indexed.images.listing != session.images.listing:
                session.grow(self.library.parts.loop(indexed.descriptors), indexed.images)
            search.indexed = indexed

    def _with_uploads(self, names: Sequence[str]) -> Indexed:
        """Images that can be searched, followed by the uploads among these names."""
        indexed = self.library.indexed
        outside = [name for name in dict.fromkeys(names) if indexed.images.position(name) is None]
        outside = [name for name in outside if self.uploads.find(name) is not None]
        if not outside:
            return indexed
        collection = self.uploads.collection(outside)
        return indexed.followed_by(collection, self.library.parts.describe(collection), outside)

    def _summary(self, listed: Listed) -> models.Summary:
        """A search in the list, by its events alone: nothing is fitted."""
        live = [event for _, event in happened.standing(self.sessions.events(listed.id))]
        started = live[0]
        if not isinstance(started, happened.Started):
            raise StoreError(f"session {listed.id} does not begin with its start")
        first = next(iter(started.examples), None)
        return models.Summary(
            id=listed.id,
            title=listed.title,
            created=listed.created.isoformat(timespec="seconds"),
            changed=listed.changed.isoformat(timespec="seconds"),
            round=sum(isinstance(event, happened.Answered) for event in live) + 1,
            found=_found(live),
            example=None if first is None else models.ExampleIn(name=first.image, box=first.box),
            words=started.words or "",
        )


def _examples_of(events: Sequence[happened.Event]) -> list[str]:
    """Names of a search's examples, but for those that were undone."""
    live = [event for _, event in happened.standing(events)]
    started = [one.image for event in live if isinstance(event, happened.Started) for one in event.examples]
    return [*started, *(event.example.image for event in live if isinstance(event, happened.ExampleAdded))]


def _found(live: Sequence[happened.Event]) -> int:
    """How many images are known to show the object, examples included."""
    answers, waiting = dict[str, str](), dict[str, str]()
    for event in live:
        match event:
            case happened.Answered():
                answers |= {one.image: one.answer for one in event.replies}
                waiting = {}
            case happened.Noted():
                waiting |= {one.image: one.answer for one in event.replies}
                waiting = {image: answer for image, answer in waiting.items() if image not in event.withdrawn}
            case happened.Revoked():
                answers = {image: answer for image, answer in answers.items() if image not in event.images}
    relevant = {image for image, answer in (answers | waiting).items() if answer == "relevant"}
    return len(relevant.union(_examples_of(live)))


def _titled(indexed: Indexed, examples: Sequence[Example]) -> str:
    """A title for a search from photographs: the name of the first one's file."""
    paths = indexed.images.paths
    if not examples or paths is None:
        return "search"
    return PurePosixPath(paths[examples[0].image]).stem
