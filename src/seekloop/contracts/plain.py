"""Criteria and classifiers on plain arrays, one query at a time: nothing but scores, descriptors and labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.protocols import Classifier, Criterion, Scorer
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import CandidateView, TrainingRows
from seekloop.contracts.scorers import LinearScorer

Array = Any  # anything that NumPy or torch makes an array of


def view_of(
    scores: Array = None,
    *,
    candidates: Array = None,
    answers: Array = None,
    descriptors: Array = None,
    probabilities: Array = None,
    round: int = 0,
) -> CandidateView:
    """A criterion's view of one search.

    Args:
        scores: decision value of each image; None: 0, for criteria that look at other things.
        candidates: True for each image that may be asked about; None: those without an answer.
        answers: +1, -1 or 0 for each image; None: 0.
        descriptors: global descriptor of each image.
        probabilities: of every class, for each image.
        round: number of the round.

    Raises:
        ValueError: if nothing tells how many images there are.
    """
    given = next((one for one in (scores, descriptors, probabilities, candidates) if one is not None), None)
    if given is None:
        raise ValueError("give scores, descriptors, probabilities or candidates: one entry per image")
    images = len(given)
    values = torch.zeros(images) if scores is None else torch.as_tensor(scores)
    known = torch.zeros(images, dtype=torch.long) if answers is None else torch.as_tensor(answers)
    free = known == 0 if candidates is None else torch.as_tensor(candidates, dtype=torch.bool)
    shares = None if probabilities is None else torch.as_tensor(probabilities)[None]

    def read() -> Tensor:
        if descriptors is None:
            raise ValueError("this criterion looks at descriptors: give some")
        return torch.as_tensor(descriptors)

    return CandidateView(values[None], free[None], known[None], read, round, shares)


def choose(criterion: Criterion, budget: int, scores: Array = None, *, seed: int = 0, **images: Array) -> list[int]:
    """Positions that a criterion chooses, in the order to ask.

    Args:
        criterion: any.
        budget: how many images.
        scores: as for `view_of`.
        seed: of what it draws.
        images: further arguments of `view_of`.

    Example:
        >>> from seekloop.criteria.scores import Uncertainty
        >>> choose(Uncertainty(), 2, [0.9, -0.1, 0.3])
        [1, 2]
    """
    view = view_of(scores, **images)
    return criterion(view, budget, [generator(seed, "criterion", view.round)])[0].tolist()


def fit(
    classifier: Classifier, x: Array, y: Array, weights: Array = None
) -> Callable[[Array], np.ndarray[Any, np.dtype[np.floating[Any]]]]:
    """Decision function of a classifier that was fitted on plain arrays.

    Args:
        classifier: any that learns from labelled rows alone.
        x: rows, (r, d).
        y: +1 or -1 (or True and False) for each row.
        weights: of the rows; None: 1.
    """
    rows = torch.as_tensor(x, dtype=torch.float32)
    labels = torch.as_tensor(y, dtype=torch.float32)
    labels = torch.where(labels > 0, 1.0, -1.0)
    factors = torch.ones(len(rows)) if weights is None else torch.as_tensor(weights, dtype=torch.float32)
    real = torch.ones(1, len(rows), dtype=torch.bool)
    scorer = classifier.fit(TrainingRows.padded(rows[None], labels[None], factors[None], real, rows[:1]), None)
    return lambda descriptors: scorer.scores(torch.as_tensor(descriptors, dtype=torch.float32))[0].numpy()


@dataclass(frozen=True)
class PerQuery:
    """A criterion from a function of one query's arrays; a decorator, too.

    Args:
        function: of (scores, candidates, descriptors, budget, rng): scores (n,), candidates (n,) of truth values, a
            function that reads the global descriptors (n, d), how many, and a generator to draw from. Returns `budget`
            distinct positions of candidates, in the order to ask.
    """

    function: Callable[..., Sequence[int] | Tensor]

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q b"]:
        """The next images to ask about."""
        rows = zip(view.scores, view.candidate, rngs, strict=True)
        chosen = [self.function(s, c, lambda: view.descriptors, budget, rng) for s, c, rng in rows]
        return torch.stack([torch.as_tensor(one, dtype=torch.long) for one in chosen])


@runtime_checkable
class Estimator(Protocol):
    """A classifier as scikit-learn has them."""

    def fit(self, x: Array, y: Array, **weights: Array) -> object:
        """Learn from rows with labels +1 and -1; `sample_weight` is given where it is not 1."""
        ...

    def decision_function(self, x: Array) -> Array:
        """Above 0 for the positive class."""
        ...


@dataclass(frozen=True)
class EstimatorScorer(Scorer):
    """Fitted estimators, one per query. It lives in memory: checkpoints cannot keep it."""

    fitted: tuple[Estimator, ...]

    def scores(self, descriptors: Float[Tensor, "r d"], image: Int[Tensor, " r"] | None = None) -> Float[Tensor, "q r"]:
        """Decision values, whatever the images."""
        x = descriptors.cpu().numpy()
        return torch.stack([torch.as_tensor(one.decision_function(x)).to(descriptors) for one in self.fitted])

    def select(self, queries: Int[Tensor, " k"]) -> "EstimatorScorer":
        """Estimators of these queries."""
        return EstimatorScorer(tuple(self.fitted[query] for query in queries.tolist()))

    def join(self, others: Sequence[Scorer]) -> "EstimatorScorer":
        """All queries in one."""
        parts = [one for one in (self, *others) if isinstance(one, EstimatorScorer)]
        return EstimatorScorer(tuple(one for part in parts for one in part.fitted))


@dataclass(frozen=True)
class PerEstimator:
    """A classifier from estimators of scikit-learn's kind, fitted anew for each query.

    Hyperplanes (`coef_`, `intercept_`) are taken over as such, so that a collection is scored by streamed products.

    Args:
        make: gives a fresh estimator, such as `partial(LinearSVC, C=1.0)`.
    """

    make: Callable[[], Estimator]

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> Scorer:
        """Fit every query on its own rows; weights other than 1 are handed on as `sample_weight`."""
        fitted = []
        for query, real in enumerate(rows.mask):
            x, y, w = (
                one.cpu().numpy() for one in (rows.of(query), rows.labels[query, real], rows.weights[query, real])
            )
            estimator = self.make()
            estimator.fit(x, y, **({} if (w == 1).all() else {"sample_weight": w}))
            fitted.append(estimator)
        if not all(hasattr(one, "coef_") for one in fitted):
            return EstimatorScorer(tuple(fitted))
        weights, intercept = (
            torch.stack([torch.as_tensor(getattr(one, name)).flatten() for one in fitted]).to(rows.table)
            for name in ("coef_", "intercept_")
        )
        return LinearScorer(weights, intercept[:, 0])
