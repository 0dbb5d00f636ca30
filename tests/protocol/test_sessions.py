"""Rounds of a session, counted by hand."""

import pandas as pd
import pytest

from seekloop.loop.events import (
    Answered,
    Asked,
    ExampleAdded,
    Noted,
    Pointed,
    Reply,
    Revoked,
    Shown,
    Started,
    Undone,
)
from seekloop.loop.items import Images
from seekloop.protocol.sessions import tables, tally

LEFT = (0.0, 0.0, 0.5, 1.0)
BOX = (0.25, 0.25, 0.75, 0.75)


def asked(*names):
    return Asked(tuple(Shown(name, 1, 0.5, LEFT) for name in names))


def said(name, answer, box=None, seconds=1.0):
    return Reply(name, answer, box, 1, seconds, LEFT)


EVENTS = [
    Started((Pointed("a", BOX),), None, None, ("p", "q"), 4, "all"),
    asked("b", "c", "d", "e"),
    Noted((said("b", "relevant"),)),
    Answered(
        (
            said("b", "relevant", BOX, 2.0),
            said("c", "irrelevant"),
            said("d", "unsure", seconds=4.0),
            said("e", "relevant"),
        )
    ),
    asked("f", "g"),
    Answered((said("f", "irrelevant"), said("q", "relevant"), said("c", "relevant"))),  # q and c are corrections
    ExampleAdded(Pointed("h", None)),
    Revoked(("b",)),
    asked("g", "i"),
    Answered((said("g", "relevant"), said("i", "relevant"))),
    Undone(9),
    asked("g", "i"),
    Answered((said("g", "unsure"),)),
]


def test_rounds_are_counted_as_by_hand():
    """Start: a is found, p and q are presumed not to be. 1: b, e of three sure ones. 2: none of one; q and c are found.

    3: h was given, b taken back; what was undone never was; of g nobody is sure, so there is no precision.
    """
    rounds = tally(EVENTS).rounds
    columns = ["round", "asked", "yes", "precision", "found", "labels", "seconds"]
    assert [[row[name] for name in columns] for row in rounds] == [
        [0, 0, 0, None, 1, 3, 0.0],
        [1, 4, 2, pytest.approx(2 / 3), 3, 6, 8.0],  # a b e | p q c
        [2, 1, 0, 0.0, 5, 7, 11.0],  # a b e q c | p f
        [3, 1, 0, None, 5, 7, 12.0],  # a e q c h | p f
    ]


def test_the_table_of_answers_has_the_box_that_was_drawn_or_the_region_that_was_shown():
    """d, which the collection has no more, is left out; what was not asked about has no score."""
    images = Images(8, list("abcefghq"), [f"{name}.jpg" for name in "abcefghq"])
    table = tables(tally(EVENTS), images)["asked"]
    rows = {(row.round, row.path): row for row in table.itertuples()}
    assert list(rows) == [(1, f"{n}.jpg") for n in "bce"] + [(2, f"{n}.jpg") for n in "fqc"] + [(3, "g.jpg")]
    drawn, shown, other = rows[1, "b.jpg"], rows[1, "c.jpg"], rows[2, "q.jpg"]
    assert (drawn.image, drawn.x0, drawn.y1, drawn.relevant) == (1, 0.25, 0.75, True)
    assert (shown.x1, shown.y1, shown.score, shown.relevant) == (0.5, 1.0, 0.5, False)
    assert pd.isna(other.score)
    assert rows[3, "g.jpg"].relevant is None
