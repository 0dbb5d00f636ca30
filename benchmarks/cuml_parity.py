"""cuML's LinearSVC against scikit-learn's on random problems of the loop's sizes: decision values and seconds.

Run: python benchmarks/cuml_parity.py   (needs an NVIDIA GPU and pip install 'seekloop[cuml]'; exits with 2 without)
"""

import sys
import time
from datetime import date

import torch
from torch.nn import functional as F

from seekloop.classifiers.svm_cuml import SvmCuml
from seekloop.classifiers.svm_sklearn import SvmSklearn
from seekloop.contracts.errors import MissingExtraError, require
from seekloop.contracts.records import TrainingRows

SIZES = [(6, 384), (256, 768), (256, 1536), (1000, 2048), (4096, 384), (4096, 768), (4096, 1536)]
TOLERANCE = 1e-3  # of the largest decision value


def random_problem(size: int, dim: int, positives: float) -> TrainingRows:
    """Unit rows with a shared mean, a class direction and some rows twice."""
    rng = torch.Generator().manual_seed(size * dim)
    labels = torch.where(torch.rand(size, generator=rng) < positives, 1.0, -1.0)
    labels[0], labels[1:6] = 1.0, -1.0
    mean, direction = torch.randn(2, dim, generator=rng)
    rows = F.normalize(mean + 0.2 * labels[:, None] * direction + torch.randn(size, dim, generator=rng), dim=1)
    rows[-size // 10 :] = rows[: len(rows[-size // 10 :])]
    labels[-size // 10 :] = labels[: len(labels[-size // 10 :])]
    every = torch.ones(1, size)
    return TrainingRows.padded(rows[None], labels[None], every, every.bool(), rows[:1])


def compare(size: int, dim: int, class_weight: str, positives: float, cuml: SvmCuml) -> float:
    """Print one line; the largest difference over the largest decision value."""
    rows = random_problem(size, dim, positives)
    reference = SvmSklearn(1.0, class_weight, 1e-8, 1_000_000).fit(rows, None).scores(rows.rows[0])
    started = time.perf_counter()
    found = cuml.fit(rows, None).scores(rows.rows[0])
    seconds = time.perf_counter() - started
    difference = float((found - reference).abs().max() / reference.abs().max())
    print(f"{size:>6} {dim:>6} {class_weight:>9} {positives:>10.2f} {difference:>12.1e} {seconds:>9.3f}")
    return difference


def main() -> int:
    if not torch.cuda.is_available():
        print("cuML needs an NVIDIA GPU, and torch sees none: nothing was compared.")
        return 2
    try:
        solvers = {word: SvmCuml(1.0, word, 1e-8, 10_000, 1e-2) for word in ("none", "balanced")}
    except MissingExtraError as missing:
        print(f"{missing}. Nothing was compared.")
        return 2
    version = require("cuml", "cuml").__version__
    print(f"cuML {version}, {torch.cuda.get_device_name()}, torch {torch.__version__}, {date.today()}")
    print(f"{'rows':>6} {'dim':>6} {'weights':>9} {'positives':>10} {'difference':>12} {'seconds':>9}")
    worst = max(
        compare(size, dim, word, positives, solver)
        for size, dim in SIZES
        for word, solver in solvers.items()
        for positives in (0.3, 0.0)
    )
    print(f"worst {worst:.1e}, allowed {TOLERANCE:.0e}: {'agree' if worst < TOLERANCE else 'DIFFER'}")
    return 0 if worst < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
