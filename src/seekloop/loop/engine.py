"""The loop: label, fit, score, ask; for one person or for all simulated searches of an experiment at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.cache import Cache
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import (
    Classifier,
    Criterion,
    Descriptors,
    Scorer,
    Transductive,
    User,
)
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import (
    FEW_QUERIES,
    Answer,
    CandidateView,
    Feedback,
    Query,
    Round,
    TrainingRows,
)
from seekloop.contracts.scorers import on_device
from seekloop.loop.placement import Engine, Placed
from seekloop.loop.row_table import RowTable, chunks
from seekloop.loop.shortlist import IndexedRound, Scan, Shortlist, Shortlisted
from seekloop.loop.state import LabelledRows, State
from seekloop.representations.local import WHOLE
from seekloop.representations.representation import Representation

ANSWER_CODE = {Answer.RELEVANT: 1, Answer.IRRELEVANT: -1, Answer.UNSURE: 0}


@dataclass(frozen=True)
class Question:
    """What is asked in a round: images, and for each the region that scores highest, and its score."""

    image: Int[Tensor, "q b"]
    region: Int[Tensor, "q b"]
    score: Float[Tensor, "q b"]


class Loop:
    """Rounds of interactive search over one collection, in lockstep over q searches.

    Args:
        descriptors: of the collection.
        representation: labelled images to training rows, region scores to image scores.
        classifier: fitted afresh (warm-started) each round; one that is transductive is given the collection first.
        criterion: chooses what to ask.
        seed: of every draw; generators derive from (seed, class, query, round, purpose).
        engine: where to compute, and with how much memory.
        shortlist: finds images through an index; None: every round scores all of them.

    Raises:
        ConfigError: if the classifier knows whole images only, and the representation has regions.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        representation: Representation,
        classifier: Classifier,
        criterion: Criterion,
        *,
        seed: int,
        engine: Engine,
        shortlist: Shortlist | None = None,
    ) -> None:
        check_transductive(classifier, representation)
        self.descriptors = descriptors
        self.representation = representation
        self.classifier = classifier
        self.criterion = criterion
        self.seed = seed
        self.engine = engine
        self.shortlist = shortlist
        self._cache = Cache()  # of the global descriptors
        self._memory = engine.bytes()
        uses_regions = representation.local.uses_regions
        self._placed = Placed(descriptors, engine, local=uses_regions, memory=self._memory)
        parts = 2 if uses_regions and representation.fusion.uses_whole else 1
        self._row_bytes = engine.dtype.itemsize * descriptors.dim * parts
        # an eighth each for the table, for its old self while it grows, and for the rows of a chunk of searches
        self._table = RowTable(self._placed, representation, max(1, self._memory // 8 // self._row_bytes))

    @cached_property
    def global_descriptors(self) -> Float[Tensor, "n d"]:
        """Global descriptors of all images."""
        return self._placed.read(torch.arange(self.descriptors.images), local=False).whole

    def start(self, queries: tuple[Query, ...], seconds: Sequence[float]) -> State:
        """Label each query's first image relevant and its negatives irrelevant; nothing is fitted yet."""
        q, n = len(queries), self.descriptors.images
        state = State(
            queries,
            torch.zeros(q, n, dtype=torch.int8),
            self.descriptors.readable.repeat(q, 1),
            [LabelledRows.none() for _ in queries],
            torch.tensor(seconds, dtype=torch.float64),
            None,
            -1,
        )
        for position, query in enumerate(queries):
            first = Feedback(query.image, Answer.RELEVANT, query.box, 0.0)
            others = [Feedback(image, Answer.IRRELEVANT, None, 0.0) for image in query.negatives]
            self._learn(state, position, [(answer, None) for answer in (first, *others)])
        return state

    def learn(self, state: State, question: Question, feedback: Sequence[Sequence[Feedback]]) -> None:
        """Take the answers in. Answers may be fewer than the images asked, and in any order."""
        for position, answers in enumerate(feedback):
            best = dict(zip(question.image[position].tolist(), question.region[position].tolist(), strict=True))
            self._learn(state, position, [(answer, best.get(answer.image)) for answer in answers])

    def fit(self, state: State) -> None:
        """Fit every search's classifier on its rows; one more round is counted."""
        sizes = [len(rows.image) for rows in state.rows]
        limit = self._memory // 8 if self.engine.together else 0
        scorers: list[Scorer] = []
        for chunk in chunks(sizes, self._row_bytes, limit):
            previous = None if state.scorer is None else state.scorer.select(torch.tensor(chunk))
            scorers.append(self.classifier.fit(self._training_rows(state, chunk), previous))
        state.scorer = scorers[0].join(scorers[1:])
        state.round += 1

    def score(self, state: State) -> Float[Tensor, "q n"]:
        """Score every image for every search in one pass over the store; -inf where an image is unreadable."""
        scorer, searches = _fitted(state), len(state.queries)
        if searches > FEW_QUERIES:
            self._placed.hold()
        return self._scores(scorer, searches, torch.arange(self.descriptors.images))

    def search(self, state: State, budget: int) -> tuple[Float[Tensor, "q n"], Shortlisted | None]:
        """Scores to ask and to rank by: of all images, or where there is an index, of those that it proposes.

        The picks of `ask` with this budget are then those of an exact scan, as far as the second result says.
        """
        if self.shortlist is None:
            return self.score(state), None
        everything = torch.arange(self.descriptors.images)
        scorer = _fitted(state)
        found = self._shortlisted(
            state, budget, lambda queries: self._scores(scorer.select(queries), len(queries), everything)
        )
        return found.scores.to(self.engine.device), found

    def _shortlisted(self, state: State, budget: int, scan: Scan) -> Shortlisted:
        if self.shortlist is None:
            raise ValueError("this loop has no index")
        budget = min(budget, int(state.candidate.sum(dim=1).min()))
        return self.shortlist.search(
            _fitted(state),
            state.candidate,
            state.round,
            budget,
            lambda scorer, images: self._scores(scorer, len(scorer.weights), images),
            scan,
        )

    def _scores(self, scorer: Scorer, searches: int, images: Int[Tensor, " k"]) -> Float[Tensor, "q k"]:
        """Exact scores of some images, for the searches of a scorer."""
        parts = [scorer] if self.engine.together else [scorer.select(torch.tensor([p])) for p in range(searches)]
        scores = torch.empty(searches, len(images), dtype=self.engine.dtype, device=self.engine.device)
        first = 0
        for some in self._placed.split(images, searches):
            block = self._placed.read(some, self.representation.local.uses_regions)
            found = torch.cat([part.of_block(block, self.representation) for part in parts])
            scores[:, first : first + len(some)] = found
            first += len(some)
        scores[:, ~self.descriptors.readable[images]] = -torch.inf
        return scores

    def ask(self, state: State, scores: Float[Tensor, "q n"], budget: int) -> Question:
        """Choose the next images; fewer than `budget` where fewer are left."""
        budget = min(budget, int(state.candidate.sum(dim=1).min()))
        if budget == 0:
            nothing = torch.empty(len(state.queries), 0, dtype=torch.long)
            return Question(nothing, nothing, nothing.float())
        images = self._picks(state, scores, budget)
        asked_scores = scores.gather(1, images).cpu()
        return Question(images.cpu(), self._best_regions(state, images.cpu()), asked_scores)

    def _picks(self, state: State, scores: Float[Tensor, "q n"], budget: int) -> Int[Tensor, "q b"]:
        """What the criterion chooses by these scores."""
        candidate, answers = state.candidate.to(scores.device), state.answers.to(scores.device)
        view = CandidateView(
            scores, candidate, answers, lambda: self.global_descriptors, state.round, cache=self._cache
        )
        rngs = [
            generator(self.seed, "criterion", query.class_name, query.number, state.round) for query in state.queries
        ]
        return self.criterion(view, budget, rngs)

    def rounds(self, state: State, user: User, *, rounds: int, budget: int) -> Iterator[tuple[Round, State]]:
        """Play until round `rounds`, from wherever `state` stands; the caller measures and writes.

        Raises:
            ConfigError: if there are not enough images left to ask about.
        """
        played = max(state.round, 0)
        check_pool(int(state.candidate.sum(dim=1).min()), rounds - played, budget, played)
        resumed = state.round >= 0
        if resumed:
            state.scorer = on_device(_fitted(state), self.engine.device)
        else:
            self.fit(state)
        nothing = torch.empty(len(state.queries), 0, dtype=torch.long)
        done = self._round(state, Question(nothing, nothing, nothing.float()), tuple(() for _ in state.queries), budget)
        if not resumed:
            yield done, state
        while state.round < rounds:
            question = self.ask(state, done.scores, budget)
            feedback = tuple(
                tuple(user.answer(query, image, state.round + 1) for image in images)
                for query, images in zip(state.queries, question.image.tolist(), strict=True)
            )
            self.learn(state, question, feedback)
            self.fit(state)
            done = self._round(state, question, feedback, budget)
            yield done, state

    def _round(
        self, state: State, question: Question, feedback: tuple[tuple[Feedback, ...], ...], budget: int
    ) -> Round:
        """Score everything; with an index, search through it too, so that the one can be held against the other."""
        asked = (state.round, question.image, question.region, question.score, feedback)
        exact = self.score(state)
        if self.shortlist is None:
            return Round(*asked, exact, state.answers)
        found = self._shortlisted(state, budget, lambda queries: exact[queries.to(exact.device)])
        picks = self._picks(state, exact, found.picks.shape[1]).cpu()
        return IndexedRound(*asked, found.scores.to(exact.device), state.answers, found, exact, picks)

    def _learn(self, state: State, position: int, answers: Sequence[tuple[Feedback, int | None]]) -> None:
        """Take one search's answers in; each comes with the region that scored highest, None if nobody knows."""
        if not answers:
            return
        query = state.queries[position]
        choices = []
        for feedback, best in answers:
            rng = generator(self.seed, "rows", query.class_name, query.number, feedback.image)
            regions = self.descriptors.regions.of(feedback.image)
            choices.append(self.representation.rows(feedback, regions, best, rng))
        images = torch.tensor([feedback.image for feedback, _ in answers])
        state.rows[position] = state.rows[position].add(
            torch.repeat_interleave(images, torch.tensor([len(choice.region) for choice in choices])),
            torch.cat([choice.region for choice in choices]),
            torch.cat([choice.label for choice in choices]),
        )
        codes = [ANSWER_CODE[feedback.answer] for feedback, _ in answers]
        state.answers[position, images] = torch.tensor(codes, dtype=torch.int8)
        state.candidate[position, images] = False
        state.seconds[position] += sum(feedback.seconds for feedback, _ in answers)

    def _training_rows(self, state: State, chunk: Sequence[int]) -> TrainingRows:
        """The rows of some searches, by reference to a table that all share."""
        rows = [state.rows[position] for position in chunk]
        own = [self._own_region(state.queries[position]) for position in chunk]
        images = torch.tensor([state.queries[position].image for position in chunk])
        place = self._table.index(
            torch.cat([*[r.image for r in rows], images]), torch.cat([*[r.region for r in rows], torch.tensor(own)])
        )
        pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
        sizes = [len(r.image) for r in rows]
        index = pad(list(torch.split(place[: -len(chunk)], sizes)))
        labels = pad([r.label for r in rows]).to(self.engine.dtype)
        mask = labels != 0
        table = self._table.vectors
        return TrainingRows(
            table,
            index.to(table.device),
            labels.to(table.device),
            mask.to(table),
            mask.to(table.device),
            table[place[-len(chunk) :].to(table.device)],
            pad([r.image for r in rows]).to(table.device),
            None if self.representation.local.uses_regions else lambda: self.global_descriptors,
            self._cache,
        )

    def _own_region(self, query: Query) -> int:
        """The region that lies best on the query's object."""
        return self.representation.query_region(self.descriptors.regions.of(query.image), query.box)

    def _best_regions(self, state: State, images: Int[Tensor, "q b"]) -> Int[Tensor, "q b"]:
        """The region of each image that scores highest, the first of equals; WHOLE where there is none."""
        best = torch.full_like(images, WHOLE)
        if not self.representation.local.uses_regions or images.shape[1] == 0:
            return best
        scorer, regions = _fitted(state), self.descriptors.regions
        flat = images.flatten()
        counts = torch.full_like(flat, len(regions.boxes)) if regions.offsets is None else regions.offsets.diff()[flat]
        ends = counts.cumsum(0)
        region = torch.arange(int(ends[-1])) - torch.repeat_interleave(ends - counts, counts)
        place = torch.split(self._table.index(torch.repeat_interleave(flat, counts), region), counts.tolist())
        for position, per_image in enumerate(batched(place, images.shape[1])):
            vectors = self._table.vectors[torch.cat(list(per_image))]
            scores = scorer.select(torch.tensor([position])).scores(vectors)[0].cpu()
            split = torch.split(scores, [len(part) for part in per_image])
            best[position] = torch.tensor([int(part.argmax()) if len(part) else WHOLE for part in split])
        return best


def batched(items: Sequence[Tensor], size: int) -> Iterator[Sequence[Tensor]]:
    """The items, `size` at a time."""
    return (items[first : first + size] for first in range(0, len(items), size))


def _fitted(state: State) -> Scorer:
    if state.scorer is None:
        raise ValueError("nothing is fitted yet: call fit first")
    return state.scorer


def check_transductive(classifier: Classifier, representation: Representation) -> None:
    """Refuse a classifier of whole images where images have regions.

    Raises:
        ConfigError: saying what goes together.
    """
    if isinstance(classifier, Transductive) and representation.local.uses_regions:
        why = "its graph joins whole images, and regions have no place in it"
        raise ConfigError("classifier", type(classifier).__name__, why, "Use representation=go, or another classifier.")


def check_pool(pool: int, rounds: int, budget: int, played: int = 0) -> None:
    """Refuse a simulation that would ask for more images than there are.

    Args:
        pool: images that can be asked about.
        rounds: that are to come.
        budget: images asked about in each of them.
        played: rounds before them, which `loop.rounds` counts too.

    Raises:
        ConfigError: with numbers that fit, where there are any.
    """
    if budget < 1:
        raise ConfigError("loop.budget", budget, "a round asks about at least one image", "Use 1 or more.")
    if rounds < 0:
        raise ConfigError("loop.rounds", rounds + played, "there is no round before the first", "Use 0 or more.")
    left = max(pool, 0)
    if rounds * budget > left:
        asked = f"{rounds} {'round' if rounds == 1 else 'rounds'} of it ask about {rounds * budget} images"
        why = f"{asked} and {left} can be asked about"
        raise ConfigError("loop.budget", budget, why, _fitting(left, rounds, budget, played))


def _fitting(pool: int, rounds: int, budget: int, played: int) -> str:
    """Advice that can be followed: each of its ways out is accepted by `check_pool`."""
    ways = [f"loop.budget to {pool // rounds}"] if pool >= rounds else []
    ways += [f"loop.rounds to {played + pool // budget}"] if pool >= budget else []
    if not ways and pool:
        ways = [f"loop.budget to 1 and loop.rounds to {played + pool}"]
    more = rounds * budget - pool
    add = f"dd {more} {'image' if more == 1 else 'images'} or more."
    return f"Lower {', or '.join(ways)}. Or a{add}" if ways else f"A{add}"
