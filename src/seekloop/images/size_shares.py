"""Sizes of a collection's objects: small ones are hard to search for."""

from collections import Counter

from seekloop.contracts.boxes import STRATA, stratum
from seekloop.contracts.records import Annotations


def size_shares(annotations: Annotations) -> dict[str, float]:
    """Shares of small (below 1/16 of the image), medium, and large (from 1/4 on) objects among all boxes.

    All 0 where nothing is annotated.

    Reference:
        Zaher, Buisson & Joly, arXiv 2604.00809, Table 3.
    """
    counts = Counter(stratum(annotations.box))
    return {name: counts[name] / max(1, len(annotations.box)) for name in STRATA}
