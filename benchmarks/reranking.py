"""Spatial re-ranking: one query against the first 100 images of a ranking, on all nine pairs of scales.

    python -m benchmarks.reranking [--candidates 100] [--features 2048] [--channels 2048] [--threads 2]

Features are synthetic: ellipses at random places, on random channels, of three scales; every tenth candidate shows half
of the query's features, moved by one affine map. Ours is held against the obvious loop in numpy, in which each
hypothesis is checked against all pairs at once, without refits (a few candidates are timed and scaled), and against
OpenCV's USAC_MAGSAC on the same pairs of features, which looks at no ellipse. The aim is a second for 100 candidates.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import facts
from benchmarks.searches import table_of
from seekloop.contracts.local_features import LocalFeatures
from seekloop.matching.image_matching import RobustMatching, verify_robustly
from seekloop.matching.spatial import SpatialMatching, frames, tentatives, verify_all

SIZES = np.array([(48, 64), (34, 45), (24, 32)])
MOVED = np.array([[1.2, 0.0], [0.1, 0.9]])


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--candidates", type=int, default=100)
    found.add_argument("--features", type=int, default=2048, help="of an image, over three scales")
    found.add_argument("--channels", type=int, default=2048)
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--obvious", type=int, default=2, help="candidates that the loop in numpy is timed on")
    return found


def scattered(count: int, channels: int, rng: np.random.Generator) -> LocalFeatures:
    """Ellipses at random places, half of them of the first scale."""
    scale = rng.choice(3, count, p=[0.57, 0.29, 0.14])
    mean = rng.random((count, 2)) * SIZES[scale][:, ::-1]
    spread = rng.normal(size=(count, 2, 2))
    covariance = 0.5 * spread @ spread.transpose(0, 2, 1) + 0.3 * np.eye(2)
    strength = np.sort(rng.random(count))[::-1]
    first, second, third = (one.astype(np.float32) for one in (mean, covariance, strength))
    return LocalFeatures(first, second, rng.integers(0, channels, count), third, scale, SIZES)


def shown_again(query: LocalFeatures, other: LocalFeatures, rng: np.random.Generator) -> LocalFeatures:
    """Half of the query's features moved by one map, and half of those of another image."""
    half = len(query) // 2
    seen = query.only(rng.permutation(len(query))[:half])
    mean = (seen.mean @ MOVED.T + 1).astype(np.float32)
    covariance = (MOVED @ seen.covariance @ MOVED.T).astype(np.float32)
    rest = other.only(np.arange(len(other) - half))
    columns = [(mean, rest.mean), (covariance, rest.covariance)]
    columns += [(getattr(seen, name), getattr(rest, name)) for name in ("channel", "strength", "scale")]
    return LocalFeatures(*(np.concatenate(pair) for pair in columns), SIZES)


def obvious(query: LocalFeatures, other: LocalFeatures, tolerance: float) -> int:
    """The most query features that agree on one hypothesis, each hypothesis checked by numpy."""
    best, pairs = 0, tentatives(query, other)
    for first in range(3):
        for second in range(3):
            here = pairs[(query.scale[pairs[:, 0]] == first) & (other.scale[pairs[:, 1]] == second)]
            x, y = query.mean[here[:, 0]], other.mean[here[:, 1]]
            one, two = frames(query.covariance)[here[:, 0]], frames(other.covariance)[here[:, 1]]
            across, down = two[:, 0] / one[:, 0], two[:, 2] / one[:, 2]
            slant = (two[:, 1] - down * one[:, 1]) / one[:, 0]
            for at in range(len(here)):
                linear = np.array([[across[at], 0], [slant[at], down[at]]])
                gap = (y - y[at]) - (x - x[at]) @ linear.T
                back = gap @ np.linalg.inv(linear).T
                near = np.maximum(np.square(gap).sum(1), np.square(back).sum(1)) <= tolerance**2
                best = max(best, len(np.unique(here[near, 0])))
    return best


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    asked = parser().parse_args()
    rng = np.random.default_rng(0)
    query = scattered(asked.features, asked.channels, rng)
    others: Sequence[LocalFeatures] = [scattered(asked.features, asked.channels, rng) for _ in range(asked.candidates)]
    others = [shown_again(query, one, rng) if at % 10 == 0 else one for at, one in enumerate(others)]
    settings, robust = SpatialMatching(), RobustMatching()
    verify_all(query, others[:1], settings)  # compiled here
    ours = min(seconds(lambda: verify_all(query, others, settings, asked.threads)) for _ in range(3))
    one_thread = min(seconds(lambda: verify_all(query, others, settings)) for _ in range(2))
    parity = seconds(lambda: verify_all(query, others, SpatialMatching(parity=True), asked.threads))
    plain = seconds(lambda: [obvious(query, one, settings.tolerance) for one in others[: asked.obvious]])
    plain *= asked.candidates / asked.obvious
    usac = seconds(lambda: [verify_robustly(query, one, robust) for one in others])
    found = verify_all(query, others, settings, asked.threads)
    figures = {
        "seconds": ours,
        "one_thread": one_thread,
        "parity": parity,
        "obvious": plain,
        "usac": usac,
        "ratio": plain / ours,
        "usac_ratio": usac / ours,
        "pairs": float(np.mean([len(tentatives(query, one)) for one in others])),
        "inliers_positive": float(np.mean([one.inliers for one in found[::10]])),
        "inliers_negative": float(np.mean([one.inliers for at, one in enumerate(found) if at % 10])),
    }
    names = ("candidates", "features", "channels", "threads")
    facts.write(asked.results, "reranking", {name: getattr(asked, name) for name in names}, figures)
    print(table_of([tuple(figures.values())], [name.replace("_", " ") for name in figures]))


if __name__ == "__main__":
    main()
