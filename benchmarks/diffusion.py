"""Diffusion: conjugate gradient for all queries at once, against scipy's, and against a dense solution.

    python -m benchmarks.diffusion [--images 100000] [--dim 512] [--neighbours 50] [--dense-images 4000] [--index hnsw]

Images are clouds around one random direction per object, a hundred images each, wide enough that neighbours are not
all of one object; queries are further images of the first objects, outside the collection. On the same graph and from
the same starts, ours is held against scipy's `cg` called query by query with the same iterations and tolerance. At a
smaller size it is held against a dense solution. The graph is timed apart; so are a truncated query, and a column of
the offline solution. Precision: share of the query's object among the first 50 of the ranking.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import cg
from torch import Tensor

from benchmarks import facts
from benchmarks.propagation import clouds, timed
from benchmarks.searches import table_of
from seekloop.graphs.affinity import Affinity, joined, normalised
from seekloop.graphs.diffusion import Diffusion, column, diffused, start_from_neighbours
from seekloop.graphs.neighbours import lookup, others, recall

PER_OBJECT, FIRST = 100, 50
COLUMNS = 50  # of the offline solution, which are timed
KEPT = 1000  # vertices of a truncated query


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--images", type=int, default=100_000)
    found.add_argument("--dim", type=int, default=512)
    found.add_argument("--neighbours", type=int, default=50)
    found.add_argument("--queries", type=int, default=70)
    found.add_argument("--dense-images", type=int, default=4_000, help="for the dense solution, which is n x n")
    found.add_argument("--spread", type=float, default=2.5, help="of the clouds")
    found.add_argument("--index", choices=["flat", "ivf", "hnsw"], default="flat", help="how neighbours are found")
    return found


class World:
    """Images, their graph, and the starts of queries outside it."""

    def __init__(self, asked: argparse.Namespace, images: int) -> None:
        objects = max(1, images // PER_OBJECT)
        features, label = clouds(images + asked.queries, asked.dim, objects, asked.spread)
        self.features, self.label = features[:images], label[:images]
        self.machine = Diffusion(neighbours=asked.neighbours)
        self.neighbours_seconds, self.recall = 0.0, 1.0
        self.weights = self._weights(asked)
        self.graph: Affinity = normalised(self.weights)
        self.similarity = features[images:] @ self.features.T
        self.wanted = label[images:]
        numbers, machine = torch.arange(asked.queries), self.machine
        self.start = start_from_neighbours(
            self.similarity, numbers, asked.queries, machine.neighbours, machine.query_neighbours, machine.power
        )

    def _weights(self, asked: argparse.Namespace) -> Affinity:
        rows, started = self.features, time.perf_counter()
        similarity, position = others(lookup(rows, asked.index), rows, 0, len(rows), asked.neighbours)
        self.neighbours_seconds = time.perf_counter() - started
        sample = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:200]
        self.recall = recall(rows, position[sample], sample)
        return joined(similarity, position, "reciprocal", 3, True)

    def precision(self, scores: Float[Tensor, "n q"]) -> float:
        """Share of the right object among the first of each ranking."""
        first = scores.topk(min(FIRST, len(scores)), dim=0).indices
        return float((self.label[first] == self.wanted).double().mean())

    def one_by_one(self) -> Float[Tensor, "n q"]:
        """Conjugate gradient by scipy, one query after the other."""
        machine = self.machine
        system = sparse.csr_array(sparse.eye_array(self.graph.shape[0], format="csr") - machine.alpha * self.graph)
        how = {"rtol": machine.tolerance, "atol": 0.0, "maxiter": machine.iterations}
        columns = [cg(system, (1 - machine.alpha) * start, **how)[0] for start in self.start.numpy().T]
        return torch.from_numpy(np.stack(columns, axis=1))

    def ours(self) -> Float[Tensor, "n q"]:
        return self.machine.rank(self.graph, self.start)


def at_full_size(asked: argparse.Namespace) -> dict[str, Any]:
    """Ours and scipy's, on one graph."""
    world = World(asked, asked.images)
    machine = world.machine
    diffused(world.graph, world.start[:, :1].clone(), machine)  # compiles what is to be compiled
    began = time.process_time()
    ours, seconds = timed(world.ours)
    core_seconds = time.process_time() - began
    _, single = timed(lambda: machine.rank(world.graph, world.start[:, :1].contiguous()))
    began = time.process_time()
    theirs, scipy_seconds = timed(world.one_by_one)
    scipy_core_seconds = time.process_time() - began
    cut = Diffusion(neighbours=asked.neighbours, truncation=min(KEPT, asked.images))
    truncated, cut_seconds = timed(lambda: cut.rank(world.graph, world.start, world.similarity))
    some = torch.arange(min(COLUMNS, asked.images))
    lists = (world.features[some] @ world.features.T).topk(min(KEPT, asked.images), dim=1).indices
    _, column_seconds = timed(lambda: [column(world.graph, i, near, machine) for i, near in enumerate(lists)])
    return {
        "neighbours_seconds": world.neighbours_seconds,
        "recall": world.recall,
        "entries": int(world.graph.nnz),
        "ours_seconds": seconds,
        "one_query_seconds": single,
        "scipy_seconds": scipy_seconds,
        "ratio": scipy_seconds / seconds,
        "ours_core_seconds": core_seconds,
        "scipy_core_seconds": scipy_core_seconds,
        "largest_difference": float((ours - theirs).abs().max() / theirs.abs().max()),
        "truncated_seconds_per_query": cut_seconds / asked.queries,
        "offline_seconds_per_column": column_seconds / len(some),
        "precision": {
            "similarity": world.precision(world.similarity.T),
            "diffusion": world.precision(ours),
            "truncated": world.precision(truncated),
        },
    }


def at_dense_size(asked: argparse.Namespace) -> dict[str, Any]:
    """Ours and a dense solution."""
    world = World(asked, asked.dense_images)
    world.ours()
    ours, seconds = timed(world.ours)
    machine = world.machine
    system = torch.eye(asked.dense_images, dtype=torch.float64) - machine.alpha * torch.from_numpy(
        world.graph.toarray()
    )
    exact, dense_seconds = timed(lambda: torch.linalg.solve(system, (1 - machine.alpha) * world.start))
    _, scipy_seconds = timed(world.one_by_one)
    return {
        "ours_seconds": seconds,
        "scipy_seconds": scipy_seconds,
        "dense_seconds": dense_seconds,
        "dense_ratio": dense_seconds / seconds,
        "largest_difference": float((ours - exact).abs().max() / exact.abs().max()),
        "precision": {"diffusion": world.precision(ours), "dense": world.precision(exact)},
    }


def main() -> None:
    asked = parser().parse_args()
    names = ("images", "dim", "neighbours", "queries", "dense_images", "spread", "index")
    settings = {name: getattr(asked, name) for name in names} | {"threads": torch.get_num_threads()}
    figures = {"full": at_full_size(asked), "dense": at_dense_size(asked)}
    facts.write(asked.results, "diffusion", settings, figures)
    full, small = figures["full"], figures["dense"]
    lines = [
        (asked.images, "all queries at once (ours)", full["ours_seconds"], full["precision"]["diffusion"]),
        (asked.images, "scipy's cg, query by query", full["scipy_seconds"], full["precision"]["diffusion"]),
        (asked.images, "by similarity, no diffusion", 0.0, full["precision"]["similarity"]),
        (asked.dense_images, "all queries at once (ours)", small["ours_seconds"], small["precision"]["diffusion"]),
        (asked.dense_images, "scipy's cg, query by query", small["scipy_seconds"], small["precision"]["diffusion"]),
        (asked.dense_images, "dense", small["dense_seconds"], small["precision"]["dense"]),
    ]
    print(table_of(lines, ["images", "how", "seconds", "precision"]))


if __name__ == "__main__":
    main()
