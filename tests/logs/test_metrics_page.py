"""The page that documents the columns and keys names all of them."""

from pathlib import Path

import pytest

from seekloop.commands.kinds import KINDS
from seekloop.logs.comparison import against_the_best
from seekloop.protocol.kinds import INDEXED, SEARCHES
from seekloop.protocol.summary import per_class
from tests.logs.fakes import SUMMARY, rounds_of

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
KEYS = {*INDEXED, *SUMMARY, *per_class(rounds_of(0)).columns, "accuracy_<labels>", "labels_final"}
KEYS |= {name for kind in KINDS.values() for columns in kind.tables.values() for name in columns}
KEYS |= {name for kind in KINDS.values() for name in kind.numbers}
CURVES = [curve for kind in KINDS.values() for curve in (kind.curve, kind.inner) if curve]
KEYS |= {curve.prefix + name for curve in CURVES for name in (*curve.values, *curve.against)}
REPORTED = {
    *against_the_best({}, SEARCHES.paired).columns,
    "paper_setup",
    "paper_table",
    "runs",
    "report",
    "differences",
}
KEYS |= {key if "_" not in key or "paper" in key else f"<area>_{key.split('_')[-1]}" for key in REPORTED}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_column_is_documented(key):
    assert f"`{key}`" in PAGE
