"""From the rows of a table to one number per step: mean over the queries of a class first, then over classes."""

import pandas as pd

from seekloop.logs.kind import Curve


def curve(of: Curve, table: pd.DataFrame, *, spread: bool = False) -> pd.DataFrame:
    """Mean curves of a table; index: the axis, and before it what is kept apart.

    Empty cells (a class without small objects) are left out of a mean, which is empty where all are.

    Args:
        of: which columns, and what is averaged over.
        table: its rows.
        spread: the standard deviation (n in the denominator) in place of the mean, over what is averaged over last.

    Example:
        >>> rows = [("cat", 0, 0, 0.5), ("cat", 1, 0, 0.7), ("dog", 0, 0, 0.2)]
        >>> frame = pd.DataFrame(rows, columns=["class_name", "query", "round", "ap"])
        >>> float(curve(Curve("rounds", "round", ("ap",), over=("query", "class_name")), frame).loc[0, "ap"])
        0.4
    """
    keys = [*([of.apart] if of.apart else []), *of.over[::-1], of.axis]
    frame = table.set_index(keys)[[name for name in (*of.values, *of.against) if name in table]]
    for name in of.over:
        keys.remove(name)
        groups = frame.groupby(level=keys, sort=not of.apart and len(keys) == 1)
        frame = groups.std(ddof=0) if spread and name == of.over[-1] else groups.mean()
    return frame
