"""How the time of a lockstep round grows with images, regions and searches: three sizes each, the others held.

    python -m benchmarks.scaling [--dim 384] [--rounds 5] [overrides of seekloop retrieve]

Each point is a run of some rounds from the start, divided by their number; the first round, in which compiled code is
loaded, is left out. Rows to fit grow with regions and rounds, not with images. Writes benchmarks/scaling.png.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks import facts
from benchmarks.searches import composed, play, table_of
from benchmarks.synthetic import World

mpl.use("agg")
import matplotlib.pyplot as plt

CLASSES = 20
PARTS = ("fit", "score", "select", "metrics")
PICTURE = Path(__file__).with_name("scaling.png")


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--images", type=int, nargs="+", default=[5_770, 11_540, 23_080])
    found.add_argument("--grids", nargs="+", default=["2x2", "4x4", "8x8"])
    found.add_argument("--queries", type=int, nargs="+", default=[2, 5, 10], help="per class; there are 20 classes")
    found.add_argument("--dim", type=int, default=384)
    found.add_argument("--rounds", type=int, default=5)
    found.add_argument("--picture", type=Path, default=PICTURE)
    found.add_argument("--overrides", nargs="*", default=[], help="of seekloop retrieve")
    return found


def held(asked: argparse.Namespace) -> tuple[int, str, int]:
    """What stays where another grows: the middle of each."""
    images, grids, queries = asked.images, asked.grids, asked.queries
    return images[len(images) // 2], grids[len(grids) // 2], queries[len(queries) // 2]


def point(asked: argparse.Namespace, images: int, grid: str, queries: int) -> dict[str, float]:
    """Seconds of a round, per part and in all."""
    config = composed("lo_all", asked.rounds, queries, asked.overrides)
    played = play(config, World(images, grid, asked.dim, CLASSES), asked.stores)
    laps = played.stopwatch.laps
    found = {part: sum(laps[part][1:]) / asked.rounds for part in PARTS}
    return {**found, "round": sum(found.values())}


def sweeps(asked: argparse.Namespace) -> dict[str, list[tuple[int, tuple[int, str, int]]]]:
    """For each of n, m and q: its values, each with the settings of the run."""
    images, grid, queries = held(asked)
    worlds = [World(images, other, asked.dim, CLASSES) for other in asked.grids]
    return {
        "n": [(other, (other, grid, queries)) for other in asked.images],
        "m": [(world.regions, (images, world.grid, queries)) for world in worlds],
        "q": [(other * CLASSES, (images, grid, other)) for other in asked.queries],
    }


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope between the first and the last point on logarithmic axes: 1 is proportional."""
    return math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0])


def draw(found: dict[str, list[tuple[int, dict[str, float]]]], path: Path) -> None:
    """Three panels side by side, both axes logarithmic."""
    figure, axes = plt.subplots(1, len(found), figsize=(9, 2.8), sharey=True, layout="constrained")
    for axis, (letter, points) in zip(axes, found.items(), strict=True):
        sizes = [size for size, _ in points]
        for part in ("round", *PARTS):
            axis.plot(sizes, [seconds[part] for _, seconds in points], marker="o", markersize=3, label=part)
        axis.set(xscale="log", yscale="log", xlabel=letter, xticks=sizes, xticklabels=[f"{size:,}" for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds per round")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    asked = parser().parse_args()
    point(asked, min(asked.images), asked.grids[0], 1)  # compiles what is to be compiled
    done: dict[tuple[int, str, int], dict[str, float]] = {}
    found: dict[str, list[tuple[int, dict[str, float]]]] = {}
    for letter, sizes in sweeps(asked).items():
        found[letter] = []
        for size, key in sizes:
            try:
                done[key] = done[key] if key in done else point(asked, *key)
            except facts.TooLargeError as error:
                print(f"{letter} = {size} left out: {error}")
                continue
            found[letter].append((size, done[key]))
    images, grid, queries = held(asked)
    settings: dict[str, Any] = {"n": images, "grid": grid, "q": queries * CLASSES, "dim": asked.dim}
    settings |= {"rounds": asked.rounds, "overrides": asked.overrides}
    slopes = {
        letter: exponent([size for size, _ in points], [seconds["round"] for _, seconds in points])
        for letter, points in found.items()
    }
    facts.write(asked.results, "scaling", settings, {"points": found, "exponents": slopes})
    draw(found, asked.picture)
    lines = [
        (letter, size, seconds["round"], *[seconds[part] for part in PARTS])
        for letter, points in found.items()
        for size, seconds in points
    ]
    print(table_of(lines, ["grows", "size", "s/round", *PARTS]))
    print("exponents: " + ", ".join(f"{letter} {slope:.2f}" for letter, slope in slopes.items()))


if __name__ == "__main__":
    main()
