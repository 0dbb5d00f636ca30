"""Intervals of means: over runs by Student's t, over the same queries under two settings by the bootstrap."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from seekloop.contracts.randomness import derived_seed

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean difference between two settings, its interval and its two-sided p; not a number where none can be told."""

    mean: float
    low: float
    high: float
    p: float


def half_width(values: pd.Series) -> float:
    """Half of the 95 % confidence interval of the mean, by Student's t; not a number for a single value.

    Example:
        >>> round(half_width(pd.Series([0.5, 0.7])), 4)
        1.2706
    """
    known = values.dropna()
    if len(known) < 2:
        return math.nan
    from scipy.special import stdtrit

    return float(stdtrit(len(known) - 1, (1 + LEVEL) / 2) * known.std(ddof=1) / math.sqrt(len(known)))


def interval(values: pd.Series, *, share: bool) -> tuple[float, float]:
    r"""The 95 % confidence interval of the mean, by Student's t; not numbers for a single value.

    The mean :math:`m` of shares is a share too: their interval is symmetric around the log-odds of :math:`m`, with the
    half-width of the plain one divided by :math:`m (1 - m)` (the delta method), and so stays inside [0, 1].

    Args:
        values: one per run.
        share: whether all of them are between 0 and 1 by their meaning.

    Example:
        >>> [round(end, 4) for end in interval(pd.Series([0.5, 0.7]), share=True)]
        [0.0075, 0.9967]
    """
    mean, half = float(values.mean()), half_width(values)
    if not share or not half > 0:
        return mean - half, mean + half
    from scipy.special import expit, logit

    scaled = half / (mean * (1 - mean))
    return float(expit(logit(mean) - scaled)), float(expit(logit(mean) + scaled))


def holm(p: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """Values of p, corrected so that the chance of any false finding among them stays below the level.

    The smallest of n is multiplied by n, the next by n - 1 and so on, and none becomes smaller than one before it. What
    is not a number counts for none.

    Reference:
        Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(4).tolist()
        [0.03, 0.06, 0.06]
    """
    order = p.argsort()  # not a number: last
    left = (~np.isnan(p)).sum() - np.arange(len(p))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * left), 1.0)
    return corrected


def paired_bootstrap(differences: pd.Series) -> Difference:
    r"""The mean difference over the same queries, and how far other queries of the same classes could have moved it.

    As everywhere, the mean is over the queries of a class first, then over classes. Queries are drawn anew, with
    replacement, within each class; the classes stay, because all of a collection's are searched for. The spread of a
    class's mean over :math:`n_c` drawn queries is too small by :math:`(n_c - 1) / n_c` in variance, which matters where
    a class has few queries: the drawn means are moved away from the mean by :math:`\sqrt{n_c / (n_c - 1)}` (Rao and Wu
    1988). The interval lies between the 2.5 % and 97.5 % quantiles of 10,000 such means; p is twice the smaller share
    of them on one side of zero, zero itself counted on both. A class draws from a generator of its own, so that the
    order of rows changes nothing, and two settings exchanged give the same interval mirrored.

    Args:
        differences: of each query; one level of the index is `class_name`.

    Returns:
        The mean alone where a class has a single query, of whose spread nothing is known.
    """
    means, drawn, single = [], np.zeros(RESAMPLES), False
    for name, members in differences.groupby(level="class_name"):
        values = members.sort_index().to_numpy(float)
        count, mean = len(values), values.mean()
        means.append(mean)
        if count < 2:
            single = True
            continue
        rng = np.random.default_rng(derived_seed(0, "bootstrap", str(name)))
        picked = values[rng.integers(count, size=(RESAMPLES, count))].mean(axis=1)
        drawn += mean + math.sqrt(count / (count - 1)) * (picked - mean)
    mean = float(np.mean(means))
    if single:
        return Difference(mean, math.nan, math.nan, math.nan)
    drawn /= len(means)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Difference(mean, float(low), float(high), min(1.0, 2 * (beyond + 1) / (RESAMPLES + 1)))
