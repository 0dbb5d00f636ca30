"""DropQuery: decisions that change under dropout, and the middle of each cluster of them."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.criteria.dropout import DropQuery, centre_distance, changes, drop_query
from tests.criteria.views import on_circle, rngs, view


def replies(*scores):
    """A scorer that says these things in turn, whatever it is asked."""
    said = iter(torch.tensor(scores, dtype=torch.float64))
    return lambda rows: next(said)


def test_drop_query_by_hand():
    """Six rows at 0, 2, 10, then 90, 100, and 45 degrees, with decisions after three dropouts.

    Changed: 3, 2, 2 | 2, 2 | 1 of 3 times. More than half is two, so the last one, in the middle, is left out. Clusters
    are 0, 2, 10 (mean about 4: the row at 2) and 90, 100 (equal: the first). A threshold of one, or of three, would
    give others; 0 counts as relevant, so the second row changed.
    """
    rows = on_circle([0, 2, 10, 90, 100, 45])
    score = replies(
        [1.0, 0.0, -1.0, 1.0, -1.0, 0.5],
        [-1.0, -1.0, 1.0, -1.0, 1.0, -1.0],
        [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0],
        [-1.0, 2.0, -1.0, 3.0, -1.0, 1.0],
    )
    assert drop_query(rows, score, 2, rngs(1)[0]).tolist() == [1, 3]


def test_rows_that_changed_less_fill_the_batch_by_hand():
    """Changed: 0, 3, 1, 1, 0 of 3 times. One alone is inconsistent; three are asked for: of the two that changed once
    both, before the last, which lies on the boundary. With four, the last is nearer to the boundary than the first.
    """
    rows = on_circle([0, 72, 144, 216, 288])
    said = [
        [1.0, 1.0, 1.0, 2.0, 0.1],
        [1.0, -1.0, -1.0, 1.0, 1.0],
        [1.0, -1.0, 1.0, -1.0, 1.0],
        [1.0, -1.0, 1.0, 1.0, 1.0],
    ]
    for budget, expected in ((1, [1]), (3, [1, 2, 3]), (4, [1, 2, 3, 4])):
        assert sorted(drop_query(rows, replies(*said), budget, rngs(1)[0]).tolist()) == expected


def test_dropout_keeps_the_mean_by_hand():
    """A row of 10,000 equal entries and a row of one entry, both with f = 1 - .5.

    The sum of the first has deviation sqrt(.75 / .25 / 10,000) = .017 around 1, and never falls to .5; without scaling
    it would be about .25, and always. The other changes whenever its entry is dropped, three times in four: of 2,000
    draws 1,500, give or take 19.
    """
    spread = torch.full((1, 10_000), 0.01)
    rng, half = torch.Generator().manual_seed(0), torch.tensor([0.5])
    assert changes(spread, half, lambda rows: rows @ spread[0] - 0.5, rng, 50, 0.75).tolist() == [0]
    found = changes(torch.ones(1, 1), half, lambda rows: rows[:, 0] - 0.5, rng, 2000, 0.75)
    assert float(found) == pytest.approx(1500, abs=80)


def test_the_distance_to_the_centre_by_hand():
    """On a line 0, 1, 5 in one cluster, mean 2; 9 alone."""
    points = torch.tensor([[0.0], [1.0], [5.0], [9.0]])
    assert centre_distance(points, torch.tensor([0, 0, 0, 1])).tolist() == [2.0, 1.0, 3.0, 0.0]


@given(st.integers(0, 2**16), st.integers(1, 12), st.sampled_from([0.2, 0.75]))
def test_it_chooses_distinct_rows_and_repeats_itself_and_no_scale_of_scores_matters(seed, budget, rate):
    rng = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(12, 6, generator=rng, dtype=torch.float64), dim=1)
    rows[6:9] = rows[0]  # copies: fewer distinct rows than clusters
    normal = torch.randn(6, generator=rng, dtype=torch.float64)
    chosen = [
        drop_query(rows, lambda some, unit=unit: unit * (some @ normal), budget, rngs(1, seed)[0], rate=rate)
        for unit in (1.0, 1.0, 8.0)
    ]
    assert len(set(chosen[0].tolist())) == budget
    assert torch.equal(chosen[0], chosen[1])
    assert torch.equal(chosen[0], chosen[2])


@pytest.mark.parametrize(("key", "wrong"), [("repeats", 0), ("rate", 0.0), ("rate", 1.0)])
def test_impossible_settings_are_refused(key, wrong):
    with pytest.raises(ConfigError, match=f"{key}={wrong}"):
        drop_query(torch.ones(2, 2), lambda rows: rows[:, 0], 1, rngs(1)[0], **{key: wrong})


def test_the_criterion_asks_the_classifier_about_the_vectors_that_it_saw():
    """Image 2 is relevant by one of 32 entries, which three draws of four drop; the others are so by every entry."""
    shown = view(torch.tensor([[0.9, -0.9, 0.1, 0.0]]), answers=[[0, 0, 0, 1]])
    classified = torch.tensor([[5.0] * 32, [-5.0] * 32, [3.2, *[-0.1] * 31], [0.0] * 32])
    asked = []

    def rescore(query, vectors):
        asked.append(query)
        return vectors.sum(dim=1)

    shown = dataclasses.replace(shown, read_vectors=lambda query, images, kind: classified[images], rescore=rescore)
    assert DropQuery(repeats=9)(shown, 1, rngs(1)).tolist() == [[2]]
    assert set(asked) == {0}


def test_without_a_classifier_to_ask_it_is_refused():
    with pytest.raises(ConfigError, match="asks the classifier of a search"):
        DropQuery()(view(torch.zeros(1, 4)), 1, rngs(1))
