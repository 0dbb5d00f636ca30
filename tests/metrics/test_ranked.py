import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.metrics import ranks as module
from seekloop.metrics.average_precision import average_precision
from seekloop.metrics.ranked import (
    finite_sum_average_precision,
    precision_at,
    recall_at,
    trapezoid_average_precision,
)
from seekloop.metrics.ranks import Ranks, ranks_of_positives

CUTOFFS = (None, 1, 2, 3, 7)
MEASURES = {
    "finite sum": finite_sum_average_precision,
    "trapezoid": trapezoid_average_precision,
    "precision": lambda ranks, cutoff: precision_at(ranks, 10**9 if cutoff is None else cutoff),
}


def standing(zero_based, positives=None):
    """One ranking without ties, from the places of its positives, counted from 0."""
    rank = torch.tensor([sorted(zero_based)], dtype=torch.long).reshape(1, -1) + 1
    hits = torch.arange(1, rank.shape[1] + 1)[None]
    count = torch.tensor([rank.shape[1] if positives is None else positives])
    return Ranks(hits, rank, torch.ones_like(rank, dtype=torch.bool), count)


@pytest.mark.parametrize(
    ("places", "positives", "trapezoid", "finite"),
    [
        ([0], 1, 1.0, 1.0),
        ([1], 1, 0.25, 0.5),
        ([0, 2], 2, 0.791667, 0.833333),
        ([1, 3, 4], 3, 0.405556, 0.533333),
        ([0, 1, 3, 6], 4, 0.811012, 0.830357),
        ([0, 2], 5, 0.316667, 0.333333),
    ],
)
def test_known_values(places, positives, trapezoid, finite):
    """Those of the trapezoid are the revisited Oxford benchmark's; the last has three positives that are not ranked.

    For instance {1, 3, 4}: (0/1 + 1/2)/2 + (1/3 + 2/4)/2 + (2/4 + 3/5)/2 = 1.21667, over 3.
    """
    ranks = standing(places, positives)
    assert trapezoid_average_precision(ranks, None).item() == pytest.approx(trapezoid, abs=1e-6)
    assert finite_sum_average_precision(ranks, None).item() == pytest.approx(finite, abs=1e-6)


def test_a_cut_off_by_hand():
    """Positives at ranks 1, 3, 4 and 6. Within 3: finite (1 + 2/3) / 3; trapezoid (1 + (1/2 + 2/3)/2) / 3.

    Divided by all positives it would be a quarter, by those found a half; within 10 the four positives divide.
    """
    ranks = standing([0, 2, 3, 5])
    assert finite_sum_average_precision(ranks, 3).item() == pytest.approx((1 + 2 / 3) / 3)
    assert trapezoid_average_precision(ranks, 3).item() == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 3)
    assert finite_sum_average_precision(ranks, 10).item() == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 6) / 4)


def test_a_cut_off_for_each_query_by_hand():
    """Two positives, at ranks 1 and 3: stopping at the second image, only 1/1 counts, over 2; of k = 3 it is 5/6."""
    ranks = standing([0, 2])
    assert finite_sum_average_precision(ranks, ranks.positives.clamp(max=3)).item() == 0.5
    assert finite_sum_average_precision(ranks, 3).item() == pytest.approx(5 / 6)


def test_precision_by_hand():
    """Positives at ranks 1, 3, 4: 1/2 within 2, 2/3 within 3, and 3/4 within 10, since the last one is the fourth."""
    ranks = standing([0, 2, 3])
    found = [precision_at(ranks, k).item() for k in (1, 2, 3, 10)]
    assert found == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4])


def test_junk_by_hand():
    """Order: junk + junk - + : without the junk + - + , which is 0.791667 and not the 0.341667 of ranks 2 and 5."""
    scores = torch.tensor([[5.0, 4, 3, 2, 1]])
    relevant = torch.tensor([[False, True, True, False, True]])  # the third is junk all the same
    junk = torch.tensor([[True, False, True, False, False]])
    ranks = ranks_of_positives(scores, relevant, junk)
    assert trapezoid_average_precision(ranks, None).item() == pytest.approx(0.791667, abs=1e-6)
    assert precision_at(ranks, 2).item() == 0.5
    assert ranks.positives.tolist() == [2]


def test_ties_share_the_worst_rank_by_hand():
    """Scores 2 | 1 1 1 | 0, positive + | + - + | - : the tied ones have rank 4 and 3 hits.

    Trapezoid (1 + 2 (2/3 + 3/4) / 2) / 3, finite sum (1 + 2 * 3/4) / 3; of the tied group nothing fits within 3.
    """
    relevant = torch.tensor([[True, True, False, True, False]])
    ranks = ranks_of_positives(torch.tensor([[2.0, 1, 1, 1, 0]]), relevant, None)
    assert trapezoid_average_precision(ranks, None).item() == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert finite_sum_average_precision(ranks, None).item() == pytest.approx(2.5 / 3)
    assert finite_sum_average_precision(ranks, 3).item() == pytest.approx(1 / 3)
    assert precision_at(ranks, 3).item() == pytest.approx(1 / 3)


def test_a_query_without_positives_is_not_a_number():
    relevant = torch.tensor([[False, False], [True, False]])
    ranks = ranks_of_positives(torch.tensor([[1.0, 2], [1, 2]]), relevant, None)
    for measure in MEASURES.values():
        assert measure(ranks, None).isnan().tolist() == [True, False]
    nowhere = ranks_of_positives(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool), None)
    assert all(measure(nowhere, 2).isnan().all() for measure in MEASURES.values())


def test_a_cut_off_below_one_is_refused():
    for measure in MEASURES.values():
        with pytest.raises(ValueError, match="first image at least, not to 0"):
            measure(standing([0]), 0)


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN, for instance of query 0"):
        ranks_of_positives(torch.tensor([[torch.nan]]), torch.tensor([[True]]), None)


@st.composite
def rankings(draw):
    """Scores with ties, both signs and minus infinity; positives and junk, perhaps none."""
    q, n = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    level = st.sampled_from([-torch.inf, -3.0, -1.5, -0.25, 0.0, 0.5, 2.0])
    rows = [st.lists(st.lists(what, min_size=n, max_size=n), min_size=q, max_size=q) for what in (level, st.booleans())]
    scores, relevant, junk = draw(rows[0]), draw(rows[1]), draw(rows[1])
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(relevant), torch.tensor(junk)


def one_by_one(scores, relevant, junk, cutoff):
    """Both average precisions and the precision of one query, image by image as they are defined."""
    kept = [(s, r) for s, r, j in zip(scores.tolist(), relevant.tolist(), junk.tolist(), strict=True) if not j]
    positives = sum(r for _, r in kept)
    places = []
    for score, right in kept:
        if right:
            rank = sum(s >= score for s, _ in kept)
            places.append((rank, sum(s >= score and r for s, r in kept)))
    if not positives:
        return [math.nan] * 3
    k = cutoff or 10**9
    within = [(rank, hits) for rank, hits in places if rank <= k]
    finite = sum(hits / rank for rank, hits in within) / min(k, positives)
    before = [(hits - 1) / (rank - 1) if rank > 1 else 1 for rank, hits in within]
    trapezoid = sum((b + h / r) / 2 for b, (r, h) in zip(before, within, strict=True)) / min(k, positives)
    first = min(k, max(rank for rank, _ in places))
    return [finite, trapezoid, sum(rank <= first for rank, _ in places) / first]


@settings(deadline=None)  # times differ on a busy machine
@given(rankings(), st.sampled_from(CUTOFFS))
def test_all_three_are_what_their_definitions_say(ranking, cutoff):
    ranks = ranks_of_positives(*ranking)
    found = torch.stack([measure(ranks, cutoff) for measure in MEASURES.values()], dim=1)
    expected = [one_by_one(*row, cutoff) for row in zip(*ranking, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@settings(deadline=None)  # times differ on a busy machine
@given(rankings())
def test_the_finite_sum_is_the_average_precision_of_the_loop(ranking):
    scores, relevant, junk = ranking
    some = relevant.any(dim=1)
    if some.any():
        found = finite_sum_average_precision(ranks_of_positives(*ranking), None)[some]
        torch.testing.assert_close(
            found, average_precision(scores[some], relevant[some], junk[some]), rtol=0, atol=0, equal_nan=True
        )


@settings(deadline=None)  # times differ on a busy machine
@given(rankings(), st.sampled_from(CUTOFFS))
def test_the_trapezoid_is_lower_unless_the_ranking_is_perfect(ranking, cutoff):
    """Perfect: down to the last positive that counts, everything is positive."""
    ranks = ranks_of_positives(*ranking)
    finite, trapezoid = (measure(ranks, cutoff) for measure in list(MEASURES.values())[:2])
    counted = ranks.ranked & (ranks.rank <= (cutoff or 10**9))
    perfect = torch.where(counted, ranks.hits == ranks.rank, True).all(dim=1)
    some = ranks.positives > 0
    assert (trapezoid[some] <= finite[some]).all()
    assert ((trapezoid == finite) == perfect)[some].all()


@settings(deadline=None)  # times differ on a busy machine
@given(rankings(), st.sampled_from(CUTOFFS), st.sampled_from([-torch.inf, -1.5, 0.1, 9.0]), st.booleans())
def test_junk_anywhere_changes_nothing(ranking, cutoff, score, relevant):
    """Also where it is tied with other images, or would be relevant."""
    scores, truth, junk = ranking
    column = torch.ones(len(scores), 1, dtype=torch.bool)
    with_it = ranks_of_positives(
        torch.cat([torch.full_like(scores[:, :1], score), scores], dim=1),
        torch.cat([column & relevant, truth], dim=1),
        torch.cat([column, junk], dim=1),
    )
    without = ranks_of_positives(*ranking)
    for measure in MEASURES.values():
        torch.testing.assert_close(measure(with_it, cutoff), measure(without, cutoff), rtol=0, atol=0, equal_nan=True)


@settings(deadline=None)  # times differ on a busy machine
@given(rankings(), st.sampled_from(CUTOFFS), st.randoms(use_true_random=False))
def test_neither_the_order_of_images_nor_the_scale_of_scores_matters(ranking, cutoff, random):
    order = list(range(ranking[0].shape[1]))
    random.shuffle(order)
    scores, relevant, junk = (part[:, order] for part in ranking)
    moved = ranks_of_positives(scores.exp() - 3, relevant, junk)
    for measure in MEASURES.values():
        torch.testing.assert_close(
            measure(moved, cutoff), measure(ranks_of_positives(*ranking), cutoff), rtol=0, atol=0, equal_nan=True
        )


@settings(deadline=None)  # times differ on a busy machine
@given(rankings())
def test_a_perfect_ranking_earns_one_at_every_cut_off(ranking):
    _, relevant, junk = ranking
    ranks = ranks_of_positives(relevant.double() - torch.arange(relevant.shape[1]) * 1e-3, relevant, junk)
    for cutoff in CUTOFFS:
        for measure in MEASURES.values():
            value = measure(ranks, cutoff)
            assert value[ranks.positives > 0].tolist() == pytest.approx([1.0] * int((ranks.positives > 0).sum()))


def test_blocks_change_nothing(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    scores, chance = torch.randn(7, 30, generator=rng), torch.rand(7, 30, generator=rng)
    relevant, junk = chance < torch.linspace(0, 0.9, 7)[:, None], torch.rand(7, 30, generator=rng) < 0.2
    whole = ranks_of_positives(scores, relevant, junk)
    monkeypatch.setattr(module, "BLOCK", 61)
    parts = ranks_of_positives(scores, relevant, junk)
    for measure in MEASURES.values():
        torch.testing.assert_close(measure(parts, 5), measure(whole, 5), rtol=0, atol=0, equal_nan=True)


def test_five_hundred_queries_of_a_database_of_thirty_thousand_images():
    """With a hundred positives each, put first by one half of the queries and last by the other."""
    relevant = torch.zeros(500, 30_000, dtype=torch.bool)
    relevant[:, :100] = True
    scores = -torch.arange(30_000.0) * torch.tensor([1.0, -1.0]).repeat(250)[:, None]
    ranks = ranks_of_positives(scores, relevant, None)
    assert trapezoid_average_precision(ranks, 50).tolist() == [1.0, 0.0] * 250


def test_recall_at_by_hand():
    """Wanted are second and fourth of four, then none, then one of two equal scores, which share the worse rank."""
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0], [5.0, 5.0, 0.0, -1.0]])
    relevant = torch.tensor([[False, True, False, True], [False] * 4, [True, False, False, False]])
    ranks = ranks_of_positives(scores, relevant)
    for k, wanted in ((1, [0, -1, 0]), (2, [1, -1, 1]), (4, [1, -1, 1])):
        assert recall_at(ranks, k).nan_to_num(-1).tolist() == wanted
    ignored = torch.tensor([[True, False, False, False]] * 3)
    assert recall_at(ranks_of_positives(scores, relevant, ignored), 1).nan_to_num(-1).tolist() == [1, -1, -1]
    with pytest.raises(ValueError, match="first image"):
        recall_at(ranks, 0)
