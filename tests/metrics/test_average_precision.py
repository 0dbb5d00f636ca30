import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from seekloop.metrics import ranks
from seekloop.metrics.average_precision import average_precision, stratified_average_precision


def test_by_hand():
    """Relevant at ranks 1 and 3: (1/1 + 2/3) / 2. Counting only scores above 0 would give 1, the trapezoid 0.79."""
    value = average_precision(torch.tensor([[0.9, 0.1, -0.2, -0.7]]), torch.tensor([[True, False, True, False]]), None)
    torch.testing.assert_close(value, torch.tensor([5 / 6], dtype=torch.float64))


def test_ties_share_the_worst_rank_by_hand():
    """Order: + | + - tied | - + tied. Ranks of the relevant: 1, 3, 5 with 1, 2, 3 hits: (1 + 2/3 + 3/5) / 3.

    By position the tied pairs would give ranks 1, 2, 5 or 1, 3, 4; the mean rank 1, 2.5, 4.5.
    """
    scores = torch.tensor([[2.0, 0, 0, -1, -1]])
    value = average_precision(scores, torch.tensor([[True, True, False, False, True]]), None)
    torch.testing.assert_close(value, torch.tensor([(1 + 2 / 3 + 3 / 5) / 3], dtype=torch.float64))


def test_a_constant_ranking_earns_the_base_rate():
    value = average_precision(torch.zeros(1, 4), torch.tensor([[True, False, False, False]]), None)
    assert value.item() == 0.25


def test_unreadable_images_come_last_even_when_relevant():
    scores = torch.tensor([[-torch.inf, 1.0, -5.0, -torch.inf]])
    value = average_precision(scores, torch.tensor([[True, True, False, False]]), None)
    torch.testing.assert_close(value, torch.tensor([(1 + 2 / 4) / 2], dtype=torch.float64))


def test_ignored_images_by_hand():
    """Out go the 1st (irrelevant) and the 3rd (relevant): what is left is - + : 1/2."""
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    relevant = torch.tensor([[False, False, True, True]])
    ignored = torch.tensor([[True, False, True, False]])
    assert average_precision(scores, relevant, ignored).item() == 0.5


def test_nan_where_every_relevant_image_is_ignored():
    relevant = torch.tensor([[True, False]])
    assert average_precision(torch.zeros(1, 2), relevant, relevant).isnan().all()


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN, for instance of query 1"):
        average_precision(torch.tensor([[0.0], [torch.nan]]), torch.tensor([[True], [True]]), None)


def test_nothing_relevant_is_refused():
    with pytest.raises(ValueError, match="no image is relevant to query 1"):
        average_precision(torch.zeros(2, 1), torch.tensor([[True], [False]]), None)


def test_strata_by_hand():
    """Small at ranks 1 and 4, large at rank 2, an irrelevant one at rank 3; no medium one.

    All: (1 + 1 + 3/4) / 3. Small: without the large one, ranks 1 and 3: (1 + 2/3) / 2. Large: without the small ones,
    rank 1.
    """
    value = stratified_average_precision(torch.tensor([[4.0, 3, 2, 1]]), torch.tensor([[0, 2, -1, 0]]), 3)
    expected = torch.tensor([[11 / 12, 5 / 6, torch.nan, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(value, expected, equal_nan=True)


@st.composite
def rankings(draw):
    """Scores with ties, both signs and minus infinity; every query has something relevant; some images ignored."""
    q, n = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    level = st.sampled_from([-torch.inf, -3.0, -1.5, -0.25, 0.0, 0.5, 2.0])
    rows = st.lists(level, min_size=n, max_size=n)
    masks = st.lists(st.booleans(), min_size=n, max_size=n)
    scores = draw(st.lists(rows, min_size=q, max_size=q))
    relevant = draw(st.lists(masks.filter(any), min_size=q, max_size=q))
    ignored = draw(st.lists(masks, min_size=q, max_size=q))
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(relevant), torch.tensor(ignored)


@settings(deadline=None)
@given(rankings())
def test_equals_scikit_learn_on_what_is_not_ignored(ranking):
    """scikit-learn sweeps thresholds, which is the same rule for ties."""
    scores, relevant, ignored = ranking
    finite = scores.clamp(min=-99)  # it refuses infinities, and only order matters
    expected = [
        average_precision_score(r[~i].numpy(), s[~i].numpy()) if (r & ~i).any() else np.nan
        for s, r, i in zip(finite, relevant, ignored, strict=True)
    ]
    np.testing.assert_allclose(average_precision(scores, relevant, ignored).numpy(), expected, rtol=1e-12)


@settings(deadline=None)
@given(rankings())
def test_strata_are_rankings_without_the_others(ranking):
    scores, relevant, second = ranking
    strata = torch.where(relevant, second.long(), -1)
    found = stratified_average_precision(scores, strata, 2)
    apart = [average_precision(scores, relevant, relevant & (strata != level)) for level in range(2)]
    expected = torch.stack([average_precision(scores, relevant, None), *apart], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@settings(deadline=None)
@given(rankings())
def test_only_the_order_of_scores_matters(ranking):
    scores, relevant, ignored = ranking
    moved = average_precision(scores.exp() - 3, relevant, ignored)
    torch.testing.assert_close(moved, average_precision(scores, relevant, ignored), rtol=0, atol=0, equal_nan=True)


@settings(deadline=None)
@given(rankings(), st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(ranking, random):
    order = list(range(ranking[0].shape[1]))
    random.shuffle(order)
    shuffled = average_precision(*(part[:, order] for part in ranking))
    torch.testing.assert_close(shuffled, average_precision(*ranking), rtol=0, atol=0, equal_nan=True)


@settings(deadline=None)
@given(rankings(), st.sampled_from([-torch.inf, -9.0, 0.0, 9.0]), st.booleans())
def test_adding_junk_anywhere_changes_nothing(ranking, score, relevant):
    scores, truth, ignored = ranking
    column = torch.ones(len(scores), 1, dtype=torch.bool)
    more = average_precision(
        torch.cat([column * score if score else column * 0.0, scores], dim=1),
        torch.cat([column & relevant, truth], dim=1),
        torch.cat([column, ignored], dim=1),
    )
    torch.testing.assert_close(more, average_precision(*ranking), rtol=1e-14, atol=0, equal_nan=True)


def test_blocks_change_nothing(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    scores, relevant = torch.randn(7, 30, generator=rng), torch.rand(7, 30, generator=rng) < 0.4
    ignored = torch.rand(7, 30, generator=rng) < 0.2
    whole = average_precision(scores, relevant, ignored)
    monkeypatch.setattr(ranks, "BLOCK", 61)
    torch.testing.assert_close(average_precision(scores, relevant, ignored), whole, rtol=1e-14, atol=0)
