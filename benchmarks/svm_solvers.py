"""A query's growing problems, round after round: warm-started coordinate descent against LinearSVC, in one thread.

Run: OMP_NUM_THREADS=1 python benchmarks/svm_solvers.py [dim] [rows per round]
"""

import sys
import time

import torch
from torch.nn import functional as F

from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.classifiers.svm_sklearn import SvmSklearn
from seekloop.contracts.protocols import Classifier
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer

ROUNDS = 26
REPEATS = 3


def first_rows(whole: TrainingRows, size: int) -> TrainingRows:
    """The rows of an earlier round."""
    return TrainingRows.padded(
        whole.rows[:, :size], whole.labels[:, :size], whole.weights[:, :size], whole.mask[:, :size], whole.query
    )


def growing_problem(size: int, dim: int) -> TrainingRows:
    """Unit rows with a shared mean and a class direction, three in ten positive."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.where(torch.rand(size, generator=rng) < 0.3, 1.0, -1.0)
    labels[0], labels[1:6] = 1.0, -1.0
    mean, direction = torch.randn(2, dim, generator=rng)
    rows = F.normalize(mean + 0.15 * labels[:, None] * direction + torch.randn(size, dim, generator=rng), dim=1)
    every = torch.ones(1, size)
    return TrainingRows.padded(rows[None], labels[None], every, every.bool(), rows[:1])


def search(classifier: Classifier, whole: TrainingRows, sizes: list[int]) -> tuple[float, list[LinearScorer]]:
    """Fit every round, each from the one before; seconds and what was fitted."""
    fitted: list[LinearScorer] = []
    started = time.perf_counter()
    for size in sizes:
        fitted.append(classifier.fit(first_rows(whole, size), fitted[-1] if fitted else None))
    return time.perf_counter() - started, fitted


def main() -> None:
    dim = int(sys.argv[1]) if len(sys.argv) > 1 else 768
    step = int(sys.argv[2]) if len(sys.argv) > 2 else 160
    sizes = [max(6, step * number) for number in range(ROUNDS)]
    whole = growing_problem(sizes[-1], dim)
    numba, liblinear = SvmNumba(1.0, "none", 1e-4, 10_000, 1), SvmSklearn(1.0, "none", 1e-4, 1_000_000)
    numba.fit(first_rows(whole, 6), None)  # compile
    fast, slow = (
        min((search(c, whole, sizes) for _ in range(REPEATS)), key=lambda run: run[0]) for c in (numba, liblinear)
    )
    exact = search(SvmSklearn(1.0, "none", 1e-7, 1_000_000), whole, sizes)[1]
    for name, (seconds, fitted) in (("svm_numba", fast), ("svm_sklearn", slow)):
        pairs = [(f.scores(whole.rows[0]), e.scores(whole.rows[0])) for f, e in zip(fitted, exact, strict=True)]
        worst = max(float((found - wanted).abs().max() / wanted.abs().max()) for found, wanted in pairs)
        print(f"{name:12} {seconds:7.3f} s for {ROUNDS} rounds up to {sizes[-1]} x {dim}; off by {worst:.1e} relative")
    print(f"ratio {slow[0] / fast[0]:.1f}")


if __name__ == "__main__":
    main()
