"""A small made-up run, always the same."""

import numpy as np
import pandas as pd

from seekloop.logs.run_folder import RunFolder
from seekloop.protocol.kinds import SEARCHES

CLASSES = ("cat", "dog")
QUERIES = 2
BUDGET = 3


def rounds_of(number: int) -> pd.DataFrame:
    rng = np.random.default_rng(number)
    rows = [
        {
            "class_name": name,
            "query": query,
            "round": number,
            "labels": 6 + BUDGET * number,
            "positives": 1 + number,
            "seconds": 1.8 * (6 + BUDGET * number),
            "ap": 0.5 + 0.05 * number + 0.01 * rng.random() + 0.1 * query + 0.2 * (name == "dog"),
            "coverage": 0.1 + 0.1 * number,
            "precision": 1 / 3 if number else None,
            "ap_small": 0.25,
            "ap_medium": 0.5,
            "ap_large": None if name == "cat" else 0.75,
        }
        for name in CLASSES
        for query in range(QUERIES)
    ]
    return pd.DataFrame(rows)


def asked_of(number: int) -> pd.DataFrame:
    columns = ["class_name", "query", "round", "image", "path", "region", "score", "relevant", "x0", "y0", "x1", "y1"]
    rows = []
    for name in CLASSES if number else ():
        for query in range(QUERIES):
            for turn, relevant in enumerate((True, False, None)):
                box = (0.1, 0.2, 0.6, 0.9) if relevant else (None,) * 4
                image = number * BUDGET + turn
                rows.append((name, query, number, image, f"{image}.jpg", turn - 1, 0.3 - turn, relevant, *box))
    return pd.DataFrame(rows, columns=columns)


def queries() -> pd.DataFrame:
    rows = [
        {
            "class_name": n,
            "query": q,
            "image": q,
            "path": f"{q}.jpg",
            "x0": 0.2,
            "y0": 0.2,
            "x1": 0.8,
            "y1": 0.7,
            "negatives": [2, 3],
        }
        for n in CLASSES
        for q in range(QUERIES)
    ]
    return pd.DataFrame(rows)


SUMMARY = {
    "map_auc": 0.7,
    "coverage_auc": 0.3,
    "map_final": 0.8,
    "coverage_final": 0.4,
    "classes": 2,
    "queries": 4,
    "rounds": 3,
}


def step_of(number):
    return {"rounds": rounds_of(number), "asked": asked_of(number)}


def run_folder(path):
    return RunFolder(path, SEARCHES)


def fill(folder, last=3, until=None):
    """Run the made-up run in `folder`, from wherever it stopped, to `until` or to its end."""
    with folder.claim():
        resumed = folder.resume()
        if resumed is None:
            folder.write_config("seed: 0\n")
            folder.write_queries(queries())
        first = 0 if resumed is None else resumed[0] + 1
        for number in range(first, (last if until is None else until) + 1):
            folder.add(number, step_of(number), {"round": number})
        if until is None:
            folder.finish(SUMMARY)
    return folder
