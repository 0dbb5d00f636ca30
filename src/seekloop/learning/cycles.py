"""Deep active learning: train, measure, ask, again (thesis, Algorithm 1)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.learning import Dataset, Evaluation, PseudoLabels
from seekloop.contracts.protocols import Criterion
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import CandidateView
from seekloop.learning.splits import UNKNOWN, balanced, revealed

Row = dict[str, object]


@dataclass(frozen=True)
class Task:
    """Labels that a network learns from in one cycle. There is no truth in it beyond the answers.

    Attributes:
        cycle: number of the cycle.
        labels: the answers so far, -1 where nobody was asked.
        extra: labels that the criterion itself gave to images nobody was asked about; None without.
    """

    cycle: int
    labels: Int[Tensor, " n"]
    extra: PseudoLabels | None


@dataclass(frozen=True)
class Learnt:
    """Result of training.

    Attributes:
        train: the final network's view of the dataset.
        test: its probabilities on the test images.
        epochs: one row per epoch.
        pseudo: the pseudo-labels it was last trained with; None without.
    """

    train: Evaluation
    test: Float[Tensor, "n c"]
    epochs: list[Row]
    pseudo: PseudoLabels | None


@runtime_checkable
class Fit(Protocol):
    """Training of a fresh network, from scratch or from pre-trained weights."""

    def __call__(self, task: Task) -> Learnt:
        """Train on these labels."""
        ...


@runtime_checkable
class PseudoLabeller(Protocol):
    """A criterion with pseudo-labels of its own, such as CEAL."""

    def pseudo_labels(
        self, probabilities: Float[Tensor, "n c"], unlabelled: Bool[Tensor, " n"], cycle: int
    ) -> PseudoLabels:
        """Labels for those of the unlabelled images that it is certain of; -1, or weight 0, elsewhere."""
        ...


@dataclass(frozen=True)
class State:
    """State of the learning: enough to go on from.

    Attributes:
        cycle: the last finished one; -1 before the first.
        asked: positions asked about, in this order, those of the next cycle included.
        extra: the criterion's own labels for the next cycle, if it gives any.
    """

    cycle: int
    asked: Int[Tensor, " k"]
    extra: PseudoLabels | None

    def pack(self) -> dict[str, Any]:
        """Give tensors and numbers, without types of ours."""
        extra = None if self.extra is None else (self.extra.labels, self.extra.weights)
        return {"cycle": self.cycle, "asked": self.asked, "extra": extra}

    @staticmethod
    def unpack(packed: Mapping[str, Any]) -> "State":
        """Invert `pack`."""
        extra = packed["extra"]
        return State(packed["cycle"], packed["asked"], None if extra is None else PseudoLabels(*extra))


@dataclass(frozen=True)
class Cycle:
    """One cycle: labels, training, next questions.

    Attributes:
        number: from 0.
        labels: the answers it was trained on, -1 elsewhere.
        learnt: the network's views and how it got there.
        asked: positions to ask about after it, in order; none after the last one.
        view: what the criterion was shown; None after the last one.
    """

    number: int
    labels: Int[Tensor, " n"]
    learnt: Learnt
    asked: Int[Tensor, " b"]
    view: CandidateView | None


@dataclass(frozen=True)
class Learning:
    """Cycles of training and asking over one dataset.

    Attributes:
        dataset: its training labels are looked up only for images that were asked about.
        criterion: chooses the images.
        fit: trains.
        initial: labels at the start; None: all images have theirs.
        budget: labels per cycle from then on.
        seed: of everything drawn here, with `split`.
        split: number of the initial set.
        labeller: the criterion, where it gives pseudo-labels of its own; None: there are none.
        say: told how many images the labeller is certain of.
    """

    dataset: Dataset
    criterion: Criterion
    fit: Fit
    initial: int | None
    budget: int
    seed: int
    split: int
    labeller: PseudoLabeller | None = None
    say: Callable[[str], None] = print

    def start(self) -> State:
        """Draw a balanced initial set, which depends on seed and split alone, not on the criterion."""
        labels, rng = self.dataset.train.labels, generator(self.seed, self.split, "initial")
        if self.initial is None:
            return State(-1, torch.arange(len(labels)), None)
        return State(-1, balanced(labels, len(self.dataset.classes), self.initial, rng), None)

    def cycles(self, state: State, count: int) -> Iterator[tuple[Cycle, State]]:
        """Run the cycles that are missing to `count`; gives each with the state after it."""
        for number in range(state.cycle + 1, count):
            known = revealed(self.dataset.train.labels, state.asked)
            learnt = self.fit(Task(number, known, state.extra))
            asked, view, extra = state.asked[:0], None, None
            if number + 1 < count:
                view = view_of(learnt.train, known, number)
                rng = generator(self.seed, self.split, number, "criterion")
                asked = self.criterion(view, self.budget, [rng])[0].cpu()
                if self.labeller is not None:
                    unlabelled = view.candidate[0].clone()
                    unlabelled[asked] = False
                    extra = self.labeller.pseudo_labels(learnt.train.probabilities, unlabelled, number)
                    certain = int((extra.weights > 0).sum())
                    self.say(f"cycle {number}: {certain} images are certain enough to label themselves")
            state = State(number, torch.cat([state.asked, asked]), extra)
            yield Cycle(number, known, learnt, asked, view), state


def view_of(evaluation: Evaluation, known: Int[Tensor, " n"], cycle: int) -> CandidateView:
    """Show a criterion one query, whose scores are the margins between the two likeliest classes."""
    top = evaluation.probabilities.topk(2, dim=1).values
    answered = known != UNKNOWN
    return CandidateView(
        scores=(top[:, 0] - top[:, 1])[None],
        candidate=~answered[None],
        answers=answered[None].to(torch.int8),
        read_descriptors=lambda: evaluation.features,
        round=cycle,
        probabilities=evaluation.probabilities[None],
    )
