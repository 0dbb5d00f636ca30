"""All searches of an experiment in lockstep, against one search after the other with scikit-learn.

    python -m benchmarks.lockstep [--size voc|coco|tiny] [--representation lo_all] [--engine cpu|gpu] [overrides]

The first side is `seekloop retrieve` without its files and figures: the store is opened, every round fitted, scored,
measured and asked. The second is the obvious loop (benchmarks/obvious.py), run as it is on a few of the same searches
over all rounds and multiplied by their number. It lets LinearSVC start afresh each round and keeps all regions in
memory as float32. Each side is a process of its own, so that peaks of memory are not mixed. Further words are overrides
of `seekloop retrieve`, such as classifier=svm_torch.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import facts
from benchmarks.ceilings import ceilings
from benchmarks.searches import Played, Stopwatch, composed, curve, drawn, play, rounded, simulated, table_of
from benchmarks.synthetic import World, annotations, make_store, open_world, stored_bytes
from seekloop.commands.compose import build_loop
from seekloop.metrics.curves import area_under_curve
from seekloop.protocol.summary import summarise

AIM = 100.0
SIZES = {
    "voc": (World(11_540, "4x4", 768, 20), 10),
    "coco": (World(118_000, "4x4", 768, 80), 10),
    "tiny": (World(600, "4x4", 64, 4), 3),
}
REPRESENTATIONS = ("lo_all", "gl_concat_all", "gl_pool_all")


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--size", choices=SIZES, default="voc", help="images, regions, dimensions, classes")
    found.add_argument("--representation", choices=REPRESENTATIONS, default="lo_all")
    found.add_argument("--rounds", type=int, default=25)
    found.add_argument("--reference-queries", type=int, default=2, help="searches of the obvious loop; 0: none")
    found.add_argument("--engine", choices=("cpu", "gpu"), default="cpu", help="of seekloop retrieve")
    found.add_argument("--side", choices=("lockstep", "obvious"), default=None, help="only this side, in this process")
    found.add_argument("overrides", nargs="*", help="of seekloop retrieve")
    return found


def lockstep_side(asked: argparse.Namespace) -> dict[str, Any]:
    world, queries = SIZES[asked.size]
    config = composed(asked.representation, asked.rounds, queries, [f"engine={asked.engine}", *asked.overrides])
    with facts.own_memory() as memory:
        played = play(config, world, asked.stores)
    peak = facts.peak_gib()
    compared = spread_positions(asked, len(played.queries))
    summary = summarise(played.rounds)
    return {
        "seconds": played.total,
        "parts": played.stopwatch.seconds,
        "fit_first_round": played.stopwatch.laps["fit"][0],  # numba's compiled code is loaded, or compiled, in it
        "queries": len(played.queries),
        "map_auc": summary["map_auc"],
        "coverage_auc": summary["coverage_auc"],
        "peak_gib": peak,
        **memory,
        **gpu_memory(),
        "work": work(world, asked, played),
        "ceilings": ceilings("cpu" if asked.engine == "cpu" else "cuda"),
        "curves": [curve(played.rounds, played.queries[position]) for position in compared],
        "asked": [played.asked[position].tolist() for position in compared],
    }


def gpu_memory() -> dict[str, float]:
    """Peak of the GPU's memory, where one was used."""
    return {"gpu_gib": torch.cuda.max_memory_allocated() / facts.GIB} if torch.cuda.is_available() else {}


def work(world: World, asked: argparse.Namespace, played: Played) -> dict[str, float]:
    """What scoring cannot do without: operations of the products, and the store's bytes once a round."""
    fused = asked.representation != "lo_all"
    rows = world.images * (world.regions + fused)
    rounds = asked.rounds + 1
    seconds = played.stopwatch.seconds["score"]
    operations = 2.0 * len(played.queries) * rows * world.dim * rounds
    read = 2.0 * rows * world.dim * rounds
    return {
        "score_tflop": operations / 1e12,
        "score_gb": read / 1e9,
        "score_gflops": operations / seconds / 1e9,
        "score_gbs": read / seconds / 1e9,
    }


def spread_positions(asked: argparse.Namespace, queries: int) -> list[int]:
    """The searches that both sides play, evenly spread over the classes."""
    count = min(asked.reference_queries, queries)
    return [position * queries // count for position in range(count)]


def obvious_side(asked: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.obvious import InMemory, ObviousSearch, play_obvious

    world, queries = SIZES[asked.size]
    config = composed(asked.representation, asked.rounds, queries, asked.overrides)
    known = annotations(world)
    store = open_world(world, asked.stores)
    loop = build_loop(config, store)
    user, searches = simulated(config, known, loop), drawn(config, known, world.images)
    relevance = known.relevance(world.images)
    started = time.perf_counter()
    table = InMemory(store, loop.representation)
    load = time.perf_counter() - started
    stopwatch = Stopwatch()
    curves, picks, seconds = [], [], []
    for position in spread_positions(asked, len(searches)):
        query = searches[position]
        search = ObviousSearch(table, store.regions, loop.representation, query, stopwatch)
        relevant = relevance[known.classes.index(query.class_name)].numpy()
        started = time.perf_counter()
        found = play_obvious(search, user, relevant, asked.rounds, config.loop.budget)
        seconds.append(time.perf_counter() - started)
        curves.append(found[0])
        picks.append(found[1])
    return {
        "load": load,
        "seconds": seconds,
        "parts": {name: value / len(seconds) for name, value in stopwatch.seconds.items()},
        "peak_gib": facts.peak_gib(),
        "curves": curves,
        "asked": picks,
    }


def same_picks(ours: list[list[list[int]]], theirs: list[list[list[int]]]) -> float:
    """Share of the questions of a round that both sides asked, averaged over rounds and searches."""
    pairs = [pair for a, b in zip(ours, theirs, strict=True) for pair in zip(a, b, strict=True)]
    return sum(len(set(a) & set(b)) / len(a) for a, b in pairs) / len(pairs)


def areas(curves: list[list[float]]) -> list[float]:
    found: list[float] = area_under_curve(torch.tensor(curves)).tolist()
    return found


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """What the obvious loop took, what it would take for all searches, and whether both found the same."""
    parts = theirs["parts"]
    each = sum(theirs["seconds"]) / len(theirs["seconds"])
    lean = theirs["load"] + (each - parts["decision_function"]) * ours["queries"]
    as_it_comes = theirs["load"] + (each - parts["score"]) * ours["queries"]
    return {
        "obvious_seconds": as_it_comes,
        "lean_seconds": lean,
        "lean_ratio": lean / ours["seconds"],
        "obvious_load": theirs["load"],
        "obvious_per_query": theirs["seconds"],
        "obvious_parts_per_query": rounded(theirs["parts"]),
        "obvious_peak_gib": theirs["peak_gib"],
        "ratio": as_it_comes / ours["seconds"],
        "aim": AIM,
        "map_auc_same_queries": areas(ours["curves"]),
        "map_auc_same_queries_obvious": areas(theirs["curves"]),
        "same_picks": same_picks(ours["asked"], theirs["asked"]),
    }


def shares(work_done: dict[str, float], most: dict[str, float]) -> dict[str, float]:
    """Scoring's speed as a share of what the device can do."""
    return {
        "of_float32_product": work_done["score_gflops"] / most["float32_gflops"],
        "of_copy": work_done["score_gbs"] / most["copy_gbs"],
    }


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Both sides, each in its own process."""
    common = ["--size", asked.size, "--representation", asked.representation, "--rounds", asked.rounds]
    common += ["--reference-queries", asked.reference_queries, "--stores", asked.stores]
    common += ["--engine", asked.engine]
    ours = facts.child("benchmarks.lockstep", *common, "--side", "lockstep", *asked.overrides)
    figures = {key: value for key, value in ours.items() if key not in ("curves", "asked")}
    figures["shares"] = shares(ours["work"], ours["ceilings"])
    if asked.reference_queries:
        theirs = facts.child("benchmarks.lockstep", *common, "--side", "obvious", *asked.overrides)
        figures |= compare(ours, theirs)
    return figures


def report(figures: dict[str, Any]) -> str:
    """The figures for people."""
    each = figures.get("obvious_parts_per_query", {})
    lines = [
        (name, seconds, each[name] * figures["queries"] if name in each else "")
        for name, seconds in figures["parts"].items()
    ]
    lines += [(name, "", value * figures["queries"]) for name, value in each.items() if name not in figures["parts"]]
    lines.append(("all", figures["seconds"], figures.get("obvious_seconds", "")))
    lines.append(("all, one float32 product in place of decision_function", "", figures.get("lean_seconds", "")))
    lines.append(("peak GiB", figures["peak_gib"], figures.get("obvious_peak_gib", "")))
    ratio = ""
    if "ratio" in figures:
        ratio = f"\n\n{figures['ratio']:.1f} times faster, aim {AIM:.0f}; than the lean one {figures['lean_ratio']:.1f}"
    return table_of(lines, ["seconds", "lockstep", "one by one (scaled)"]) + ratio


def main() -> None:
    asked = parser().parse_args()
    if asked.side:
        print(json.dumps({"lockstep": lockstep_side, "obvious": obvious_side}[asked.side](asked)))
        return
    if asked.engine == "gpu" and not torch.cuda.is_available():
        print(f"lockstep {asked.size} on a GPU skipped: torch sees none")
        return
    world, queries = SIZES[asked.size]
    try:
        folder = make_store(world, asked.stores)
    except facts.TooLargeError as error:
        print(f"lockstep {asked.size} skipped: {error}")
        return
    figures = measure(asked)
    settings = {**vars(world), "m": world.regions, "size": asked.size, "representation": asked.representation}
    settings |= {"queries_per_class": queries, "rounds": asked.rounds, "engine": asked.engine}
    settings |= {"overrides": asked.overrides}
    figures["store_bytes"] = stored_bytes(Path(folder))
    facts.write(asked.results, "lockstep", settings, figures)
    print(report(figures))


if __name__ == "__main__":
    main()
