"""From one row per query to one number per round: mean over a class's queries first, then over classes."""

import pandas as pd

INDEXED = ("ap_exact", "ap_change", "pick_recall", "certified", "scanned", "shortlist", "search_seconds")
"""Columns that a run through an index has beside the others."""

VALUES = (
    "ap",
    "coverage",
    "precision",
    "positives",
    "labels",
    "seconds",
    "ap_small",
    "ap_medium",
    "ap_large",
    *INDEXED,
)
"""Columns of the rounds table that are averaged into curves, where they are there."""


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
