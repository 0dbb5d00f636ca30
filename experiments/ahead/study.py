"""Play settings over the same searches, and compare them: areas under MAP and coverage, and positives found.

    python experiments/ahead/study.py play ROWS.csv COMMON... -- SETTING... -- SETTING... [-- ...]
    python experiments/ahead/study.py compare ROWS.csv "SETTING..." > TABLE.csv

COMMON and each SETTING are overrides of `seekloop retrieve`. `play` adds a row per search to ROWS.csv, and leaves out
what is there already. `compare` subtracts one setting from all others over the same searches: paired bootstrap, 95 %.
"""

import sys
from itertools import groupby
from pathlib import Path

import pandas as pd

import seekloop
from seekloop.logs.intervals import paired_bootstrap

DESCRIBED = ("collection", "backbone", "regions", "encoding", "pooling", "trainer", "store_dir", "grid")
SEARCH = ["class_name", "query"]
MEASURES = ("map", "coverage", "positives")


def play(path: Path, common: list[str], settings: list[list[str]]) -> None:
    """Play what is missing."""
    known = pd.read_csv(path) if path.exists() else pd.DataFrame({"setting": []})
    for setting in settings:
        name = " ".join(setting)
        if name in set(known["setting"]):
            continue
        overrides = [*common, *setting]
        store = seekloop.extract(*[one for one in overrides if described(one)])
        rest = [one for one in overrides if not described(one)]
        rows = areas(seekloop.simulate(store, store.collection.annotations, *rest))
        known = pd.concat([known, rows.assign(setting=name)], ignore_index=True)
        known.to_csv(path, index=False)
        means = macro(rows)
        print(
            f"{name}: MAP {means['map']:.4f}, coverage {means['coverage']:.4f}, found {means['positives']:.2f}",
            flush=True,
        )


def described(override: str) -> bool:
    """Whether an override says which descriptors, and not what is done with them."""
    return override.lstrip("+~").split("=")[0].split("@")[0].split(".")[0] in DESCRIBED


def areas(rounds: pd.DataFrame) -> pd.DataFrame:
    """One row per search: areas under average precision and coverage (trapezoid over rounds), positives at the end."""
    last = rounds["round"].max()
    ends = rounds["round"].isin([0, last])
    weighted = rounds.assign(weight=(1 - 0.5 * ends) / max(last, 1))
    for column, source in (("map", "ap"), ("coverage_area", "coverage")):
        weighted[column] = weighted[source] * weighted["weight"]
    sums = weighted.groupby(SEARCH)[["map", "coverage_area"]].sum()
    found = rounds[rounds["round"] == last].set_index(SEARCH)["positives"]
    return sums.rename(columns={"coverage_area": "coverage"}).assign(positives=found).reset_index()


def macro(rows: pd.DataFrame) -> pd.Series:
    """Means over the searches of a class first, then over classes."""
    return rows.groupby("class_name")[list(MEASURES)].mean().mean()


def compare(path: Path, reference: str) -> pd.DataFrame:
    """Every setting's means, and its differences to one of them."""
    rows = pd.read_csv(path)
    tables = {name: part.set_index(SEARCH) for name, part in rows.groupby("setting", sort=False)}
    lines = []
    for name, table in tables.items():
        means, line = macro(table.reset_index()), {"setting": name}
        for measure in MEASURES:
            difference = paired_bootstrap(table[measure] - tables[reference][measure])
            ends = {"difference": difference.mean, "low": difference.low, "high": difference.high}
            line |= {measure: means[measure]} | {f"{measure}_{end}": value for end, value in ends.items()}
        lines.append(line)
    return pd.DataFrame(lines).round(4)


def main() -> None:
    command, path, *words = sys.argv[1:]
    if command == "compare":
        compare(Path(path), " ".join(words)).to_csv(sys.stdout, index=False)
        return
    parts = [list(part) for is_break, part in groupby(words, lambda word: word == "--") if not is_break]
    play(Path(path), parts[0], parts[1:])


if __name__ == "__main__":
    main()
