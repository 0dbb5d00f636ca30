"""The loop on a GPU: equality with the reference, and a person's round over descriptors that the GPU holds.

    python -m benchmarks.gpu equality
    python -m benchmarks.gpu round --images 118000 --dim 384

`--device cpu` tries it without a GPU. Descriptors of a round are drawn where they are searched: no store is written.
"""

import argparse
import time
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from benchmarks import facts
from benchmarks.ceilings import copied
from benchmarks.lockstep import SIZES, areas, same_picks
from benchmarks.round import CLASSES, PARTS, sat_through, spans
from benchmarks.searches import Stopwatch, composed, curve, drawn, play, settle, simulated, watch
from benchmarks.synthetic import World, annotations, directions, draw_cells
from seekloop.commands.compose import build_loop
from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.records import ArrayBlock, Block, Regions
from seekloop.metrics.average_precision import average_precision

COPIED = {"cpu": 512, "cuda": 4096}  # MiB


class Resident:
    """A world's descriptors on one device, of unit length. Implements `Descriptors`."""

    def __init__(self, world: World, device: str) -> None:
        self.images, self.dim = world.images, world.dim
        self.regions = Regions(grid_boxes([world.cells]), None)
        self.readable = torch.ones(world.images, dtype=torch.bool)
        self.global_ = torch.empty(world.images, world.dim, device=device)
        self.local = torch.empty(world.images, world.regions, world.dim, device=device)
        shared = directions(world, device)
        for number, start, stop in world.blocks():
            cells = draw_cells(world, shared, number, stop - start)
            self.global_[start:stop] = F.normalize(cells.mean(dim=1), dim=1)
            self.local[start:stop] = F.normalize(cells, dim=2)

    def read(self, images: Int[Tensor, " b"], local: bool) -> Block:
        """The descriptors of these images; of some that follow each other without a copy."""
        together = len(images) and bool((images.diff() == 1).all())
        rows = slice(int(images[0]), int(images[-1]) + 1) if together else images.to(self.global_.device)
        if not local:
            return ArrayBlock(images, self.global_[rows], None, None)
        offsets = torch.arange(len(images) + 1) * self.local.shape[1]
        return ArrayBlock(images, self.global_[rows], self.local[rows].flatten(0, 1), offsets)


def equality(asked: argparse.Namespace) -> dict[str, Any]:
    """The same searches by both engines: questions in common, largest difference of average precision, areas."""
    world, queries = SIZES["tiny"]
    engines = {
        "reference": ["engine=reference"],
        "float64": ["engine=gpu", "engine.precision=float64", "classifier.tol=1e-10"],
        "float32": ["engine=gpu"],
    }
    found, seconds = {}, {}
    for name, words in engines.items():
        place = [] if name == "reference" else [f"engine.device={asked.device}", f"classifier.device={asked.device}"]
        played = play(composed("lo_all", asked.rounds, queries, [*words, *place]), world, asked.stores)
        found[name] = [curve(played.rounds, query) for query in played.queries], played.asked.tolist()
        seconds[name] = played.total
    curves, asked_for = found.pop("reference")
    figures: dict[str, Any] = {"seconds": seconds}
    for name, (theirs, picks) in found.items():
        apart = [abs(a - b) for one, other in zip(curves, theirs, strict=True) for a, b in zip(one, other, strict=True)]
        mean, other = (sum(areas(one)) / len(one) for one in (curves, theirs))
        figures[name] = {"same_picks": same_picks(asked_for, picks), "ap": max(apart), "map_auc": other - mean}
    return figures


def a_round(asked: argparse.Namespace, world: World) -> dict[str, Any]:
    """Rounds of one person's session, and scoring's share of the bandwidth of copies, which read and write."""
    known = annotations(world)
    config = composed("lo_all", asked.rounds, 1, ["engine=gpu", f"engine.device={asked.device}"])
    started = time.perf_counter()
    descriptors = Resident(world, asked.device)
    settle()
    made = time.perf_counter() - started
    kind = torch.device(asked.device).type
    bandwidth = 2 * copied(COPIED[kind], asked.device, asked.device, False)
    stopwatch = Stopwatch()
    loop = watch(build_loop(config, descriptors), stopwatch)
    query = drawn(config, known, world.images)[0]
    first, session, _ = sat_through(loop, simulated(config, known, loop), query, asked.rounds, stopwatch)
    parts = {part: spans(stopwatch.laps[part]) for part in PARTS if part in stopwatch.laps}
    read = 4 * world.images * world.regions * world.dim / parts["score"]["median"] / 1e9
    relevant = known.relevance(world.images)[known.classes.index(query.class_name)]
    return {
        "draw": made,
        "first_page": first,
        "round": spans(stopwatch.laps["round"]),
        "parts": parts,
        "score_gbs": read,
        "bandwidth_gbs": bandwidth,
        "share": read / bandwidth,
        "ap": float(average_precision(session.scores.cpu()[None], relevant[None], None)[0]),
        "gpu_gib": torch.cuda.max_memory_allocated() / facts.GIB if kind == "cuda" else None,
    }


def main() -> None:
    parser = facts.options(__doc__)
    parser.add_argument("part", choices=("equality", "round"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--grid", default="4x4")
    parser.add_argument("--dim", type=int, default=384)
    asked = parser.parse_args()
    world = World(asked.images, asked.grid, asked.dim, CLASSES)
    about = {"part": asked.part, "device": asked.device, "rounds": asked.rounds}
    if asked.part == "equality":
        facts.write(asked.results, "gpu", about, equality(asked))
    else:
        facts.write(asked.results, "gpu", about | vars(world) | {"m": world.regions}, a_round(asked, world))


if __name__ == "__main__":
    main()
