"""How long a person waits for the next question: one search over stores of up to a million images.

    python -m benchmarks.round [--images 118000 1000000] [--grids 1x1 4x4] [--dims 384 768] [--index ivf]

A round is what happens between the last answer and the next page: the answers become rows, the classifier is fitted,
the store scored, the next ten images chosen, the top 100 sorted. Answers come from a simulated user, at no cost. The
store is a float16 memory map that was read once just before, so it lies in the page cache as far as it fits: figures
are warm. A size that does not fit disk or memory is left out, and said to be. The obvious alternative, on the same
files: float32 `X @ w` over the map, LinearSVC from scratch, argsort.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import facts
from benchmarks.searches import Stopwatch, composed, drawn, play, simulated, table_of, watch
from benchmarks.synthetic import World, annotations, described, make_store, stored_bytes
from seekloop.commands.compose import build_loop, loop_parts
from seekloop.contracts.protocols import User
from seekloop.contracts.records import Answer, Query
from seekloop.loop.engine import Loop
from seekloop.loop.session import Session
from seekloop.loop.shortlist import Shortlisted
from seekloop.metrics.average_precision import average_precision
from seekloop.store.reader import open_store
from seekloop.store.shards import expected_bytes

CLASSES = 20
TOP = 100
BUDGET = 10
NEGATIVES = 5
PARTS = ("learn", "fit", "score", "select", "top")
SPARE_GIB = 1.5  # what Python, torch and the answers' rows take
PIECE = 1 << 24


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--images", type=int, nargs="+", default=[118_000, 1_000_000])
    found.add_argument("--grids", nargs="+", default=["1x1", "4x4"])
    found.add_argument("--dims", type=int, nargs="+", default=[384, 768])
    found.add_argument("--rounds", type=int, default=25)
    found.add_argument("--reference-rounds", type=int, default=5, help="of the obvious alternative; 0: none")
    found.add_argument("--beyond-memory", action="store_true", help="measure what the page cache cannot hold, too")
    found.add_argument("--index", default=None, help="store.index: flat, ivf, pq, ivfpq or hnsw; not said: exact")
    found.add_argument("--side", choices=("seekloop", "obvious"), default=None, help="only this side, in this process")
    found.add_argument("--overrides", nargs="*", default=[], help="of seekloop retrieve")
    return found


def warm(folder: Path) -> None:
    """Read every file once."""
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            while file.read(PIECE):
                pass


def reply(user: User, query: Query, image: int) -> bool | list[float] | None:
    """What a person would press or draw."""
    feedback = user.answer(query, image, 0)
    if feedback.answer is Answer.UNSURE:
        return None
    return feedback.box.tolist() if feedback.box is not None else feedback.answer is Answer.RELEVANT


def spans(laps: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, in seconds."""
    return {"median": statistics.median(laps), "p95": float(np.percentile(laps, 95))}


def seekloop_side(asked: argparse.Namespace, world: World) -> dict[str, Any]:
    """A session of so many rounds; the first fit, before the first question, is told apart."""
    known = annotations(world)
    config = composed("lo_all" if world.regions > 1 else "go", asked.rounds, 1, asked.overrides)
    store = open_store(make_store(world, asked.stores), None)
    warm(store.folder)
    taken = stored_bytes(store.folder) - forget_indexes(store.folder)
    stopwatch = Stopwatch()
    started = time.perf_counter()
    loop = watch(build_loop(config, store), stopwatch)
    opened = time.perf_counter() - started
    query = drawn(config, known, world.images)[0]
    user = simulated(config, known, loop)
    first, session, searches = sat_through(loop, user, query, asked.rounds, stopwatch)
    relevant = known.relevance(world.images)[known.classes.index(query.class_name)]
    peak = facts.peak_gib()
    return {
        "open": opened,
        "first_page": first,
        "round": spans(stopwatch.laps["round"]),
        "parts": {part: spans(stopwatch.laps[part]) for part in PARTS if part in stopwatch.laps},
        "ap": float(average_precision(session.scores.cpu()[None], relevant[None], None)[0]),
        "peak_gib": peak,
        "store_bytes": taken,
        **through_index(searches, opened, stored_bytes(store.folder) - taken, lambda: against_exact(asked, world)),
    }


def sat_through(
    loop: Loop, user: User, query: Query, rounds: int, stopwatch: Stopwatch
) -> tuple[float, Session, list[Shortlisted | None]]:
    """Play a person's session, of which `stopwatch` keeps the rounds; seconds to the first page, and the session."""
    box = None if query.first.box is None else query.first.box.tolist()
    with stopwatch.part("first page"):
        session = Session.start(loop, query.first.image, box, negatives=NEGATIVES, budget=BUDGET)
        page(session)
    first = stopwatch.laps.pop("first page")[0]
    stopwatch.laps.clear()
    searches: list[Shortlisted | None] = []
    for _ in range(rounds):
        replies = {image: reply(user, query, image) for image in (item.image for item in session.ask())}
        with stopwatch.part("round"):
            session.answer(replies)
            session.ask()
            with stopwatch.part("top"):
                session.ranking(TOP)
        searches.append(session.shortlisted)
    return first, session, searches


def forget_indexes(folder: Path) -> int:
    """Delete a store's indexes, so that building one is measured; returns their bytes."""
    found = list(folder.glob("index-*"))
    taken = sum(path.stat().st_size for path in found)
    for path in found:
        path.unlink()
    return taken


def against_exact(asked: argparse.Namespace, world: World) -> dict[str, float]:
    """A simulated search of the same class, each round held against an exact scan: means over its rounds."""
    config = composed("lo_all", asked.rounds, 1, ["loop.classes=[class00]", *asked.overrides])
    rounds = play(config, world, asked.stores).rounds
    return {name: float(rounds[name].mean()) for name in ("pick_recall", "ap_change")}


def through_index(
    searches: Sequence[Shortlisted | None], opened: float, taken: int, compare: Callable[[], dict[str, float]]
) -> dict[str, Any]:
    """What the index was worth; nothing where there was none.

    Seconds to build it (opening the store is in them), bytes on disk, images scored in a round, the share of rounds
    settled with certainty or by a scan, and what an exact scan would have changed.
    """
    found = [search for search in searches if search is not None]
    if not found:
        return {}
    length = spans([float(search.length[0]) for search in found])
    certified, scanned = (
        statistics.mean(float(getattr(search, name)[0]) for search in found) for name in ("certified", "scanned")
    )
    shares = {"images_scored": length, "certified": certified, "scanned": scanned}
    return {"index": {"build_seconds": opened, "bytes": taken, **shares, **compare()}}


def page(session: Session) -> None:
    """What a person gets to see."""
    session.ask()
    session.ranking(TOP)


def obvious_side(asked: argparse.Namespace, world: World) -> dict[str, Any]:
    from benchmarks.obvious import Mapped, ObviousSearch

    known = annotations(world)
    config = composed("lo_all", asked.rounds, 1, [])
    store = open_store(make_store(world, asked.stores), None)
    warm(store.folder)
    manifest = store.manifest
    table = Mapped(store.folder, world.images, manifest.shards, manifest.shard)
    query = drawn(config, known, world.images)[0]
    loop = build_loop(config, store)
    user, stopwatch = simulated(config, known, loop), Stopwatch()
    search = ObviousSearch(table, store.regions, loop.representation, query, stopwatch)
    search.start()
    asked_for = search.ask(search.score(), BUDGET)
    stopwatch.laps.clear()
    for number in range(asked.reference_rounds):
        answers = [user.answer(query, image, number + 1) for image in asked_for]
        with stopwatch.part("round"):
            with stopwatch.part("learn"):
                for answer in answers:
                    search.learn(answer)
            scores = search.score()
            asked_for = search.ask(scores, BUDGET)
            with stopwatch.part("top"):
                np.argsort(-scores, kind="stable")[:TOP].tolist()
    parts = {part: spans(stopwatch.laps[part]) for part in PARTS if part in stopwatch.laps}
    return {"round": spans(stopwatch.laps["round"]), "parts": parts, "peak_gib": facts.peak_gib()}


def needed_gib(asked: argparse.Namespace, world: World) -> float:
    """The store in the page cache, global descriptors in float32, the index, and what else a session takes."""
    settings = loop_parts(composed("lo_all", asked.rounds, 1, asked.overrides)).index
    index = 0 if settings is None else settings.bytes(world.images * world.regions, world.dim)
    store = expected_bytes(described(world), None)
    return (store + 4 * world.images * world.dim + index) / facts.GIB + SPARE_GIB


def measure(asked: argparse.Namespace, world: World) -> dict[str, Any]:
    """Both sides, each in its own process.

    Raises:
        TooLargeError: if disk or memory do not suffice.
    """
    if not asked.beyond_memory:
        facts.check_memory(needed_gib(asked, world))
    common = ["--stores", asked.stores, "--images", world.images, "--grids", world.grid, "--dims", world.dim]
    common += ["--rounds", asked.rounds, "--reference-rounds", asked.reference_rounds]
    common += ["--overrides", *asked.overrides] if asked.overrides else []
    facts.check_disk(asked.stores, 0)
    make_store(world, asked.stores)
    ours = facts.child("benchmarks.round", *common, "--side", "seekloop")
    if not asked.reference_rounds:
        return ours
    theirs = facts.child("benchmarks.round", *common, "--side", "obvious")
    ratio = theirs["round"]["median"] / ours["round"]["median"]
    return {**ours, "obvious": theirs, "ratio": ratio}


def line(world: World, figures: dict[str, Any]) -> tuple[Any, ...]:
    """The figures of a size, for people, in milliseconds."""
    parts = [f"{1e3 * figures['parts'][part]['median']:.1f}" if part in figures["parts"] else "" for part in PARTS]
    theirs = figures.get("obvious")
    obvious = "" if theirs is None else f"{1e3 * theirs['round']['median']:.1f}"
    both = [f"{1e3 * figures['round'][word]:.1f}" for word in ("median", "p95")]
    return (f"{world.images} x {world.regions} x {world.dim}", *both, *parts, obvious, figures["peak_gib"])


def worlds(asked: argparse.Namespace) -> list[World]:
    """All sizes asked for, small ones first."""
    sizes = [World(images, grid, dim, CLASSES) for images in asked.images for grid in asked.grids for dim in asked.dims]
    return sorted(sizes, key=lambda world: world.images * world.regions * world.dim)


def main() -> None:
    asked = parser().parse_args()
    if asked.side:
        side = {"seekloop": seekloop_side, "obvious": obvious_side}[asked.side]
        print(json.dumps(side(asked, worlds(asked)[0])))
        return
    lines: list[tuple[Any, ...]] = []
    if asked.index:
        asked.overrides = [*asked.overrides, f"store.index={asked.index}"]
    for world in worlds(asked):
        settings = {**vars(world), "m": world.regions, "rounds": asked.rounds, "overrides": asked.overrides}
        settings["cache"] = "warm as far as it fits"
        try:
            figures = measure(asked, world)
        except facts.TooLargeError as error:
            facts.write(asked.results, "round", settings, {"skipped": str(error)})
            lines.append((f"{world.images} x {world.regions} x {world.dim}", f"skipped: {error}"))
            continue
        facts.write(asked.results, "round", settings, figures)
        lines.append(line(world, figures))
    headers = ["n x m x d, ms, warm", "median", "p95", *PARTS, "obvious", "peak GiB"]
    padded = [(*cells, *[""] * (len(headers) - len(cells))) for cells in lines]
    print(table_of(padded, headers))


if __name__ == "__main__":
    main()
