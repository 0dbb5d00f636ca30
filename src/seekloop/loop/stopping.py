"""When a search has found enough: what remains, estimated from its answers, and rules that say stop."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from annotated_types import Interval
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.declared import Count, component
from seekloop.contracts.protocols import Criterion
from seekloop.contracts.randomness import generator
from seekloop.loop.engine import ANSWER_CODE, Loop
from seekloop.loop.state import LabelledRows, Round, State
from seekloop.metrics.remaining import Calibration, Estimate, calibrated, chao, chao_rivest, sampled

RANDOM = "random"
"""Name of the criterion whose questions are a random sample of what is left: the check of the rest."""
BY_HAND = "by hand"
"""In place of a criterion's name: a person chose the images. What was picked by looking calibrates nothing."""
MEMBERS = 4
"""Members of the committee: two classifiers each are eight, as many as one pass serves without holding the store."""
FEWEST = 5
"""Found images below which nothing but a random sample is estimated from."""
FEWEST_TURNS = 3
"""Turns below which no calibration is learnt."""
Inside = Annotated[float, Interval(gt=0, lt=1)]
"""A share of the whole, neither none nor all."""


@dataclass(frozen=True)
class Turn:
    """Answers of one round, in the order asked.

    Attributes:
        criterion: name of what chose the images, as in `criterion=pf_mmr`; BY_HAND where a person did.
        image: positions in the collection.
        answer: +1 relevant, -1 irrelevant, 0 unsure.
        score: decision values when they were asked about, before the answers were learnt from.
    """

    criterion: str
    image: Int[Tensor, " b"]
    answer: Int[Tensor, " b"]
    score: Float[Tensor, " b"]


@dataclass(frozen=True)
class Progress:
    """One search so far: all that estimators and rules know.

    Attributes:
        turns: answers of each round; what was known at the start is not among them.
        scores: decision value of every image now.
        answers: +1 relevant, -1 irrelevant, 0 not answered or unsure.
        candidate: images that may still be asked about, of which the remaining relevant ones are some.
        read_captures: reads `captures`; None where there is no committee.
    """

    turns: Sequence[Turn]
    scores: Float[Tensor, " n"]
    answers: Int[Tensor, " n"]
    candidate: Bool[Tensor, " n"]
    read_captures: Callable[[], Tensor] | None = None

    @property
    def found(self) -> int:
        """Images known to be relevant, the examples among them."""
        return int((self.answers == 1).sum())

    @property
    def left(self) -> int:
        """Images that may still be asked about."""
        return int(self.candidate.sum())

    @cached_property
    def captures(self) -> Bool[Tensor, "k m"] | None:
        """Which members of a committee would have proposed each of the images found by asking (`captures`)."""
        return None if self.read_captures is None else self.read_captures()


Remaining: TypeAlias = Callable[[Progress, float], Estimate | None]
"""An estimator: the search and the interval's confidence to what remains; None where too little is known."""


def by_sample(progress: Progress, confidence: float = 0.95) -> Estimate | None:
    """Estimate what remains from the last check, the latest uninterrupted turns of random questions.

    Images found since the check began are taken off, so that a search may go on after it.
    """
    turns = list(progress.turns)
    end = next((n for n in range(len(turns), 0, -1) if turns[n - 1].criterion == RANDOM), 0)
    start = next((n for n in range(end, 0, -1) if turns[n - 1].criterion != RANDOM), 0)
    sample = torch.cat([torch.zeros(0, dtype=torch.long), *(turn.answer.long() for turn in turns[start:end])])
    known = int((sample != 0).sum())
    if known == 0:
        return None
    since = torch.cat([turn.answer.long() for turn in turns[start:]])
    drawn_from = progress.left + len(since) - (len(sample) - known)  # unsure answers tell of nothing
    estimate = sampled(int((sample == 1).sum()), known, drawn_from, confidence).less(int((since == 1).sum()))
    return estimate.at_most(progress.left)


def by_platt(progress: Progress, confidence: float = 0.95) -> Estimate | None:
    """Estimate what remains by probabilities of a logistic calibration."""
    return _by_probability("platt", progress, confidence)


def by_isotonic(progress: Progress, confidence: float = 0.95) -> Estimate | None:
    """Estimate what remains by probabilities of an isotonic calibration."""
    return _by_probability("isotonic", progress, confidence)


def _by_probability(calibration: Calibration, progress: Progress, confidence: float) -> Estimate | None:
    """Calibrate on the scores that images had when they were asked about."""
    turns = [turn for turn in progress.turns if turn.criterion != BY_HAND]
    if len(turns) < FEWEST_TURNS:
        return None
    answers, scores = torch.cat([turn.answer for turn in turns]), torch.cat([turn.score for turn in turns])
    sizes = torch.tensor([len(turn.answer) for turn in turns])
    round_ = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    known, rest = answers != 0, progress.scores[progress.candidate]
    relevant = answers[known] == 1
    if int(relevant.sum()) < FEWEST or relevant.all():
        return None
    given = (scores[known], relevant, round_[known], rest[rest.isfinite()])
    return calibrated(*given, confidence, calibration=calibration)


def by_chao(progress: Progress, confidence: float = 0.95) -> Estimate | None:
    """Estimate what remains by Chao's bound over the committee's captures."""
    return _by_captures(chao, progress, confidence)


def by_chao_rivest(progress: Progress, confidence: float = 0.95) -> Estimate | None:
    """Estimate what remains by the bound of Chao and Rivest over the committee's captures."""
    return _by_captures(chao_rivest, progress, confidence)


def _by_captures(bound: Callable[[Tensor, float], Estimate], progress: Progress, confidence: float) -> Estimate | None:
    captures = progress.captures
    if captures is None or len(captures) < FEWEST:
        return None
    return bound(captures, confidence).at_most(progress.left)


Estimator = Literal["sample", "platt", "isotonic", "chao", "chao_rivest"]
ESTIMATORS: Mapping[str, Remaining] = {
    "sample": by_sample,
    "platt": by_platt,
    "isotonic": by_isotonic,
    "chao": by_chao,
    "chao_rivest": by_chao_rivest,
}
"""Estimators of what remains, by name."""


def captures(loop: Loop, state: State, position: int) -> Bool[Tensor, "k m"]:
    """Ask a committee which images found by one search its members would have proposed.

    Each member splits the answers in two halves at random. A classifier learns from each half (and from what was known
    at the start) and ranks the other half's images among all images without an answer. Those that come first, as many
    as the half has images, are what it would have asked about. The loop's own parts do this, as searches of their own.

    Args:
        loop: whose parts the members share.
        state: of all searches, scored.
        position: of the search.

    Returns:
        A row per image found by asking, a column per member.
    """
    query, answers = state.queries[position], state.answers[position]
    known = torch.zeros_like(answers, dtype=torch.bool)
    known[[*(one.image for one in query.examples), *query.negatives]] = True
    asked = ((answers != 0) & ~known).nonzero()[:, 0]
    found = answers[asked] == 1
    rng = generator(loop.seed, "committee", query.class_name, query.number, state.round)
    halves = torch.stack([torch.randperm(len(asked), generator=rng) % 2 == 0 for _ in range(MEMBERS)])
    taught = torch.cat([halves, ~halves])
    scores = loop.score(loop.fit(_members(state, position, asked, taught))).cpu()
    unanswered = (answers == 0) & torch.isfinite(scores[0])
    proposed = torch.stack([_proposed(row, asked[~half], unanswered) for row, half in zip(scores, taught, strict=True)])
    first, second = proposed[:, asked].chunk(2)
    return torch.where(halves, second, first)[:, found].T


def _members(state: State, position: int, asked: Int[Tensor, " k"], taught: Bool[Tensor, "c k"]) -> State:
    """Searches that know a part of the answers each."""
    rows, answers = state.rows[position], state.answers[position]
    parts, told = [], answers.repeat(len(taught), 1)
    for known, half in zip(told, taught, strict=True):
        known[asked[~half]] = 0
        kept = ~torch.isin(rows.image, asked[~half])
        parts.append(LabelledRows(rows.image[kept], rows.region[kept], rows.label[kept]))
    candidate = state.candidate[position].repeat(len(taught), 1)
    queries = (state.queries[position],) * len(taught)
    prior = None if state.prior is None else state.prior.select(torch.full((len(taught),), position))
    seconds = torch.zeros(len(taught), dtype=torch.float64)
    return State(queries, told, candidate, tuple(parts), seconds, names=state.names, prior=prior)


def _proposed(
    scores: Float[Tensor, " n"], half: Int[Tensor, " h"], unanswered: Bool[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """The images of highest score among those of a half and those without an answer, as many as the half has."""
    eligible = unanswered.clone()
    eligible[half] = True
    first = scores.masked_fill(~eligible, -torch.inf).topk(len(half)).indices
    return torch.zeros_like(eligible).index_fill_(0, first, True)


@dataclass(frozen=True)
class Verdict:
    """Decision of a rule about a search: whether to stop, and the reason in a sentence."""

    stop: bool
    why: str


@runtime_checkable
class Rule(Protocol):
    """Says when a search has found enough."""

    def __call__(self, progress: Progress) -> Verdict:
        """Stop, or go on, and why."""
        ...

    def works_with(self, criterion: str) -> bool:
        """Whether it can ever say stop where this criterion asks all questions."""
        ...


@component
class Recall:
    """Stop when so large a share of the relevant images is found, with a stated confidence.

    Args:
        estimator: of what remains.
        goal: share of the relevant images that is to be found.
        confidence: that it is found: the upper end of a one-sided interval of the estimator counts.
    """

    estimator: Estimator = "platt"
    goal: Inside = 0.8
    confidence: Inside = 0.95

    def __call__(self, progress: Progress) -> Verdict:
        estimate = ESTIMATORS[self.estimator](progress, 2 * self.confidence - 1)
        if estimate is None:
            return Verdict(False, "too little is known for an estimate of what remains")
        share = progress.found / max(progress.found + estimate.high, 1)
        sure = f"{self.confidence:.0%} sure by {estimate.method}"
        told = f"at least {share:.0%} of the relevant images are found ({sure})"
        return Verdict(share >= self.goal, told if share >= self.goal else f"{told}; the goal is {self.goal:.0%}")

    def works_with(self, criterion: str) -> bool:
        return self.estimator != "sample" or criterion == RANDOM


@component
class WithoutFind:
    """Stop after a number of answers in a row without a find.

    Answers to random questions do not count, they search for nothing; nor do images that a person chose.

    Args:
        answers: how many; unsure counts as one.
    """

    answers: Count = 50

    def __call__(self, progress: Progress) -> Verdict:
        told = [turn.answer for turn in progress.turns if turn.criterion not in (RANDOM, BY_HAND)]
        finds = torch.cat([torch.zeros(0), *told]) == 1
        row = len(finds) - 1 - int(finds.nonzero().max()) if finds.any() else len(finds)
        enough = row >= self.answers
        return Verdict(enough, f"{row} answers in a row without a find" + ("" if enough else f", of {self.answers}"))

    def works_with(self, criterion: str) -> bool:
        return criterion != RANDOM


@component
class AnyOf:
    """Stop when one of two rules says so.

    Args:
        first: a rule.
        then: another.
    """

    first: Rule
    then: Rule

    def __call__(self, progress: Progress) -> Verdict:
        verdicts = self.first(progress), self.then(progress)
        stopping = [one for one in verdicts if one.stop]
        return stopping[0] if stopping else Verdict(False, "; ".join(one.why for one in verdicts))

    def works_with(self, criterion: str) -> bool:
        return self.first.works_with(criterion) or self.then.works_with(criterion)


@component
class AllOf:
    """Stop when both of two rules say so.

    Args:
        first: a rule.
        then: another.
    """

    first: Rule
    then: Rule

    def __call__(self, progress: Progress) -> Verdict:
        verdicts = self.first(progress), self.then(progress)
        waiting = [one.why for one in verdicts if not one.stop]
        return Verdict(not waiting, "; ".join(waiting or [one.why for one in verdicts]))

    def works_with(self, criterion: str) -> bool:
        return self.first.works_with(criterion) and self.then.works_with(criterion)


def criterion_name(criterion: Criterion) -> str:
    """Name of a criterion's class, as its config file is called.

    Example:
        >>> from seekloop.criteria.scores import Random
        >>> criterion_name(Random())
        'random'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(criterion).__name__).lower()


def progress_of(loop: Loop, state: State, position: int, turns: Sequence[Turn]) -> Progress:
    """Progress of one search of a loop.

    Args:
        loop: of the search.
        state: of all searches, scored.
        position: of the search.
        turns: its answers so far.
    """
    return Progress(
        turns,
        state.ranked()[position].cpu(),
        state.answers[position],
        state.candidate[position],
        lambda: captures(loop, state, position),
    )


def turn_of(round_: Round, position: int, criterion: str) -> Turn:
    """The answers that one search got in a round, in the order asked."""
    told = {one.image: ANSWER_CODE[one.answer] for one in round_.feedback[position]}
    asked = round_.question.image[position]
    answer = torch.tensor([told[image] for image in asked.tolist()], dtype=torch.long)
    return Turn(criterion, asked, answer, round_.question.score[position].cpu())


ENOUGH = Recall("sample")
"""Rule of the hint to stop: a random sample's intervals alone held in every setting of `experiments/stopping`."""
CHECK = WithoutFind(20)
"""Rule of the hint to check the rest: after such a row there was 86 % found in one collection, 36 % in another."""


def shown(progress: Progress) -> Estimate | None:
    """Estimate what remains as a page may show it: by the check of the rest; None before one."""
    return by_sample(progress)


def hint(progress: Progress) -> Verdict:
    """Say to a person how much a check promises, or when to make one; `why` is empty where there is nothing to say."""
    if shown(progress) is not None:
        return ENOUGH(progress)
    row = CHECK(progress)
    return Verdict(False, f"{row.why}: a check of the rest would tell what remains" if row.stop else "")
