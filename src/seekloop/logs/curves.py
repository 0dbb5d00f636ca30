"""From one row per query to one number per round: mean over a class's queries first, then over classes."""

import pandas as pd

VALUES = ("ap", "coverage", "precision", "positives", "labels", "seconds", "ap_small", "ap_medium", "ap_large")
"""Columns of the rounds table that are averaged into curves."""


def per_class(rounds: pd.DataFrame) -> pd.DataFrame:
    """Mean over each class's queries; index (class_name, round), columns those of `VALUES` that are there.

    Empty cells (a class without small objects) are left out of the mean, and stay empty where all are.
    """
    values = [name for name in VALUES if name in rounds.columns]
    return rounds.groupby(["class_name", "round"], sort=False)[values].mean()


def curve(rounds: pd.DataFrame) -> pd.DataFrame:
    """Mean over classes of the class means; index round.

    Example:
        >>> rows = [("cat", 0, 0, 0.5), ("cat", 1, 0, 0.7), ("dog", 0, 0, 0.2)]
        >>> frame = pd.DataFrame(rows, columns=["class_name", "query", "round", "ap"])
        >>> float(curve(frame).loc[0, "ap"])
        0.4
    """
    return per_class(rounds).groupby("round", sort=True).mean()


def spread(rounds: pd.DataFrame) -> pd.DataFrame:
    """Standard deviation (n in the denominator) over the class means; index round."""
    return per_class(rounds).groupby("round", sort=True).std(ddof=0)


def area(values: pd.Series) -> float:
    r"""Area under a curve given at every round, divided by the number of rounds.

    .. math:: \frac{1}{T} \sum_{t=1}^{T} \frac{v_{t-1} + v_t}{2}

    A single round has no area: its value is given.
    """
    heights = values.to_numpy(dtype=float)
    return float((heights[1:] + heights[:-1]).mean() / 2) if len(heights) > 1 else float(heights[0])


def class_table(rounds: pd.DataFrame) -> pd.DataFrame:
    """One row per class: its queries, areas under its curves, and where it ended."""
    rows = []
    for name, mine in rounds.groupby("class_name", sort=False):
        means = curve(mine)
        last = means.iloc[-1]
        rows.append(
            {
                "class_name": name,
                "queries": mine["query"].nunique(),
                "map_auc": area(means["ap"]),
                "coverage_auc": area(means["coverage"]),
                "map_final": last["ap"],
                "coverage_final": last["coverage"],
                "positives": last["positives"],
            }
        )
    return pd.DataFrame(rows)
