import math

import pytest
import torch
from pytorch_metric_learning import distances, losses, reducers
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.descriptors.pooling import generalised_mean
from seekloop.training.contrastive import Contrastive, Pool, contrastive, pooled, triplet


def unit(count, dim=6, seed=0):
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_contrastive_by_hand():
    """On the unit circle at 0, 60 and 90 degrees: distances 1 and sqrt 2; margin 1.2. Halves of squares.

    Matching: 1 / 2 and 1. Not matching: (1.2 - 1) ** 2 / 2 = 0.02, and 0 beyond the margin.
    """
    east = torch.tensor([[1.0, 0.0]])
    others = torch.tensor([[0.5, 3**0.5 / 2], [0.0, 1.0]])
    both = east.expand(2, 2)
    yes, no = torch.tensor([True, True]), torch.tensor([False, False])
    torch.testing.assert_close(contrastive(both, others, yes, 1.2), torch.tensor([0.5, 1.0]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(contrastive(both, others, no, 1.2), torch.tensor([0.02, 0.0]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("margin", [0.7, 1.3])
def test_contrastive_against_pytorch_metric_learning(margin):
    """Theirs is not squared; ours is half of its square."""
    first, second = unit(40), unit(40, seed=1)
    matching = torch.arange(40) % 3 == 0
    theirs = losses.ContrastiveLoss(
        pos_margin=0.0,
        neg_margin=margin,
        distance=distances.LpDistance(normalize_embeddings=False, power=1),
        reducer=reducers.DoNothingReducer(),
    )
    rows = torch.arange(40)
    pairs = (rows[matching], rows[matching], rows[~matching], rows[~matching])
    found = theirs(first, indices_tuple=pairs, ref_emb=second, ref_labels=rows)
    want = torch.empty(40)
    want[matching] = found["pos_loss"]["losses"] ** 2 / 2
    want[~matching] = found["neg_loss"]["losses"] ** 2 / 2
    torch.testing.assert_close(contrastive(first, second, matching, margin), want, rtol=1e-4, atol=1e-5)


def test_triplet_by_hand_and_against_pytorch_metric_learning():
    """Squared distances 1 and 2 with margin 0.1: nothing; the other way round: 1.1."""
    east, near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 3**0.5 / 2]]), torch.tensor([[0.0, 1.0]])
    assert triplet(east, near, far, 0.1).item() == 0
    assert triplet(east, far, near, 0.1).item() == pytest.approx(1.1)
    a, p, n, rows = unit(30), unit(30, seed=1), unit(30, seed=2), torch.arange(30)
    theirs = losses.TripletMarginLoss(
        margin=0.1,
        distance=distances.LpDistance(normalize_embeddings=False, power=2),
        reducer=reducers.DoNothingReducer(),
    )
    found = theirs(a, indices_tuple=(rows, rows, rows + 30), ref_emb=torch.cat([p, n]), ref_labels=torch.zeros(60))[
        "loss"
    ]["losses"]
    torch.testing.assert_close(triplet(a, p, n, 0.1), found, rtol=1e-4, atol=1e-5)


def test_equal_vectors_have_a_finite_gradient():
    first = unit(2).requires_grad_()
    contrastive(first, first.detach(), torch.tensor([True, False]), 0.7).sum().backward()
    assert bool(first.grad.isfinite().all())


@pytest.mark.parametrize("pooling", ["gem", "max"])
def test_a_channel_is_pooled_over_its_own_mask(pooling):
    """Two channels, two cells: of the first only cell 1 counts, of the second both. GeM with p = 2: (2, sqrt 12.5)."""
    patches = torch.tensor([[[[9.0, 3.0], [2.0, 4.0]]]])
    masks = torch.tensor([[[[False, True], [True, True]]]])
    want = torch.tensor([[2.0, 4.0 if pooling == "max" else 12.5**0.5]])
    found = pooled(patches, masks, pooling, torch.tensor(2.0))
    torch.testing.assert_close(found, F.normalize(want, dim=1))


def test_without_masks_it_is_the_ordinary_descriptor():
    patches = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    everywhere = torch.ones_like(patches, dtype=torch.bool)
    for pooling, plain in (("gem", generalised_mean(patches, 3.0, 1e-6)), ("max", patches.amax(dim=(1, 2)))):
        for masks in (None, everywhere):
            torch.testing.assert_close(pooled(patches, masks, pooling, torch.tensor(3.0)), F.normalize(plain, dim=1))


def shown(labels):
    """Classes of each image; -1 shows none."""
    table = torch.zeros(len(labels), max(labels) + 1, dtype=torch.bool)
    for image, label in enumerate(labels):
        if label >= 0:
            table[image, label] = True
    return table


def test_the_hardest_negatives_are_of_different_classes_by_hand():
    """Query 0 of class 0. By cosine the others are 2 (class 1), 3 (class 1), 1 (class 0), 5 (none), 6 (none), 4 (2).

    1 matches, 3 is of a class that is taken; images without a class never are.
    """
    angles = torch.tensor([0.0, 30.0, 10.0, 20.0, 80.0, 40.0, 50.0]).deg2rad()
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    pool = Pool(torch.arange(7), shown([0, 0, 1, 1, 2, -1, -1]))
    assert pool.tuples(vectors, [(0, 1)], 3) == [(0, 1, [2, 5, 6])]
    assert pool.tuples(vectors, [(0, 1)], 9) == [(0, 1, [2, 5, 6, 4])]
    some = Pool(torch.tensor([0, 1, 3, 4]), pool.shown)
    assert some.tuples(vectors[some.images], [(0, 1)], 2) == [(0, 1, [3, 4])]


def test_pairs_are_drawn_among_images_that_match():
    table = shown([0, 0, 1, 2, 2, 2, -1, -1])
    drawn = [Pool.draw(table, Contrastive(queries=4, pool=3), torch.Generator().manual_seed(at)) for at in range(30)]
    for pool, pairs in drawn:
        assert len(pairs) == 4
        assert len({query for query, _ in pairs}) == 4
        for query, positive in pairs:
            assert query != positive
            assert bool((table[query] & table[positive]).any())
            assert {query, positive} <= set(pool.images.tolist())
        assert pool.images.tolist() == sorted(set(pool.images.tolist()))
    assert len({str(pairs) for _, pairs in drawn}) > 5
    again = Pool.draw(table, Contrastive(queries=4, pool=3), torch.Generator().manual_seed(0))
    assert again[1] == drawn[0][1]


def test_map_of_the_pool_by_hand():
    """Images 0 and 1 match, 2 does not. Seen from 0 it comes first (1 / 2), seen from 1 last (1)."""
    angles = torch.tensor([0.0, 50.0, -10.0]).deg2rad()
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert Pool(torch.arange(3), shown([0, 0, 1])).mean_average_precision(vectors) == pytest.approx(0.75)
    assert math.isnan(Pool(torch.arange(2), shown([0, 1])).mean_average_precision(vectors[:2]))


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"lr": -1.0}, {"loss": "hinge"}, {"negatives": 0}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Contrastive(**wrong)
