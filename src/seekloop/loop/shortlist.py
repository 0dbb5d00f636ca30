"""The shortlist: an index proposes images, exact scores decide, and it grows until nothing outside could be picked."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Protocol, runtime_checkable

import torch
from annotated_types import Interval
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Classifier, Criterion, Scorer
from seekloop.contracts.records import CandidateView, ReadVectors, TrainingRows
from seekloop.contracts.scorers import LinearScorer
from seekloop.loop.questions import choose
from seekloop.store.index import Found, Index

GROWTH = 2
UNIT_ROUNDOFF = 2.0**-24  # of float32
SEARCHED = "an index finds what lies far on one side of a hyperplane (store.index=null does without)"
BLENDED = "a prior is blended with a hyperplane"

Score = Callable[[LinearScorer, Int[Tensor, " k"]], Float[Tensor, "q k"]]
Scan = Callable[[Int[Tensor, " p"]], Float[Tensor, "p n"]]


@runtime_checkable
class ScoreCriterion(Protocol):
    """A criterion that can tell by scores when a shortlist is long enough for it. It draws nothing.

    Besides scores it may look at answers, and at vectors of images that it names (`CandidateView.vectors`).
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q b"]:
        """As of every criterion."""
        ...

    def floor(self, view: CandidateView, budget: int) -> Float[Tensor, " q"]:
        """A score such that no image below it would change the picks, were it a candidate of this view, too."""
        ...


@dataclass(frozen=True)
class Shortlisted:
    """One round's search through an index.

    Attributes:
        scores: decision value of every image on the shortlist; -inf of all others.
        listed: which images are on it; all of them where the whole collection was scanned.
        picks: what the criterion picks from it.
        certified: an exact scan would have picked the same.
        scanned: the shortlist grew too long, and the whole collection was scored. Neither: the index is approximate.
        length: images scored.
        seconds: this query's share of the time that index and rescoring took, scans of the collection left out.
    """

    scores: Float[Tensor, "q n"]
    listed: Bool[Tensor, "q n"]
    picks: Int[Tensor, "q b"]
    certified: Bool[Tensor, " q"]
    scanned: Bool[Tensor, " q"]
    length: Int[Tensor, " q"]
    seconds: Float[Tensor, " q"]

    def join(self, others: Sequence["Shortlisted"], rows: Int[Tensor, " q"]) -> "Shortlisted":
        """Searches of some queries and of others in one, each at its position.

        Args:
            others: searches of other queries, for as many images.
            rows: positions of all these queries, in the order in which they stand here and in `others`.
        """
        if not others:
            return self
        order = rows.argsort()
        parts = [torch.cat([getattr(one, field.name) for one in (self, *others)])[order] for field in fields(self)]
        return Shortlisted(*parts)


@component
class ShortlistSizes:
    """Lengths of shortlists.

    Args:
        candidates: vectors asked for at first; doubled until the picks are certain.
        limit: share of the collection past which all images are scored after all.

    Raises:
        ConfigError: if a size has no meaning.
    """

    candidates: Count = 1000
    limit: Annotated[float, Interval(gt=0, le=1)] = 0.25


class Shortlist:
    """Finds a round's picks through an index instead of scoring every image.

    Args:
        index: of the vectors that the classifier sees (`ClassifiedVectors`).
        criterion: picks; must have a `floor`.
        sizes: of its lists; None: the usual ones.

    Raises:
        ConfigError: if the criterion has no `floor`.
    """

    def __init__(self, index: Index, criterion: Criterion, sizes: ShortlistSizes | None = None) -> None:
        self.index = index
        self.criterion = require_by_score(criterion)
        self.sizes = sizes or ShortlistSizes()

    def by(self, criterion: Criterion) -> "Shortlist":
        """The same with another criterion.

        Raises:
            ConfigError: if it has no `floor`.
        """
        return Shortlist(self.index, criterion, self.sizes)

    def search(
        self,
        scorer: Scorer,
        candidate: Bool[Tensor, "q n"],
        round: int,
        budget: int,
        score: Score,
        scan: Scan,
        *,
        answers: Int[Tensor, "q n"] | None = None,
        read_vectors: ReadVectors | None = None,
    ) -> Shortlisted:
        """Shortlist the images that the criterion could pick, and let it pick.

        Args:
            scorer: hyperplanes.
            candidate: which images may be asked about.
            round: number of the round.
            budget: images to pick.
            score: exact scores of some images, for all queries of a scorer.
            scan: exact scores of all images for some of the queries, where the shortlist would grow too long.
            answers: as in `CandidateView`; None: nothing is answered.
            read_vectors: as in `CandidateView`, by position in the collection; None: the criterion has no use for it.

        Raises:
            ConfigError: if the scorer is not linear.
        """
        work = _Work(hyperplanes(scorer), candidate, round, budget, answers, read_vectors)
        pending = torch.arange(len(candidate))
        k, widening = min(self.sizes.candidates, self.index.rows), 1
        while len(pending):
            started = time.perf_counter()
            hits = self.index.search(work.scorer.weights[pending], k, widening)
            fresh = work.enlist(pending, hits)
            outgrown = work.listed[pending].sum(dim=1) > self.sizes.limit * candidate.shape[1]
            work.rescore(pending[~outgrown], fresh[~outgrown], score)
            settled = self._settle(work, pending, hits, ~outgrown)
            work.seconds[pending] += (time.perf_counter() - started) / len(pending)
            lost = outgrown | (~settled & hits.final)
            self._scan(work, pending[lost], scan)
            pending = pending[~settled & ~lost]
            k, widening = min(k * GROWTH, self.index.rows), widening * GROWTH
        length = work.listed.sum(dim=1)
        return Shortlisted(work.scores, work.listed, work.picks, work.certified, work.scanned, length, work.seconds)

    def _settle(
        self, work: "_Work", queries: Int[Tensor, " p"], hits: Found, allowed: Bool[Tensor, " p"]
    ) -> Bool[Tensor, " p"]:
        """Let the criterion pick, and see whether anything outside the shortlist could have been picked instead."""
        whole = hits.known.sum(dim=1) == self.index.rows
        able = allowed & ((work.candidate & work.listed)[queries].sum(dim=1) >= work.budget)
        settled = torch.zeros_like(able)
        if not able.any():
            return settled
        ready = queries[able]
        outside = hits.lowest[able] + work.scorer.intercept[ready].float().cpu() + self._rounding(work.scorer)[ready]
        floor = (
            self.criterion.floor(work.view(ready)[0], work.budget)
            if work.budget
            else torch.full_like(outside, torch.inf)
        )
        sure = whole[able] | (outside < floor)
        settled[able] = sure
        if sure.any():
            work.picks[ready[sure]] = work.pick(ready[sure], self.criterion)
        work.certified[ready[sure]] = (whole[able] | hits.exact)[sure]
        return settled

    def _rounding(self, scorer: LinearScorer) -> Float[Tensor, " q"]:
        """How far the index's score of a vector and an exact scan's may lie apart through float32 alone.

        A product of d terms is off by at most d roundings of its factors' lengths (Higham, "Accuracy and Stability of
        Numerical Algorithms", Sec. 3.1), a length by half as many. Either score has one of each; a few roundings more
        are of the hyperplane, the division and the intercept.
        """
        size = scorer.weights.float().norm(dim=1) * self.index.norm + scorer.intercept.float().abs()
        return (3 * scorer.weights.shape[1] + 16) * UNIT_ROUNDOFF * size.cpu()

    def _scan(self, work: "_Work", queries: Int[Tensor, " p"], scan: Scan) -> None:
        """Score everything after all."""
        if not len(queries):
            return
        work.scores[queries] = scan(queries).to(work.scores)
        work.listed[queries] = True
        work.scanned[queries], work.certified[queries] = True, True
        if work.budget:
            work.picks[queries] = work.pick(queries, self.criterion)


class _Work:
    """A search under way, on the CPU; tables as in `Shortlisted`, in which nothing is listed yet."""

    def __init__(
        self,
        scorer: LinearScorer,
        candidate: Bool[Tensor, "q n"],
        round: int,
        budget: int,
        answers: Int[Tensor, "q n"] | None,
        read_vectors: ReadVectors | None,
    ) -> None:
        q = len(candidate)
        self.scorer, self.candidate, self.round, self.budget = scorer, candidate, round, budget
        self.answers = torch.zeros(candidate.shape, dtype=torch.int8) if answers is None else answers
        self.read_vectors = read_vectors
        self.scores = torch.full(candidate.shape, -torch.inf, dtype=scorer.weights.dtype)
        self.listed = torch.zeros_like(candidate)
        self.picks = torch.zeros(q, budget, dtype=torch.long)
        self.certified, self.scanned = torch.zeros(2, q, dtype=torch.bool)
        self.seconds = torch.zeros(q, dtype=torch.float64)

    def enlist(self, queries: Int[Tensor, " p"], hits: Found) -> Bool[Tensor, "p n"]:
        """Put the images of vectors on the shortlists; returns those that were not there before."""
        before = self.listed[queries]
        after = before.clone()
        row, column = hits.known.nonzero(as_tuple=True)
        after[row, hits.image[row, column]] = True
        self.listed[queries] = after
        return after & ~before

    def rescore(self, queries: Int[Tensor, " p"], fresh: Bool[Tensor, "p n"], score: Score) -> None:
        """Exact scores of what has joined the shortlists: each image is read once for all queries."""
        images = fresh.any(dim=0).nonzero()[:, 0]
        if len(images):
            entries = queries[:, None], images[None]
            scores = score(self.scorer.select(queries), images).to(self.scores)
            self.scores[entries] = torch.where(fresh[:, images], scores, self.scores[entries])

    def pick(self, queries: Int[Tensor, " p"], criterion: ScoreCriterion) -> Int[Tensor, "p b"]:
        """Picks of the criterion, which sees the shortlists and the answered images, and nothing else."""
        view, image = self.view(queries)
        return image.gather(1, choose(criterion, view, self.budget, ()))

    def view(self, queries: Int[Tensor, " p"]) -> tuple[CandidateView, Int[Tensor, "p w"]]:
        """View of these queries for a criterion, and the image behind each of its columns."""
        answers = self.answers[queries]
        images = [row.nonzero()[:, 0] for row in (self.listed & self.candidate)[queries] | (answers != 0)]  # rising
        pad = torch.nn.utils.rnn.pad_sequence
        image = pad(images, batch_first=True)
        real = pad([torch.ones_like(row, dtype=torch.bool) for row in images], batch_first=True)
        rows = queries[:, None]
        candidate = real & (self.listed & self.candidate)[rows, image]
        answers = torch.where(real, answers.gather(1, image), 0)
        view = CandidateView(self.scores[rows, image], candidate, answers, _unread, self.round)
        if self.read_vectors is None:
            return view, image
        read = self.read_vectors
        return replace(
            view, read_vectors=lambda query, at, kind: read(int(queries[query]), image[query, at], kind)
        ), image


def _unread() -> Tensor:
    raise ValueError("with an index, a criterion that reads the descriptors of all images cannot be served")


def require_by_score(criterion: Criterion) -> ScoreCriterion:
    """The criterion, if scores can tell when a shortlist is long enough for it.

    Raises:
        ConfigError: otherwise.
    """
    if isinstance(criterion, ScoreCriterion):
        return criterion
    name = type(criterion).__name__
    why = f"an index proposes images by score, and {name} looks at more (it has no method `floor`)"
    fix = "Use criterion=uncertainty, top, pf_ma, pf_mmr or mixed, or store.index=null."
    raise ConfigError("criterion", name, why, fix)


def require_linear(classifier: Classifier, why: str = SEARCHED) -> None:
    """Fit two rows, to see what comes out.

    Raises:
        ConfigError: if it is no hyperplane; says `why` it must be one.
    """
    rows, real = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool)
    index, labels = torch.tensor([[0, 1]]), torch.tensor([[1.0, -1.0]])
    two = TrainingRows(rows, index, labels, real.float(), real, rows[:1], index, lambda: rows)
    hyperplanes(classifier.fit(two, None), why, type(classifier).__name__)


def hyperplanes(scorer: Scorer, why: str = SEARCHED, name: str | None = None) -> LinearScorer:
    """The scorer, if it is one of hyperplanes.

    Args:
        scorer: of a classifier.
        why: hyperplanes are needed.
        name: of the classifier, for the error.

    Raises:
        ConfigError: otherwise.
    """
    if isinstance(scorer, LinearScorer):
        return scorer
    fix = "Use one that has: classifier=svm_numba, any other svm_*, logistic, logistic_anchored, logistic_smoothed or "
    raise ConfigError(
        "classifier", name or type(scorer).__name__, f"{why}, and this classifier has none", fix + "rocchio."
    )
