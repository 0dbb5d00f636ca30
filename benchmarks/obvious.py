"""The obvious alternative: one search after the other, scikit-learn's LinearSVC and one product per round.

Nothing in it is slow on purpose: descriptors lie ready, and what does not depend on the round is computed once. The
product is timed twice: as scikit-learn's `decision_function` makes it, which is what people write and which converts
the descriptors to float64 every time; and as one float32 `X @ w` of numpy's BLAS with all cores, the leanest there is.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from benchmarks.searches import Stopwatch
from seekloop.contracts.protocols import User
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Answer, Feedback, Query, Regions
from seekloop.representations.representation import Representation
from seekloop.store.reader import Store
from seekloop.store.shards import local_name

AS_IT_COMES = "decision_function"
BLOCK = 512  # images read at a time while descriptors are loaded


class Table(Protocol):
    """Vectors of all regions of all images."""

    images: int

    def rows(self, image: int, region: np.ndarray) -> np.ndarray:
        """Vectors of some regions of an image, (k, e), float32."""
        ...

    def scores(self, weights: np.ndarray, intercept: float) -> np.ndarray:
        """Highest decision value among each image's regions, (n,)."""
        ...


class InMemory:
    """All vectors in memory as one float32 array, fused already where the representation fuses: (n, m, e)."""

    def __init__(self, store: Store, representation: Representation) -> None:
        self.images = store.images
        parts = []
        for images in torch.split(torch.arange(store.images), BLOCK):
            block = store.read(images, local=True)
            if block.local is None:
                raise ValueError("the store gave no local descriptors")
            whole = block.global_.repeat_interleave(len(store.regions.boxes), dim=0)
            parts.append(representation.fusion.fuse(whole, block.local).numpy())
        self.table = np.concatenate(parts).reshape(store.images, len(store.regions.boxes), -1)

    def rows(self, image: int, region: np.ndarray) -> np.ndarray:
        return self.table[image, region]

    def scores(self, weights: np.ndarray, intercept: float) -> np.ndarray:
        flat = self.table.reshape(-1, self.table.shape[-1]) @ weights + np.float32(intercept)
        best: np.ndarray = flat.reshape(self.table.shape[:2]).max(axis=1)
        return best

    def decide(self, svm: LinearSVC) -> np.ndarray:
        """The same scores by scikit-learn."""
        flat = svm.decision_function(self.table.reshape(-1, self.table.shape[-1]))
        best: np.ndarray = flat.reshape(self.table.shape[:2]).max(axis=1)
        return best


class Mapped:
    """The store's float16 files, mapped, converted whenever they are read; their norms are known beforehand."""

    def __init__(self, folder: Path, images: int, shards: int, shard: int) -> None:
        self.images, self.shard = images, shard
        self.files = [np.load(folder / local_name(number), mmap_mode="r") for number in range(shards)]
        self.norms = [np.linalg.norm(file.astype(np.float32), axis=2) for file in self.files]

    def rows(self, image: int, region: np.ndarray) -> np.ndarray:
        number, place = divmod(image, self.shard)
        return self.files[number][place, region].astype(np.float32) / self.norms[number][place, region][:, None]

    def scores(self, weights: np.ndarray, intercept: float) -> np.ndarray:
        parts = []
        for file, norms in zip(self.files, self.norms, strict=True):
            found = file.astype(np.float32).reshape(-1, file.shape[-1]) @ weights
            parts.append((found.reshape(norms.shape) / norms + np.float32(intercept)).max(axis=1))
        return np.concatenate(parts)


@dataclass
class ObviousSearch:
    """One search over a table, all of its state in lists and arrays."""

    table: Table
    regions: Regions
    representation: Representation
    query: Query
    stopwatch: Stopwatch
    rows: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    known: list[int] = field(default_factory=list)

    def start(self) -> None:
        """The query's image and negatives."""
        self.learn(Feedback(self.query.first.image, Answer.RELEVANT, self.query.first.box, 0.0))
        for image in self.query.negatives:
            self.learn(Feedback(image, Answer.IRRELEVANT, None, 0.0))

    def learn(self, feedback: Feedback) -> None:
        """Rows and labels of one answered image."""
        rng = generator(0, "rows", self.query.class_name, self.query.number, feedback.image)
        choice = self.representation.rows(feedback, self.regions.of(feedback.image), None, rng)
        self.rows.append(self.table.rows(feedback.image, choice.region.numpy()))
        self.labels.append(choice.label.numpy())
        self.known.append(feedback.image)

    def score(self) -> np.ndarray:
        """Fit from scratch, one product."""
        with self.stopwatch.part("fit"):
            svm = fitted(np.concatenate(self.rows), np.concatenate(self.labels))
        if isinstance(self.table, InMemory):
            with self.stopwatch.part(AS_IT_COMES):
                self.table.decide(svm)
        with self.stopwatch.part("score"):
            return self.table.scores(svm.coef_[0].astype(np.float32), float(svm.intercept_[0]))

    def ask(self, scores: np.ndarray, budget: int) -> list[int]:
        """The candidates nearest to the boundary."""
        with self.stopwatch.part("select"):
            distance = np.abs(scores)
            distance[self.known] = np.inf
            picks: list[int] = np.argsort(distance, kind="stable")[:budget].tolist()
            return picks


def fitted(rows: np.ndarray, labels: np.ndarray) -> LinearSVC:
    """LinearSVC as it comes, C = 1; it warns where its 1,000 passes do not suffice, and is taken as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LinearSVC(C=1.0).fit(rows, labels)


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The finite sum, by sorting."""
    hits = relevant[np.argsort(-scores, kind="stable")]
    return float((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].mean())


def play_obvious(
    search: ObviousSearch, user: User, relevant: np.ndarray, rounds: int, budget: int
) -> tuple[list[float], list[list[int]]]:
    """All rounds of one search: its curve of average precision, and what it asked."""
    search.start()
    curve: list[float] = []
    asked: list[list[int]] = []
    for number in range(rounds + 1):
        scores = search.score()
        with search.stopwatch.part("metrics"):
            curve.append(average_precision(scores, relevant))
        if number < rounds:
            picks = search.ask(scores, budget)
            asked.append(picks)
            with search.stopwatch.part("learn"):
                for image in picks:
                    search.learn(user.answer(search.query, image, number + 1))
    return curve, asked


def spread(count: int, among: int) -> Sequence[int]:
    """So many positions, evenly spread."""
    return [position * among // count for position in range(min(count, among))]
