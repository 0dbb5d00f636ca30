"""The loop: label, fit, score, ask; for one person or for all simulated searches of an experiment at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Classifier, Criterion, Descriptors, Scorer, User
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Answer, Block, Feedback, PoolView, Query, Round, TrainingRows
from seekloop.loop.state import LabelledRows, State
from seekloop.representations.local import WHOLE
from seekloop.representations.representation import Representation

GIB = 2**30
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
        classifier: fitted afresh (warm-started) each round.
        criterion: chooses what to ask.
        seed: of every draw; generators derive from (seed, class, query, round, purpose).
        memory: GiB that a block of descriptors, or a batch of training rows, may take.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        representation: Representation,
        classifier: Classifier,
        criterion: Criterion,
        *,
        seed: int,
        memory: float,
    ) -> None:
        self.descriptors = descriptors
        self.representation = representation
        self.classifier = classifier
        self.criterion = criterion
        self.seed = seed
        self.memory = memory
        everything = torch.arange(descriptors.images)
        self.whole = descriptors.read(everything, local=False).whole

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
            self._learn(state, position, Feedback(query.image, Answer.RELEVANT, query.box, 0.0), None)
            for image in query.negatives:
                self._learn(state, position, Feedback(image, Answer.IRRELEVANT, None, 0.0), None)
        return state

    def learn(self, state: State, question: Question, feedback: Sequence[Sequence[Feedback]]) -> None:
        """Take the answers in. Answers may be fewer than the images asked, and in any order."""
        for position, answers in enumerate(feedback):
            asked = question.image[position].tolist()
            for answer in answers:
                best = int(question.region[position, asked.index(answer.image)]) if answer.image in asked else None
                self._learn(state, position, answer, best)

    def fit(self, state: State) -> None:
        """Fit every search's classifier on its rows; one more round is counted."""
        scorers: list[Scorer] = []
        for chunk in self._chunks(state):
            previous = None if state.scorer is None else state.scorer.select(torch.tensor(chunk))
            scorers.append(self.classifier.fit(self._training_rows(state, chunk), previous))
        state.scorer = scorers[0].join(scorers[1:])
        state.round += 1

    def score(self, state: State) -> Float[Tensor, "q n"]:
        """Score every image for every search in one pass over the store; -inf where an image is unreadable."""
        scorer = _fitted(state)
        scores = torch.empty(len(state.queries), self.descriptors.images)
        for images in torch.split(torch.arange(self.descriptors.images), self._block_images(len(state.queries))):
            block = self._read(images)
            scores[:, images[0] : images[-1] + 1] = self.representation.score(scorer, block)
        scores[:, ~self.descriptors.readable] = -torch.inf
        return scores

    def ask(self, state: State, scores: Float[Tensor, "q n"], budget: int) -> Question:
        """Choose the next images; fewer than `budget` where fewer are left."""
        budget = min(budget, int(state.candidate.sum(dim=1).min()))
        if budget == 0:
            nothing = torch.empty(len(state.queries), 0, dtype=torch.long)
            return Question(nothing, nothing, nothing.float())
        view = PoolView(scores, state.candidate, state.answers, self.whole, state.round)
        rngs = [
            generator(self.seed, "criterion", query.class_name, query.number, state.round) for query in state.queries
        ]
        images = self.criterion(view, budget, rngs)
        return Question(images, self._best_regions(state, images), scores.gather(1, images))

    def rounds(self, state: State, user: User, *, rounds: int, budget: int) -> Iterator[tuple[Round, State]]:
        """Play until round `rounds`, from wherever `state` stands; the caller measures and writes.

        Raises:
            ConfigError: if there are not enough images left to ask about.
        """
        check_pool(int(state.candidate.sum(dim=1).min()), rounds - max(state.round, 0), budget)
        if state.round < 0:
            self.fit(state)
            scores = self.score(state)
            nothing = torch.empty(len(state.queries), 0, dtype=torch.long)
            empty: tuple[tuple[Feedback, ...], ...] = tuple(() for _ in state.queries)
            yield Round(0, nothing, nothing, nothing.float(), empty, scores, state.answers), state
        else:
            scores = self.score(state)
        while state.round < rounds:
            question = self.ask(state, scores, budget)
            feedback = tuple(
                tuple(user.answer(query, image, state.round + 1) for image in images)
                for query, images in zip(state.queries, question.image.tolist(), strict=True)
            )
            self.learn(state, question, feedback)
            self.fit(state)
            scores = self.score(state)
            asked = (question.image, question.region, question.score)
            yield Round(state.round, *asked, feedback, scores, state.answers), state

    def _learn(self, state: State, position: int, feedback: Feedback, best: int | None) -> None:
        query = state.queries[position]
        rng = generator(self.seed, "rows", query.class_name, query.number, feedback.image)
        regions = self.descriptors.regions.of(feedback.image)
        choice = self.representation.rows(feedback, regions, best, rng)
        state.rows[position] = state.rows[position].add(feedback.image, choice.region, choice.label)
        state.answers[position, feedback.image] = ANSWER_CODE[feedback.answer]
        state.candidate[position, feedback.image] = False
        state.seconds[position] += feedback.seconds

    def _read(self, images: Int[Tensor, " b"]) -> Block:
        return self.descriptors.read(images, local=self.representation.local.uses_regions)

    def _vectors(self, rows: LabelledRows) -> Float[Tensor, "r e"]:
        images, position = torch.unique(rows.image, return_inverse=True)
        return self.representation.vectors(self._read(images), position, rows.region)

    def _training_rows(self, state: State, chunk: Sequence[int]) -> TrainingRows:
        vectors = [self._vectors(state.rows[position]) for position in chunk]
        pad = torch.nn.utils.rnn.pad_sequence
        mask = pad([torch.ones(len(v), dtype=torch.bool) for v in vectors], batch_first=True)
        return TrainingRows(
            pad(vectors, batch_first=True),
            pad([state.rows[position].label for position in chunk], batch_first=True),
            mask.float(),
            mask,
            torch.stack([self._query_vector(state, position) for position in chunk]),
        )

    def _query_vector(self, state: State, position: int) -> Float[Tensor, " e"]:
        """The descriptor of the region that lies best on the query's object."""
        query = state.queries[position]
        regions = self.descriptors.regions.of(query.image)
        region = self.representation.query_region(regions, query.box)
        block = self._read(torch.tensor([query.image]))
        return self.representation.vectors(block, torch.tensor([0]), torch.tensor([region]))[0]

    def _chunks(self, state: State) -> Iterator[list[int]]:
        """Searches whose padded rows fit in memory together."""
        width = self.descriptors.dim * (2 if self.representation.fusion.uses_whole else 1)
        limit = self.memory * GIB / (4 * width)
        chunk: list[int] = []
        longest = 0
        for position, rows in enumerate(state.rows):
            longest = max(longest, len(rows.image))
            if chunk and longest * (len(chunk) + 1) > limit:
                yield chunk
                chunk, longest = [], len(rows.image)
            chunk.append(position)
        yield chunk

    def _block_images(self, queries: int) -> int:
        """Images whose descriptors and region scores fit in memory together."""
        offsets = self.descriptors.regions.offsets
        boxes = len(self.descriptors.regions.boxes)
        per_image = boxes if offsets is None else max(1, boxes // max(1, self.descriptors.images))
        floats = (1 + per_image) * (self.descriptors.dim + queries)
        return max(1, int(self.memory * GIB / (4 * floats)))

    def _best_regions(self, state: State, images: Int[Tensor, "q b"]) -> Int[Tensor, "q b"]:
        if not self.representation.local.uses_regions or images.shape[1] == 0:
            return torch.full_like(images, WHOLE)
        scorer = _fitted(state)
        best = [
            self.representation.best_regions(scorer.select(torch.tensor([position])), self._read(row))[0]
            for position, row in enumerate(images)
        ]
        return torch.stack(best)


def _fitted(state: State) -> Scorer:
    if state.scorer is None:
        raise ValueError("nothing is fitted yet: call fit first")
    return state.scorer


def check_pool(pool: int, rounds: int, budget: int) -> None:
    """Refuse a simulation that would ask for more images than there are.

    Raises:
        ConfigError: with the numbers that would fit.
    """
    if budget < 1:
        raise ConfigError("loop.budget", budget, "a round asks about at least one image", "Use 1 or more.")
    if rounds < 0:
        raise ConfigError("loop.rounds", rounds, "there is no round before the first", "Use 0 or more.")
    if rounds * budget > pool:
        raise ConfigError(
            "loop.budget",
            budget,
            f"{rounds} rounds of it ask about {rounds * budget} images and {pool} can be asked about",
            f"Lower loop.budget to {pool // max(rounds, 1)}, or loop.rounds to {pool // max(budget, 1)}.",
        )
