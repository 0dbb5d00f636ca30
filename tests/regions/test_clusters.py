import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Regions
from seekloop.descriptors.roi import FromRegions
from seekloop.regions.clusters import Clusters, spherical_kmeans
from seekloop.regions.segments import Detector


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def angles(*degrees):
    """Unit vectors of the plane."""
    turned = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([turned.cos(), turned.sin()], dim=1).float()


def masks_of(tokens, clusters, **changes):
    return Clusters(clusters, **changes)(tokens, rng()).masks.flatten(1).int().tolist()


@pytest.mark.parametrize("method", ["kmeans", "agglomerative"])
def test_three_directions_by_hand(method):
    """0 and 8 degrees, 90, and 180 to 200; lengths are of no account. The largest comes first, wherever it lies."""
    tokens = angles(180, 0, 190, 90, 200, 8)
    tokens = (tokens * torch.tensor([[1.0], [9.0], [1.0], [5.0], [1.0], [0.1]])).reshape(2, 3, 2)
    assert masks_of(tokens, 3, method=method) == [[1, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0]]
    assert isinstance(Clusters(), Detector)


def test_joining_goes_by_the_mean_cosine_and_not_by_the_nearest_pair_by_hand():
    """Angles 0, 40, 75, 125. 40 and 75 join. Then their mean cosine with 0 is (.766 + .259) / 2 = .51, and with 125
    (.087 + .643) / 2 = .37; the nearest pair alone, 75 and 125, is at .64, 0 and 40 at .77."""
    assert masks_of(angles(0, 40, 75, 125).reshape(1, 4, 2), 2, method="agglomerative") == [[1, 1, 1, 0], [0, 0, 0, 1]]
    """And 0, 50, 75, 112: 50 and 75 join; 112 is then at (.469 + .799) / 2 = .63, 0 at (.643 + .259) / 2 = .45."""
    assert masks_of(angles(0, 50, 75, 112).reshape(1, 4, 2), 2, method="agglomerative") == [[0, 1, 1, 1], [1, 0, 0, 0]]


def test_a_token_that_occurs_often_counts_as_often_by_hand(monkeypatch):
    """Nine tokens at 0 degrees, one at 30, one at 55; centres start at 30 and 55.

    The centre of the ten lies at 2.9 degrees, 27 from the one at 30, which 55 is nearer to. Counted once each, 0 and 30
    have their centre at 15, and stay together.
    """
    monkeypatch.setattr("seekloop.regions.clusters.start", lambda *_: [1, 2])
    units = angles(0, 30, 55)
    assert spherical_kmeans(units, torch.tensor([9, 1, 1]), 2, 50, rng()).tolist() == [0, 1, 1]
    assert spherical_kmeans(units, torch.tensor([1, 1, 1]), 2, 50, rng()).tolist() == [0, 0, 1]


tokens_of_images = st.integers(0, 10_000).map(
    lambda seed: torch.randint(-2, 3, (4, 5, 3), generator=rng(seed)).float() + torch.tensor([0.0, 0.1, 2.5])
)


@settings(max_examples=40, deadline=None)
@given(tokens_of_images, st.integers(1, 25), st.sampled_from(["kmeans", "agglomerative"]))
def test_every_token_is_in_one_cluster_and_no_cluster_is_empty(tokens, clusters, method):
    found = Clusters(clusters, method)(tokens, rng())
    distinct = len(np.unique(F.normalize(tokens.reshape(-1, 3), dim=1).numpy(), axis=0))
    assert len(found.masks) == min(clusters, distinct)
    assert found.masks.sum(dim=0).eq(1).all()
    assert found.score.diff().le(0).all()
    assert found.score.sum().item() == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(tokens_of_images, st.integers(2, 8))
def test_kmeans_ends_where_no_token_is_nearer_to_another_centre(tokens, clusters):
    rows = F.normalize(tokens.reshape(-1, 3), dim=1)
    masks = Clusters(clusters)(tokens, rng()).masks.flatten(1)
    centres = F.normalize(masks.float() @ rows, dim=1)
    own = (rows @ centres.T)[masks.T]
    if masks.sum(dim=1).min() > 1:  # a lonely token may have been taken to fill a cluster
        assert (own >= (rows @ centres.T).amax(dim=1) - 1e-5).all()


class Masks:
    def __init__(self, masks):
        self.masks = masks

    def of(self, image):
        return self.masks


def described(tokens, clusters, pool="mean"):
    """Vectors of the clusters, as they are stored, of unit length."""
    found = Clusters(clusters)(tokens, rng())
    regions = Regions(found.boxes, torch.tensor([0, len(found.boxes)]), masks=Masks(found.masks))
    local = FromRegions(pool, inside="mask").local(tokens[None], torch.tensor([0]), regions)
    return F.normalize(local, dim=1)


@settings(max_examples=30, deadline=None)
@given(tokens_of_images, st.sampled_from(["mean", "medoid"]))
def test_as_many_clusters_as_tokens_answer_like_the_dense_maximum_and_one_like_the_mean(tokens, pool):
    """Without the global vector, with one centre per distinct token: the conditions of both statements."""
    tokens = F.normalize(tokens, dim=2)
    text = F.normalize(torch.randn(1, 3, generator=rng(3)), dim=1)
    dense = (text @ tokens.reshape(-1, 3).T).max()
    for clusters in (20, 1000):
        torch.testing.assert_close((text @ described(tokens, clusters, pool).T).max(), dense, atol=1e-5, rtol=0)
    mean = F.normalize(tokens.reshape(-1, 3).mean(dim=0), dim=0)
    torch.testing.assert_close(described(tokens, 1)[0], mean, atol=1e-5, rtol=0)


def test_a_mean_may_answer_better_than_any_token_by_hand():
    """Texts at 30 degrees between tokens at 0 and 60: their mean is the text itself. So no upper bound is claimed."""
    text, tokens = angles(30), angles(0, 60).reshape(1, 2, 2)
    assert (text @ described(tokens, 1).T).item() == pytest.approx(1)
    assert (text @ tokens[0].T).max().item() == pytest.approx(0.75**0.5)


def test_draws_are_those_of_the_generator():
    tokens = torch.randn(8, 8, 4, generator=rng(2))
    first, again, other = (Clusters(6)(tokens, rng(seed)).masks for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match="clusters=0"):
        Clusters(0)
    with pytest.raises(ValueError, match="a token is not finite"):
        Clusters()(torch.full((2, 2, 3), torch.nan), rng())
