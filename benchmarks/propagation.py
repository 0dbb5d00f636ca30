"""Label propagation: conjugate gradient for all classes at once, against what scipy and scikit-learn offer.

    python -m benchmarks.propagation [--images 50000] [--dim 128] [--neighbours 50] [--spread-images 5000]

Features are clouds around one random direction per class, wide enough that neighbours are not all of one class. On the
same graph, ours is held against scipy's `cg` called class by class with the same iterations and tolerance; both start
from 0. At a smaller size, graph included, it is held against scikit-learn's LabelSpreading with its graph of nearest
neighbours and with its full kernel.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import cg
from sklearn.exceptions import ConvergenceWarning
from sklearn.semi_supervised import LabelSpreading
from torch import Tensor
from torch.nn import functional as F

from benchmarks import facts
from benchmarks.searches import table_of
from seekloop.graphs.affinity import Affinity, affinity
from seekloop.graphs.neighbours import nearest
from seekloop.graphs.propagation import Solver, certainty, seeds

ALPHA, ITERATIONS, TOLERANCE = 0.99, 20, 1e-6
Made = TypeVar("Made")


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--images", type=int, default=50_000)
    found.add_argument("--dim", type=int, default=128)
    found.add_argument("--neighbours", type=int, default=50)
    found.add_argument("--classes", type=int, default=10)
    found.add_argument("--labels", type=int, default=10, help="per class")
    found.add_argument("--kind", choices=["reciprocal", "sum"], default="reciprocal")
    found.add_argument("--spread-images", type=int, default=5_000, help="for LabelSpreading, whose kernel is n x n")
    found.add_argument("--device", default="cpu", help="where ours is computed")
    return found


def clouds(
    images: int, dim: int, classes: int, spread: float
) -> tuple[Float[Tensor, "{images} {dim}"], Int[Tensor, " {images}"]]:
    """Features of unit length and their classes."""
    rng = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(classes, dim, generator=rng), dim=1)
    label = torch.arange(images) % classes
    return F.normalize(centres[label] + spread / dim**0.5 * torch.randn(images, dim, generator=rng), dim=1), label


def few(label: Int[Tensor, " n"], classes: int, each: int) -> Int[Tensor, " n"]:
    """The first labels of every class; -1 elsewhere. Classes follow each other in turn."""
    known = torch.full_like(label, -1)
    known[: classes * each] = label[: classes * each]
    return known


def timed(work: Callable[[], Made]) -> tuple[Made, float]:
    """What it returns, and seconds."""
    started = time.perf_counter()
    made = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return made, time.perf_counter() - started


def class_by_class(graph: Affinity, y: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Conjugate gradient by scipy, one class after the other."""
    system = sparse.eye_array(graph.shape[0], format="csr") - ALPHA * graph
    columns = [cg(system, column, rtol=TOLERANCE, atol=0.0, maxiter=ITERATIONS)[0] for column in y.numpy().T]
    return torch.from_numpy(np.stack(columns, axis=1))


def share(found: Int[Tensor, " n"], label: Int[Tensor, " n"]) -> float:
    """Of images with the right label."""
    return float((found.cpu() == label).double().mean())


def at_full_size(asked: argparse.Namespace) -> dict[str, Any]:
    """Ours and scipy's, on one graph."""
    features, label = clouds(asked.images, asked.dim, asked.classes, 3.0)
    features = features.to(asked.device)
    _, search = timed(lambda: nearest(features, asked.neighbours))
    graph, build = timed(lambda: affinity(features, asked.neighbours, asked.kind, 3, True))
    y = seeds(few(label, asked.classes, asked.labels), asked.classes, True)
    placed = y.to(asked.device)
    Solver(ALPHA, 2, TOLERANCE).solve(graph, placed)  # compiles what is to be compiled
    ours, seconds = timed(lambda: Solver(ALPHA, ITERATIONS, TOLERANCE).solve(graph, placed).cpu())
    theirs, scipy_seconds = timed(lambda: class_by_class(graph, y))
    mine, others = certainty(ours)[0], certainty(theirs)[0]
    return {
        "neighbours_seconds": search,
        "graph_seconds": build,  # neighbours included
        "edges": int(graph.nnz),
        "ours_seconds": seconds,
        "scipy_seconds": scipy_seconds,
        "speedup": scipy_seconds / seconds,
        "largest_difference": float((ours - theirs).abs().max() / theirs.abs().max()),
        "same_labels": share(mine, others),
        "accuracy": share(mine, label),
    }


def spreading(asked: argparse.Namespace, kernel: str, features: Tensor, known: Tensor) -> tuple[Tensor, float]:
    """LabelSpreading's labels and seconds, graph included."""
    model = LabelSpreading(kernel=kernel, n_neighbors=asked.neighbours, alpha=ALPHA, max_iter=1000, n_jobs=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # images without a path to a label are divided by nothing
        fitted, seconds = timed(lambda: model.fit(features.numpy(), known.numpy()))
    return torch.from_numpy(fitted.transduction_), seconds


def at_spreading_size(asked: argparse.Namespace) -> dict[str, Any]:
    """Ours and scikit-learn's, from features to labels."""
    features, label = clouds(asked.spread_images, asked.dim, asked.classes, 3.0)
    known = few(label, asked.classes, asked.labels)
    placed, solver = features.to(asked.device), Solver(ALPHA, ITERATIONS, TOLERANCE)

    def ours() -> Tensor:
        graph = affinity(placed, asked.neighbours, asked.kind, 3, True)
        return certainty(solver.solve(graph, seeds(known.to(asked.device), asked.classes, True)))[0]

    ours()
    mine, seconds = timed(ours)
    found: dict[str, Any] = {"ours_seconds": seconds, "ours_accuracy": share(mine, label)}
    for kernel in ("knn", "rbf"):
        theirs, spread_seconds = spreading(asked, kernel, features, known)
        found[f"{kernel}_seconds"], found[f"{kernel}_accuracy"] = spread_seconds, share(theirs, label)
    return found


def main() -> None:
    asked = parser().parse_args()
    names = ("images", "dim", "neighbours", "classes", "labels", "kind", "spread_images", "device")
    settings = {name: getattr(asked, name) for name in names}
    settings |= {"alpha": ALPHA, "iterations": ITERATIONS, "tolerance": TOLERANCE, "threads": torch.get_num_threads()}
    figures = {"full": at_full_size(asked), "spreading": at_spreading_size(asked)}
    facts.write(asked.results, "propagation", settings, figures)
    full, small = figures["full"], figures["spreading"]
    lines = [
        (asked.images, "one for all classes (ours)", full["ours_seconds"], full["accuracy"]),
        (asked.images, "scipy's cg, class by class", full["scipy_seconds"], full["accuracy"]),
        (asked.spread_images, "graph and all (ours)", small["ours_seconds"], small["ours_accuracy"]),
        (asked.spread_images, "LabelSpreading, knn", small["knn_seconds"], small["knn_accuracy"]),
        (asked.spread_images, "LabelSpreading, rbf", small["rbf_seconds"], small["rbf_accuracy"]),
    ]
    print(table_of(lines, ["images", "how", "seconds", "accuracy"]))


if __name__ == "__main__":
    main()
