"""The loop: update, propose; for one person or for all simulated searches of an experiment at once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.cache import Cache
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import many
from seekloop.contracts.protocols import Classifier, Criterion, Descriptors, Scorer, Transductive, User
from seekloop.contracts.randomness import generator
from seekloop.contracts.ranking import Ranking, Reranker
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import (
    FEW_QUERIES,
    Answer,
    CandidateView,
    Example,
    Feedback,
    Query,
    TrainingRows,
    VectorKind,
)
from seekloop.contracts.scorers import LinearScorer, on_device
from seekloop.criteria.scores import Top
from seekloop.loop.placement import Engine, Placed
from seekloop.loop.prior import Prior
from seekloop.loop.questions import Question, box_wanted, choose
from seekloop.loop.row_table import RowTable, chunks
from seekloop.loop.shortlist import BLENDED, Shortlist, Shortlisted, hyperplanes, require_linear
from seekloop.loop.state import Comparison, LabelledRows, Round, State
from seekloop.loop.vectors import recipe_of, width
from seekloop.representations.local import GLOBAL
from seekloop.representations.representation import Representation

ANSWER_CODE = {Answer.RELEVANT: 1, Answer.IRRELEVANT: -1, Answer.UNSURE: 0}


class Loop:
    """Rounds of interactive search over one collection, in lockstep over q searches.

    Args:
        descriptors: of the collection.
        representation: labelled images to training rows, region scores to image scores.
        classifier: fitted afresh (warm-started) each round.
        criterion: chooses what to ask.
        seed: of every draw; generators derive from (seed, class, query, round, purpose).
        engine: where to compute, and with how much memory; None: on the CPU.
        shortlist: finds images through an index; None: every round scores all of them.
        prior: ranks while there are no labels of both kinds, and is blended with the classifier. Searches without a
            classifier ask about the highest scores, whatever the criterion: there is no boundary yet. None: the
            classifier alone decides, and every query needs labels of both kinds.
        reranker: ranks again what people see and metrics measure; classifier and criterion go by their own scores.
            None: they see these.

    Raises:
        ConfigError: if the classifier knows whole images only, and the representation has regions; or if there is a
            prior, and the classifier has no hyperplane.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        representation: Representation,
        classifier: Classifier,
        criterion: Criterion,
        *,
        seed: int = 0,
        engine: Engine | None = None,
        shortlist: Shortlist | None = None,
        prior: Prior | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        check_transductive(classifier, representation)
        if prior is not None:
            require_linear(classifier, BLENDED)
        engine = engine or Engine()
        self.descriptors = descriptors
        self.representation = representation
        self.classifier = classifier
        self.criterion = criterion
        self.seed = seed
        self.engine = engine
        self.shortlist = shortlist
        self.prior = prior
        self.reranker = reranker
        self._width = width(representation, descriptors.dim)
        self._cache = Cache()  # of the global descriptors
        self._memory = engine.bytes()
        uses_regions = representation.local.uses_regions
        self._placed = Placed(descriptors, engine, local=uses_regions, memory=self._memory)
        parts = 2 if uses_regions and representation.fusion.uses_global else 1
        self._row_bytes = engine.dtype.itemsize * descriptors.dim * parts
        # an eighth each for the table, for its old self while it grows, and for the rows of a chunk of searches
        self._table = RowTable(self._placed, representation, max(1, self._memory // 8 // self._row_bytes))

    def settings(self) -> dict[str, object]:
        """Parts that determine which scores answers lead to; a criterion may change on the way, and images may join."""
        parts = {name: getattr(self, name) for name in ("representation", "classifier", "seed", "prior")}
        boxes, offsets = self.descriptors.regions.boxes, self.descriptors.regions.offsets
        described = {"dim": self.descriptors.dim, "regions": boxes if offsets is None else "ragged"}
        recipe = recipe_of(self.descriptors, Recipe("arrays", described))
        return parts | {"precision": self.engine.precision, "descriptors": recipe.without("collection")}

    @cached_property
    def global_descriptors(self) -> Float[Tensor, "n d"]:
        """Global descriptors of all images."""
        return self._placed.read(torch.arange(self.descriptors.images), local=False).global_

    def start(self, queries: tuple[Query, ...], seconds: Sequence[float], names: Sequence[str] | None = None) -> State:
        """Label each query's examples relevant and its negatives irrelevant; nothing is fitted yet.

        Args:
            queries: one per search.
            seconds: user time that starting each took.
            names: of the images, by which draws are kept apart; None: their positions.
        """
        q, n = len(queries), self.descriptors.images
        state = State(
            queries,
            torch.zeros(q, n, dtype=torch.int8),
            self.descriptors.readable.repeat(q, 1),
            tuple(LabelledRows.none() for _ in queries),
            torch.tensor(seconds, dtype=torch.float64),
            names=names,
        )
        known = [
            [
                *(Feedback(example.image, Answer.RELEVANT, example.box, 0.0) for example in query.examples),
                *(Feedback(image, Answer.IRRELEVANT, None, 0.0) for image in query.negatives),
            ]
            for query in queries
        ]
        return self.learn(state, known)

    def update(
        self, state: State, feedback: Sequence[Sequence[Feedback]] = (), *, budget: int = 0, compare: bool = False
    ) -> State:
        """Take answers in, fit every search's classifier, and score all images.

        Args:
            state: before; it stays as it is.
            feedback: answers of each search; none where it is empty.
            budget: images of the next question, which an index has to find.
            compare: whether all images are scored as well where there is an index.
        """
        return self.scored(self.fit(self.learn(state, feedback)), budget=budget, compare=compare)

    def propose(self, state: State, criterion: Criterion | None = None, *, budget: int) -> Question:
        """Choose the next images; fewer than `budget` where fewer are left.

        Args:
            state: after an update.
            criterion: chooses; None: the loop's own.
            budget: images to ask about.

        Raises:
            ConfigError: if the criterion does not return as many distinct candidates.
        """
        budget, criterion = min(budget, state.left), criterion or self.criterion
        if budget == 0:
            return Question.none(len(state.queries))
        scores, search = state.ranked(), state.search
        if search is not None and (criterion is not self.criterion or search.picks.shape[1] < budget):
            scores = self._shortlisted(state, budget, criterion, None).scores
        images = self._choose(state, scores, criterion, budget)
        region, wanted = self._regions_shown(state, images.cpu())
        return Question(images.cpu(), region, scores.gather(1, images).cpu(), wanted)

    def rounds(self, state: State, user: User, *, rounds: int, budget: int) -> Iterator[tuple[Round, State]]:
        """Play until round `rounds`, from wherever `state` stands; the caller measures and writes.

        Raises:
            ConfigError: if there are not enough images left to ask about.
        """
        played = max(state.round, 0)
        check_pool(state.left, rounds - played, budget, played, self)
        if state.round < 0:
            state = self.update(state, budget=budget, compare=True)
            yield self._round(state, Question.none(len(state.queries)), tuple(() for _ in state.queries)), state
        else:
            scorer = None if state.scorer is None else on_device(state.scorer, self.engine.device)
            state = self.scored(self._with_prior(replace(state, scorer=scorer)), budget=budget, compare=True)
        while state.round < rounds:
            question = self.propose(state, budget=budget)
            asked = zip(state.queries, question.image.tolist(), question.box_wanted.tolist(), strict=True)
            answers = [
                [user.answer(query, image, state.round + 1, box) for image, box in zip(images, boxes, strict=True)]
                for query, images, boxes in asked
            ]
            feedback = question.with_regions(answers)
            state = self.update(state, feedback, budget=budget, compare=True)
            yield self._round(state, question, feedback), state

    def learn(self, state: State, feedback: Sequence[Sequence[Feedback]]) -> State:
        """Take answers in, without a fit."""
        answers, candidate, seconds = state.answers.clone(), state.candidate.clone(), state.seconds.clone()
        rows = list(state.rows)
        for position, (query, given) in enumerate(zip(state.queries, feedback or [()] * len(rows), strict=True)):
            if not given:
                continue
            choices = []
            for one in given:
                name = one.image if state.names is None else state.names[one.image]
                rng = generator(self.seed, "rows", query.class_name, query.number, name)
                regions = self.descriptors.regions.of(one.image)
                choices.append(self.representation.rows(one, regions, one.region, rng))
            images = torch.tensor([one.image for one in given])
            rows[position] = rows[position].add(
                torch.repeat_interleave(images, torch.tensor([len(choice.region) for choice in choices])),
                torch.cat([choice.region for choice in choices]),
                torch.cat([choice.label for choice in choices]),
            )
            answers[position, images] = torch.tensor([ANSWER_CODE[one.answer] for one in given], dtype=torch.int8)
            candidate[position, images] = False
            seconds[position] += sum(one.seconds for one in given)
        changed = replace(state, answers=answers, candidate=candidate, seconds=seconds, rows=tuple(rows))
        return replace(changed, scores=None, search=None, exact=None)

    def fit(self, state: State) -> State:
        """Fit every search's classifier on its rows; one more round is counted.

        With a prior, searches without labels of both kinds are left to it. Each search that was fitted before starts
        from there, whatever the others do.
        """
        state = self._with_prior(state)
        positions: Sequence[int] = range(len(state.queries))
        if self.prior is not None:
            positions = [p for p in positions if {-1.0, 1.0} <= set(state.rows[p].label.tolist())]
        before = {} if state.scorer is None else {position: row for row, position in enumerate(state.fitted)}
        scorers: list[Scorer] = []
        order: list[int] = []
        limit = self._memory // 8 if self.engine.together else 0
        for group in ([p for p in positions if p in before], [p for p in positions if p not in before]):
            sizes = [len(state.rows[position].image) for position in group]
            for chunk in chunks(sizes, self._row_bytes, limit) if group else ():
                members, previous = [group[row] for row in chunk], None
                if state.scorer is not None and group[0] in before:
                    previous = state.scorer.select(torch.tensor([before[position] for position in members]))
                scorers.append(self.classifier.fit(self._training_rows(state, members), previous))
                order += members
        scorer = scorers[0].join(scorers[1:]) if scorers else None
        if scorer is not None and order != list(positions):
            scorer = scorer.select(torch.tensor(order).argsort())
        fitted = replace(state, scorer=scorer, fitted=tuple(positions), round=state.round + 1)
        return replace(fitted, scores=None, search=None, exact=None)

    def scored(self, state: State, *, budget: int, compare: bool = False) -> State:
        """The state with scores of all images, or where there is an index, of those that it proposes."""
        if self.shortlist is None:
            return replace(state, scores=self.score(state))
        exact = self.score(state) if compare else None
        search = self._shortlisted(state, min(budget, state.left), self.criterion, exact)
        return replace(state, scores=search.scores.to(self.engine.device), search=search, exact=exact)

    def score(self, state: State) -> Float[Tensor, "q n"]:
        """Score every image for every search in one pass over the store; -inf where an image is unreadable."""
        searches = len(state.queries)
        if searches > FEW_QUERIES or self._placed.elsewhere:
            self._placed.hold()
        return self._scores(self._decider(state), searches, torch.arange(self.descriptors.images))

    def shown(self, state: State) -> Float[Tensor, "q n"]:
        """Scores of the ranking that a person sees: the re-ranker's where there is one.

        It is told the images known to be relevant, the query's examples with their boxes first.
        """
        scores = state.ranked()
        if self.reranker is None:
            return scores
        examples, vectors = [], []
        for query, answers in zip(state.queries, state.answers, strict=True):
            given = {one.image for one in query.examples}
            answered = [image for image in (answers == 1).nonzero()[:, 0].tolist() if image not in given]
            examples.append((*query.examples, *(Example(image) for image in answered)))
            images = torch.tensor([one.image for one in examples[-1]], dtype=torch.long)
            text = [] if query.text is None else [query.text.vector.float()[None]]
            vectors.append(torch.cat([*text, self.global_descriptors[images].cpu().float()]))
        shown = self.reranker(Ranking(scores.cpu().float(), tuple(vectors), tuple(examples)))
        return shown.scores.to(scores)

    def _decider(self, state: State) -> Scorer:
        """The scorer that ranks: the classifier's, or its blend with the prior."""
        if self.prior is not None and state.prior is not None:
            own = None if state.scorer is None else hyperplanes(state.scorer, BLENDED)
            return self.prior.blended(own, state.fitted, state.prior, state.positives)
        if state.scorer is None:
            raise ValueError("nothing is fitted yet: call Loop.update first")
        return state.scorer

    def _with_prior(self, state: State) -> State:
        """The state with the prior of each search, standardised over the collection, if the loop has one."""
        if self.prior is None or state.prior is not None:
            return state
        examples = self._examples(state.queries, self._table.index(*self._own_regions(state.queries)))
        vectors = self.prior.vectors(state.queries, self._texts(state.queries), examples)
        plain = LinearScorer(vectors, torch.zeros_like(vectors[:, 0]))
        everything = torch.arange(self.descriptors.images)
        scores = self._scores(plain, len(vectors), everything)
        return replace(state, prior=self.prior.standardised(vectors, scores))

    def _scores(self, scorer: Scorer, searches: int, images: Int[Tensor, " k"]) -> Float[Tensor, "q k"]:
        """Exact scores of some images, for the searches of a scorer."""
        parts = [scorer] if self.engine.together else [scorer.select(torch.tensor([p])) for p in range(searches)]
        scores = torch.empty(searches, len(images), dtype=self.engine.dtype, device=self.engine.device)
        first = 0
        products = isinstance(scorer, LinearScorer) and self.representation.streams(scorer.weights)
        for some in self._placed.split(images, searches, products=products):
            block = self._placed.read(some, self.representation.local.uses_regions)
            scores[:, first : first + len(some)] = torch.cat([p.of_block(block, self.representation) for p in parts])
            first += len(some)
        scores[:, ~self.descriptors.readable[images]] = -torch.inf
        return scores

    def _shortlisted(
        self, state: State, budget: int, criterion: Criterion, exact: Float[Tensor, "q n"] | None
    ) -> Shortlisted:
        """Search through the index; `exact` scores are read where they are known, should all images be needed."""
        if self.shortlist is None:
            raise ValueError("this loop has no index")
        scorer, everything = self._decider(state), torch.arange(self.descriptors.images)

        def scan(rows: Int[Tensor, " k"], queries: Int[Tensor, " p"]) -> Float[Tensor, "p n"]:
            queries = rows[queries]
            if exact is not None:
                return exact[queries.to(exact.device)]
            return self._scores(scorer.select(queries), len(queries), everything)

        def score(some: LinearScorer, images: Int[Tensor, " k"]) -> Float[Tensor, "p k"]:
            return self._scores(some, len(some.weights), images)

        groups = self._choosers(state, criterion)
        found = [
            self.shortlist.by(chooser).search(
                scorer if len(groups) == 1 else scorer.select(rows),
                state.candidate[rows],
                state.round,
                budget,
                score,
                partial(scan, rows),
                answers=state.answers[rows],
                read_vectors=partial(self._vectors, state, rows),
            )
            for rows, chooser in groups
        ]
        return found[0].join(found[1:], torch.cat([rows for rows, _ in groups]))

    def _choosers(self, state: State, criterion: Criterion) -> list[tuple[Int[Tensor, " p"], Criterion]]:
        """Positions of searches, and the criterion that chooses for them: the highest scores before a classifier."""
        fitted = torch.ones(len(state.queries), dtype=torch.bool)
        if self.prior is not None:
            fitted[:] = False
            fitted[list(state.fitted)] = True
        groups: list[tuple[Int[Tensor, " p"], Criterion]] = [
            (fitted.nonzero()[:, 0], criterion),
            ((~fitted).nonzero()[:, 0], Top()),
        ]
        return [group for group in groups if len(group[0])]

    def _choose(
        self, state: State, scores: Float[Tensor, "q n"], criterion: Criterion, budget: int
    ) -> Int[Tensor, "q b"]:
        """Let the criterion choose by these scores."""
        candidate, answers = state.candidate.to(scores.device), state.answers.to(scores.device)
        images = torch.empty(len(scores), budget, dtype=torch.long, device=scores.device)
        for rows, chooser in self._choosers(state, criterion):
            queries, these = [state.queries[row] for row in rows.tolist()], rows.to(scores.device)
            seen = scores[these], candidate[these], answers[these]
            view = CandidateView(
                *seen,
                lambda: self.global_descriptors,
                state.round,
                cache=self._cache,
                read_vectors=partial(self._vectors, state, rows),
                rescore=partial(self._rescored, state, rows),
            )
            rngs = [generator(self.seed, "criterion", query.class_name, query.number, state.round) for query in queries]
            images[these] = choose(chooser, view, budget, rngs, [query.name for query in queries])
        return images

    def _round(self, state: State, question: Question, feedback: tuple[tuple[Feedback, ...], ...]) -> Round:
        """The round after an update; with an index, compared with an exact scan."""
        comparison = None
        if state.search is not None and state.exact is not None:
            picked = state.search.picks.shape[1]
            picks = self._choose(state, state.exact, self.criterion, picked) if picked else state.search.picks
            comparison = Comparison(state.search, state.exact, picks.cpu())
        return Round(state.round, question, feedback, self.shown(state), state.answers, comparison)

    def _training_rows(self, state: State, chunk: Sequence[int]) -> TrainingRows:
        """The rows of some searches, by reference to a table that all share."""
        rows, queries = [state.rows[position] for position in chunk], [state.queries[position] for position in chunk]
        image, region = self._own_regions(queries)
        slots = self._table.index(
            torch.cat([*[r.image for r in rows], image]), torch.cat([*[r.region for r in rows], region])
        )
        pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
        sizes = [len(r.image) for r in rows]
        index = pad(list(torch.split(slots[: sum(sizes)], sizes)))
        labels = pad([r.label for r in rows]).to(self.engine.dtype)
        mask = labels != 0
        table, own = self._table.vectors, self._own(queries, slots[sum(sizes) :])
        return TrainingRows(
            table,
            index.to(table.device),
            labels.to(table.device),
            mask.to(table),
            mask.to(table.device),
            own,
            pad([r.image for r in rows]).to(table.device),
            None if self.representation.local.uses_regions else lambda: self.global_descriptors,
            self._cache,
        )

    def _own_regions(self, queries: Sequence[Query]) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
        """Images of all examples, and the region of each that lies best on the object."""
        examples = [example for query in queries for example in query.examples]
        regions = [
            self.representation.query_region(self.descriptors.regions.of(one.image), one.box) for one in examples
        ]
        return torch.tensor([one.image for one in examples], dtype=torch.long), torch.tensor(regions, dtype=torch.long)

    def _own(self, queries: Sequence[Query], slots: Int[Tensor, " k"]) -> Float[Tensor, "q e"]:
        """Vector of each query's own object: its examples' mean, its text's, or the mean of these two."""
        own = self._examples(queries, slots)
        if all(query.text is None for query in queries):
            return own
        kinds = [(bool(query.examples), query.text is not None) for query in queries]
        parts = torch.tensor(kinds, device=own.device).sum(dim=1, keepdim=True).to(own)
        return (own + self._texts(queries)) / parts.clamp(min=1)

    def _examples(self, queries: Sequence[Query], slots: Int[Tensor, " k"]) -> Float[Tensor, "q e"]:
        """Mean vector of each query's examples, which are at these places of the table; zero without examples."""
        counts = torch.tensor([len(query.examples) for query in queries])
        device = self.engine.device
        if not len(slots):
            return torch.zeros(len(queries), self._width, dtype=self.engine.dtype, device=device)
        vectors = self._table.vectors[slots.to(device)]
        owner = torch.repeat_interleave(torch.arange(len(queries)), counts).to(device)
        total = vectors.new_zeros(len(queries), self._width).index_add_(0, owner, vectors)
        return total / counts.clamp(min=1).to(total)[:, None]

    def _texts(self, queries: Sequence[Query]) -> Float[Tensor, "q e"]:
        """Vector of each query's text, as if it were both global and local descriptor; zero without text."""
        vectors = torch.zeros(len(queries), self.descriptors.dim, dtype=self.engine.dtype, device=self.engine.device)
        for vector, query in zip(vectors, queries, strict=True):
            if query.text is not None:
                if query.text.vector.shape != vector.shape:
                    shape = tuple(query.text.vector.shape)
                    raise ValueError(f"the text of query {query.name} has a vector of shape {shape}, not {len(vector)}")
                vector.copy_(torch.nn.functional.normalize(query.text.vector, dim=0))
        return self.representation.fusion.fuse(vectors, vectors) if self.representation.local.uses_regions else vectors

    def _regions_shown(
        self, state: State, images: Int[Tensor, "q b"]
    ) -> tuple[Int[Tensor, "q b"], Bool[Tensor, "q b"]]:
        """The region of each image that scores highest, and whether a box is asked for."""
        best, wanted = torch.full_like(images, GLOBAL), torch.zeros_like(images, dtype=torch.bool)
        if not self.representation.local.uses_regions or images.shape[1] == 0:
            return best, wanted
        decider = self._decider(state)
        for position, row in enumerate(images):
            scores = self._region_scores(decider.select(torch.tensor([position])), row)
            best[position] = _best(scores)
            boxes = [self.descriptors.regions.of(image) for image in row.tolist()]
            wanted[position] = torch.tensor([box_wanted(*one) for one in zip(scores, boxes, strict=True)])
        return best, wanted

    def best_regions(self, state: State, images: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
        """The region of each image that scores highest for the first search; GLOBAL where an image has none."""
        block = self._placed.read(images, local=True)
        if block.offsets is None:
            return torch.full_like(images, GLOBAL)
        region = torch.arange(len(block.owner)) - block.offsets[block.owner]
        vectors = self.representation.vectors(block, block.owner, region)
        scores = self._decider(state).select(torch.tensor([0])).scores(vectors, images[block.owner])[0]
        return _best(torch.split(scores.cpu(), block.offsets.diff().tolist()))

    def _region_scores(self, scorer: Scorer, images: Int[Tensor, " k"]) -> list[Float[Tensor, " m"]]:
        """Decision values of each image's regions, for one search."""
        regions = self.descriptors.regions
        counts = (
            torch.full_like(images, len(regions.boxes)) if regions.offsets is None else regions.offsets.diff()[images]
        )
        ends = counts.cumsum(0)
        owner = torch.repeat_interleave(images, counts)
        region = torch.arange(len(owner)) - torch.repeat_interleave(ends - counts, counts)
        slots = self._table.index(owner, region)
        return list(torch.split(scorer.scores(self._table.vectors[slots], owner)[0].cpu(), counts.tolist()))

    def _vectors(
        self, state: State, rows: Int[Tensor, " p"], query: int, images: Int[Tensor, " k"], kind: VectorKind
    ) -> Float[Tensor, "k e"]:
        """Vectors of images for one of the searches at `rows`, as in `CandidateView.vectors`."""
        images = images.cpu()
        if kind == "global" or not self.representation.local.uses_regions:
            return self._placed.read(images, local=False).global_
        region = _best(self._region_scores(self._decider(state).select(rows[query : query + 1]), images))
        return self._table.vectors[self._table.index(images, region)]

    def _rescored(
        self, state: State, rows: Int[Tensor, " p"], query: int, vectors: Float[Tensor, "k e"]
    ) -> Float[Tensor, " k"]:
        """Decision values of one of the searches at `rows`, as in `CandidateView.rescore`."""
        return self._decider(state).select(rows[query : query + 1]).scores(vectors)[0]


def _best(scores: Sequence[Float[Tensor, " _"]]) -> Int[Tensor, " k"]:
    """Region of each image that scores highest, the first of equals; GLOBAL where there is none."""
    return torch.tensor([int(one.argmax()) if len(one) else GLOBAL for one in scores], dtype=torch.long)


def check_transductive(classifier: Classifier, representation: Representation) -> None:
    """Refuse a classifier of whole images where images have regions.

    Raises:
        ConfigError: saying what goes together.
    """
    if isinstance(classifier, Transductive) and representation.local.uses_regions:
        why = "its graph joins whole images, and regions have no place in it"
        raise ConfigError("classifier", type(classifier).__name__, why, "Use representation=go, or another classifier.")


def check_pool(pool: int, rounds: int, budget: int, played: int = 0, owner: object = None) -> None:
    """Refuse a simulation that would ask for more images than there are.

    Args:
        pool: images that can be asked about.
        rounds: that are to come.
        budget: images asked about in each of them.
        played: rounds before them, which `rounds` of the simulation counts too.
        owner: whose `rounds` and `budget` these are, for the error.

    Raises:
        ConfigError: with numbers that fit, where there are any.
    """
    if budget < 1:
        raise ConfigError("budget", budget, "a round asks about at least one image", "Use 1 or more.", owner)
    if rounds < 0:
        raise ConfigError("rounds", rounds + played, "there is no round before the first", "Use 0 or more.", owner)
    left = max(pool, 0)
    if rounds * budget > left:
        why = f"rounds x budget = {rounds * budget} exceeds the {many(left, 'candidate', 'candidates')}"
        raise ConfigError("budget", budget, why, _fitting(left, rounds, budget, played), owner)


def _fitting(pool: int, rounds: int, budget: int, played: int) -> str:
    """Advice that can be followed: each of its ways out is accepted by `check_pool`."""
    ways = [f"budget to {pool // rounds}"] if pool >= rounds else []
    ways += [f"rounds to {played + pool // budget}"] if pool >= budget else []
    if not ways and pool:
        ways = [f"budget to 1 and rounds to {played + pool}"]
    more = rounds * budget - pool
    add = f"dd {more} {'image' if more == 1 else 'images'} or more."
    return f"Lower {', or '.join(ways)}. Or a{add}" if ways else f"A{add}"
