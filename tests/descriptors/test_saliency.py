"""Feature saliency and object saliency: by hand, against the formulas, and their laws."""

import math

import pytest
import torch
from torch.nn import functional as F

from seekloop.contracts.discovery import RegionGraph
from seekloop.contracts.errors import ConfigError
from seekloop.descriptors.saliency import (
    ObjectSaliency,
    channel_weights,
    feature_saliency,
    normalised,
    object_saliency,
    patches,
)


def activations(seed=0, size=(5, 7, 6)):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(size, generator=rng) * (torch.rand(size, generator=rng) > 0.5)


def slow_saliency(tokens, eps):
    """Equations 5.1 and 5.2, cell by cell."""
    h, w, d = tokens.shape
    a = [sum(float(tokens[r, c, j] != 0) for r in range(h) for c in range(w)) / (h * w) for j in range(d)]
    b = [math.log(sum(one + eps for one in a) / (a[j] + eps)) for j in range(d)]
    sums = [[sum(b[j] * float(tokens[r, c, j]) for j in range(d)) for c in range(w)] for r in range(h)]
    norm = math.sqrt(sum(value**2 for row in sums for value in row))
    return torch.tensor([[math.sqrt(value / norm) for value in row] for row in sums])


def test_two_channels_by_hand():
    """Active in 2 and 1 of 2 cells: weights log 1.5 and log 3. F = log 1.5, log 1.5 + 2 log 3 = .405, 2.603.

    Weights from means instead of shares (1 and 1) would be equal; without the logarithm F = 1.5, 7.5.
    """
    tokens = torch.tensor([[[1.0, 0.0], [1.0, 2.0]]])
    assert channel_weights(tokens).tolist() == pytest.approx([math.log(1.5), math.log(3)], abs=1e-5)
    sums = [math.log(1.5), math.log(1.5) + 2 * math.log(3)]
    wanted = [math.sqrt(one / math.hypot(*sums)) for one in sums]
    assert feature_saliency(tokens)[0].tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_feature_saliency_is_that_of_the_equations(seed):
    tokens = activations(seed)
    torch.testing.assert_close(feature_saliency(tokens), slow_saliency(tokens, 1e-6))


def test_laws_of_feature_saliency():
    """Weights are not negative; the scale of the map and the order of its channels do not matter; a dead one adds 0."""
    tokens = activations()
    assert (channel_weights(tokens) >= 0).all()
    torch.testing.assert_close(feature_saliency(7 * tokens), feature_saliency(tokens))
    torch.testing.assert_close(feature_saliency(tokens.flip(2)), feature_saliency(tokens))
    dead = torch.cat([tokens, torch.zeros(5, 7, 1)], dim=2)
    torch.testing.assert_close(feature_saliency(dead), feature_saliency(tokens), atol=1e-5, rtol=1e-4)
    assert float((feature_saliency(tokens) ** 4).sum()) == pytest.approx(1, abs=1e-5)


def test_nothing_active_and_one_channel_give_zeros():
    assert feature_saliency(torch.zeros(3, 4, 5)).equal(torch.zeros(3, 4))
    assert feature_saliency(-torch.rand(3, 4, 5)).equal(torch.zeros(3, 4))
    assert feature_saliency(torch.rand(3, 4, 1)).abs().max() < 1e-3


def test_normalisations_by_hand():
    """3 and 4 have the length 5; four cells of 1: length 2, root .707, and 1 by area whatever the size."""
    assert normalised(torch.tensor([[3.0, 4.0]]), "crow")[0].tolist() == pytest.approx([0.6**0.5, 0.8**0.5])
    assert normalised(torch.ones(2, 2), "crow").unique().tolist() == pytest.approx([0.5**0.5])
    for size in ((2, 2), (3, 5)):
        torch.testing.assert_close(normalised(torch.ones(size), "area"), torch.ones(size))
    assert normalised(torch.tensor([[1.0, 4.0]]), "maximum").tolist() == [[0.25, 1.0]]
    assert normalised(torch.tensor([[1.0, 4.0]]), "none").tolist() == [[1.0, 4.0]]
    for how in ("crow", "area", "maximum", "none"):
        assert normalised(torch.zeros(2, 2), how).equal(torch.zeros(2, 2))


@pytest.mark.parametrize(("side", "pool"), [(1, "gem"), (3, "gem"), (5, "gem"), (3, "max")])
def test_patches_are_pooled_cell_by_cell_and_cut_at_the_edges(side, pool):
    tokens, half = activations(), side // 2
    found = patches(tokens, side, pool, 3.0).reshape(5, 7, 6)
    for r in range(5):
        for c in range(7):
            cut = tokens[max(r - half, 0) : r + half + 1, max(c - half, 0) : c + half + 1].flatten(0, 1)
            wanted = cut.amax(dim=0) if pool == "max" else (cut**3).mean(dim=0) ** (1 / 3)
            torch.testing.assert_close(found[r, c], wanted)


def test_object_saliency_of_one_cell_by_hand():
    """.5^2 (1 * .2^2 * 10 + .5 * .4^2 * 1) = .25 (.4 + .08) = .12. Without the exponent of f it would be .55."""
    near = torch.tensor([[1.0, 0.5]]), torch.tensor([[0.2, 0.4]]), torch.tensor([[10.0, 1.0]])
    assert float(object_saliency(torch.tensor([0.5]), *near, 2.0)) == pytest.approx(0.12)


def graph(seed=0, vertices=9, channels=6, dims=4):
    rng = torch.Generator().manual_seed(seed)
    return RegionGraph(
        F.normalize(torch.randn(vertices, dims, generator=rng), dim=1),
        torch.rand(vertices, generator=rng),
        torch.rand(vertices, generator=rng),
        torch.arange(vertices) // 3,
        torch.rand(vertices, 4, generator=rng),
        torch.randn(channels, generator=rng).double() / 5,
        torch.randn(channels, dims, generator=rng).double(),
    )


@pytest.mark.parametrize(
    "changes", [{}, {"patch": 1, "nearest": 2}, {"similarity": "cosine", "exponent": 1.0}, {"own": False}]
)
def test_object_saliency_is_that_of_the_equation(changes):
    """Equation 5.14, cell by cell."""
    how, tokens, world = ObjectSaliency(normalisation="none", **changes), activations(4), graph()
    feature = feature_saliency(tokens)
    found = how(tokens, feature, world, image=1)
    pooled = patches(tokens, how.patch).reshape(5, 7, 6)
    for r in range(5):
        for c in range(7):
            z = world.axes.T @ (F.normalize(pooled[r, c].double(), dim=0) - world.mean)
            cosines = (world.vectors.double() @ F.normalize(z, dim=0)).tolist()
            allowed = [i for i in range(9) if how.own or world.image[i] != 1]
            near = sorted(allowed, key=lambda i: -cosines[i])[: how.nearest]
            power = 1 if how.similarity == "cosine" else 3
            total = sum(
                max(cosines[i], 0) ** power * float(world.saliency[i]) ** how.exponent * float(world.centrality[i])
                for i in near
            )
            assert float(found[r, c]) == pytest.approx(float(feature[r, c]) ** how.exponent * total, rel=1e-3, abs=1e-7)


def test_an_image_without_activation_and_a_collection_without_regions_give_zeros():
    how, tokens = ObjectSaliency(), activations()
    assert how(torch.zeros(5, 7, 6), torch.zeros(5, 7), graph()).equal(torch.zeros(5, 7))
    assert how(tokens, feature_saliency(tokens), graph(vertices=0)).equal(torch.zeros(5, 7))


def test_blocks_change_nothing(monkeypatch):
    tokens = activations()
    whole = ObjectSaliency()(tokens, feature_saliency(tokens), graph())
    monkeypatch.setattr("seekloop.descriptors.saliency._PRODUCTS", 20)
    torch.testing.assert_close(ObjectSaliency()(tokens, feature_saliency(tokens), graph()), whole)


def test_what_recurs_counts_more_than_what_is_only_salient():
    """Two equal spots of different channels; a central region looks like the second: only that one remains."""
    tokens = torch.zeros(9, 15, 3)
    tokens[..., 0] = 0.1
    tokens[3:6, 2:5, 1] = tokens[3:6, 10:13, 2] = 1.0
    world = RegionGraph(
        F.normalize(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), dim=1),
        torch.tensor([0.5, 0.5]),
        torch.tensor([0.01, 1.0]),
        torch.tensor([0, 1]),
        torch.zeros(2, 4),
        torch.zeros(3).double(),
        torch.eye(3).double(),
    )
    feature = feature_saliency(tokens)
    assert float(feature[4, 3]) == pytest.approx(float(feature[4, 11]))
    found = ObjectSaliency()(tokens, feature, world)
    assert float(found[4, 11]) == 1.0
    assert float(found[4, 3]) < 0.05


def test_an_even_patch_is_refused():
    with pytest.raises(ConfigError, match=r"^ObjectSaliency: patch=4 .*middle"):
        ObjectSaliency(patch=4)
