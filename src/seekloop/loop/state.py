"""State of all searches of an experiment, and the rounds that led to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import Feedback, Query
from seekloop.contracts.scorers import LinearScorer, pack_scorer, unpack_scorer
from seekloop.loop.questions import Question
from seekloop.loop.shortlist import Shortlisted


@dataclass(frozen=True)
class LabelledRows:
    """Training rows of one search, by reference: image, region (or GLOBAL, PROTOTYPE) and label of each."""

    image: Int[Tensor, " r"]
    region: Int[Tensor, " r"]
    label: Float[Tensor, " r"]

    @staticmethod
    def none() -> "LabelledRows":
        """No rows yet."""
        return LabelledRows(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), torch.empty(0))

    def add(self, image: Int[Tensor, " k"], region: Int[Tensor, " k"], label: Float[Tensor, " k"]) -> "LabelledRows":
        """These rows and, behind them, some more."""
        return LabelledRows(
            torch.cat([self.image, image]), torch.cat([self.region, region]), torch.cat([self.label, label])
        )


@dataclass(frozen=True)
class State:
    """All searches of an experiment, side by side, after `round` rounds. Nothing changes it in place.

    Attributes:
        queries: one per search.
        answers: +1 relevant, -1 irrelevant, 0 not answered or unsure.
        candidate: which images may still be asked about.
        rows: training rows of each search, in the order they were labelled.
        seconds: user time spent on each search.
        scorer: the classifier fitted last, of the searches in `fitted`; None where nothing is fitted.
        round: number of the round that `scorer` belongs to; -1 before the first fit.
        fitted: positions of the searches that `scorer` has hyperplanes of; the others lack labels of a kind.
        names: of the images, by which draws are kept apart; None: their positions.
        prior: of all searches; None without.
        scores: decision value of every image, -inf where it is unreadable, or off the list of an index; None until
            scored.
        search: the round's search through an index; None without one.
        exact: decision values of all images, where they are compared with those of an index; None elsewhere.
    """

    queries: tuple[Query, ...]
    answers: Int[Tensor, "q n"]
    candidate: Bool[Tensor, "q n"]
    rows: tuple[LabelledRows, ...]
    seconds: Float[Tensor, " q"]
    scorer: Scorer | None = None
    round: int = -1
    fitted: tuple[int, ...] = ()
    names: Sequence[str] | None = None
    prior: LinearScorer | None = None
    scores: Float[Tensor, "q n"] | None = None
    search: Shortlisted | None = None
    exact: Float[Tensor, "q n"] | None = None

    @property
    def left(self) -> int:
        """How many images every search can still ask about."""
        return int(self.candidate.sum(dim=1).min())

    @property
    def positives(self) -> Int[Tensor, " q"]:
        """How many images each search knows to be relevant."""
        return (self.answers == 1).sum(dim=1)

    def ranked(self) -> Float[Tensor, "q n"]:
        """The scores.

        Raises:
            ValueError: if there are none yet.
        """
        if self.scores is None:
            raise ValueError("nothing is scored yet: call Loop.update first")
        return self.scores

    def pack(self) -> dict[str, Any]:
        """State as a checkpoint keeps it; the tables over all images only where they are not the default."""
        answered = self.answers.nonzero()
        return {
            "answered": answered,
            "answers": self.answers[answered[:, 0], answered[:, 1]],
            "left_pool": (~self.candidate).nonzero(),
            "rows": [(r.image, r.region, r.label) for r in self.rows],
            "seconds": self.seconds,
            "scorer": pack_scorer(self.scorer),
            "round": self.round,
            "fitted": list(self.fitted),
        }

    @staticmethod
    def unpack(packed: Mapping[str, Any], queries: tuple[Query, ...], images: int) -> "State":
        """The state that `pack` was called on, without scores."""
        answers = torch.zeros(len(queries), images, dtype=torch.int8)
        answers[packed["answered"][:, 0], packed["answered"][:, 1]] = packed["answers"]
        candidate = torch.ones(len(queries), images, dtype=torch.bool)
        candidate[packed["left_pool"][:, 0], packed["left_pool"][:, 1]] = False
        rows = tuple(LabelledRows(*row) for row in packed["rows"])
        scorer, fitted = unpack_scorer(packed["scorer"]), tuple(packed.get("fitted", range(len(queries))))
        return State(queries, answers, candidate, rows, packed["seconds"], scorer, packed["round"], fitted)


@dataclass(frozen=True)
class Comparison:
    """A round that went through an index, compared with an exact scan.

    Attributes:
        search: through the index.
        exact: decision values of all images.
        exact_picks: images that the criterion would have picked by them.
    """

    search: Shortlisted
    exact: Float[Tensor, "q n"]
    exact_picks: Int[Tensor, "q p"]


@dataclass(frozen=True)
class Round:
    """One turn of the loop, after fitting and scoring.

    Attributes:
        number: 0 is the query alone.
        question: asked before this round's fit; empty in round 0.
        feedback: the answers, per query.
        scores: decision values now, or those of the re-ranker, if the loop has one.
        answers: +1, -1, 0 as in `CandidateView`, now.
        comparison: with an exact scan; None without an index.
    """

    number: int
    question: Question
    feedback: tuple[tuple[Feedback, ...], ...]
    scores: Float[Tensor, "q n"]
    answers: Int[Tensor, "q n"]
    comparison: Comparison | None = None

    @property
    def asked(self) -> Int[Tensor, "q b"]:
        """Images asked about before this round's fit, in the order asked."""
        return self.question.image
