"""Rounds that words save: searches that begin with a box, with words, or with both, compared round by round.

    python experiments/text/rounds_saved.py runs/words_voc experiments/text/words_voc.csv

A row for each representation, start and round: MAP and coverage (means over searches, classes and seeds), and the first
round in which the searches with a box are at least as good; empty where they never are. The rounds saved are that round
less the row's own; a negative number is lost. The round lies on the straight line between two rounds.
"""

import sys

import numpy as np
import pandas as pd

import seekloop

CURVES = ("ap", "coverage")


def reached(curve: np.ndarray, value: float) -> float:
    """The first time at which a curve over rounds is at least as high as a value; NaN if it never is.

    Example:
        >>> reached(np.array([0.0, 1.0, 0.0, 2.0]), 0.5), reached(np.array([0.2]), 0.1)
        (0.5, 0.0)
    """
    above = (curve >= value).nonzero()[0]
    if not len(above):
        return float("nan")
    end = int(above[0])
    if end == 0:
        return 0.0
    low, high = curve[end - 1], curve[end]
    return float(end - 1 + (value - low) / (high - low))


def main(folder: str, file: str) -> None:
    """Read the runs and write the table."""
    runs = seekloop.runs(folder).set_index("run")
    rounds = seekloop.runs(folder, "rounds").join(
        runs[["representation", "query"]].rename(columns={"query": "start"}), "run"
    )
    by_class = rounds.groupby(["representation", "start", "round", "class_name"])[list(CURVES)].mean()
    means = by_class.groupby(["representation", "start", "round"]).mean()
    rows = []
    for (representation, start, number), own in means.iterrows():
        row = {"representation": representation, "start": start, "round": number}
        for name in CURVES:
            box = means.loc[(representation, "box")][name].to_numpy()
            row |= {name: own[name], f"{name}_saved": reached(box, own[name]) - number}
        rows.append(row)
    pd.DataFrame(rows).round(4).to_csv(file, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
