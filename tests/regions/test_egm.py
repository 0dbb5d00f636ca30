"""The expanding Gaussian mixture: closed forms, a slow transcription of its three steps, planted objects, laws."""

import numpy as np
import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.regions.egm import NARROWEST, Egm, Mixture, maximised, purged
from tests.regions.letters import configured


def normal(x, mean, variance):
    """Density of a normal distribution with diagonal covariance."""
    x, mean, variance = np.asarray(x, float), np.asarray(mean, float), np.asarray(variance, float)
    return np.exp(-0.5 * ((x - mean) ** 2 / variance).sum()) / (2 * np.pi * np.sqrt(variance.prod()))


def slow_step(mixture, samples, values, weights, sigma):
    """Equations 5.5 to 5.8, sample by sample and component by component."""
    gamma = np.zeros((len(samples), len(mixture)))
    for i, (p, value) in enumerate(zip(samples, values, strict=True)):
        for k in range(len(mixture)):
            joint = sigma**2 + mixture.variance[k]
            gamma[i, k] = value * mixture.weight[k] * normal(p, mixture.mean[k], joint)
        gamma[i] /= gamma[i].sum()
    weighted = weights[:, None] * gamma
    count = weighted.sum(axis=0)
    mean = np.array(
        [sum(weighted[i, k] * samples[i] for i in range(len(samples))) / count[k] for k in range(len(count))]
    )
    variance = np.array(
        [
            sum(weighted[i, k] * (samples[i] - mean[k]) ** 2 for i in range(len(samples))) / count[k]
            for k in range(len(count))
        ]
    )
    return Mixture(count / count.sum(), mean, np.maximum(variance, NARROWEST))


def slow_purge(mixture, overlap):
    """By descending weight, keep what is its own for at least so much."""

    def product(k, j):
        return (
            mixture.weight[k]
            * mixture.weight[j]
            * normal(mixture.mean[k], mixture.mean[j], mixture.variance[k] + mixture.variance[j])
        )

    kept = []
    for k in sorted(range(len(mixture)), key=lambda k: (-mixture.weight[k], k)):
        own = product(k, k)
        if own / (own + sum(product(k, j) for j in kept)) >= overlap:
            kept.append(k)
    return sorted(kept)


def sparse(seed=0, rows=7, columns=9):
    rng = np.random.default_rng(seed)
    return rng.random((rows, columns)) * (rng.random((rows, columns)) > 0.4)


@pytest.mark.parametrize("update", ["weighted", "printed"])
def test_iterations_are_those_of_the_equations(update):
    saliency, sigma = sparse(), 1.3
    steps = list(Egm(threshold=0.1, power=2.0, sigma=sigma, update=update, iterations=6).evolution(saliency))
    cut = np.where(saliency < 0.1, 0, saliency) ** 2
    samples, values = np.argwhere(cut > 0).astype(float), cut[cut > 0]
    weights = len(values) * values / values.sum() if update == "weighted" else np.ones(len(values))
    mixture = Mixture(values / values.sum(), samples, np.full(samples.shape, sigma**2))
    assert np.allclose(steps[0].weight, mixture.weight)
    assert np.array_equal(steps[0].mean, samples)
    for step in steps[1:]:
        mixture = slow_step(mixture, samples, values, weights, sigma)
        kept = slow_purge(mixture, 0.5)
        mixture = Mixture(mixture.weight[kept] / mixture.weight[kept].sum(), mixture.mean[kept], mixture.variance[kept])
        for name in ("weight", "mean", "variance"):
            assert np.allclose(getattr(step, name), getattr(mixture, name), atol=1e-9), name
    assert 1 < len(mixture) < len(samples) / 3


def test_one_step_with_one_component_by_hand():
    """Values 1 and 3 in columns 0 and 4: everything belongs to the component, mean 3, variance (1 * 9 + 3 * 1) / 4 = 3.

    Unweighted it is mean 2, variance 4; weighted counts with unweighted sums give (0 + 4) / 4 = 1 for the mean.
    """
    start = Mixture(np.ones(1), np.array([[0.0, 1.0]]), np.ones((1, 2)))
    weights = np.array([[0.5, 0, 0, 0, 1.5]])  # w_i = 2 * S_i / 4
    moved = maximised(start, weights, 2.5)
    assert moved.mean.tolist() == [[0.0, 3.0]]
    assert moved.variance[0] == pytest.approx([NARROWEST, 3.0])
    printed = maximised(start, np.array([[1.0, 0, 0, 0, 1.0]]), 2.5)
    assert (printed.mean[0, 1], printed.variance[0, 1]) == (2.0, 4.0)


def test_what_is_purged_by_hand():
    """Weights .5, .3, .2 with variance 1: the second lies at the first's place: .3 / (.3 + .5) < .5; the third far off.

    Judged against all others instead of those kept, the second would purge the third, if it were there.
    """
    mean = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 20.0]])
    assert purged(Mixture(np.array([0.5, 0.3, 0.2]), mean, np.ones((3, 2))), 0.5).tolist() == [True, False, True]
    chain = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])  # e^(-1/4) = .78 to the next, e^-1 = .37 to the one after
    assert purged(Mixture(np.array([0.4, 0.35, 0.25]), chain, np.ones((3, 2))), 0.5).tolist() == [True, True, False]
    # third against the first alone: .25 / (.25 + .4 * .37) = .63
    assert purged(Mixture(np.array([0.4, 0.2, 0.25]), chain, np.ones((3, 2))), 0.5).tolist() == [True, False, True]


def test_light_components_are_no_regions_but_the_heaviest_is():
    """Two cells far apart: weights 2/3 and 1/3."""
    saliency = torch.zeros(1, 60)
    saliency[0, 0], saliency[0, 59] = 0.5, 1.0
    assert [len(Egm(power=1.0, least=least).regions_of(saliency).masks) for least in (0.3, 0.4, 0.9)] == [2, 1, 1]
    assert Egm(power=1.0, least=0.9).regions_of(saliency).masks[0, 0].nonzero().tolist() == [[59]]


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
def test_the_rectangle_of_a_uniform_one_is_itself(size):
    """Cells a to a + n - 1 have the variance (n^2 - 1) / 12, whose rectangle holds these n cells and no other."""
    variance = max((size**2 - 1) / 12, NARROWEST)
    mixture = Mixture(np.ones(1), np.array([[2 + (size - 1) / 2, 1.0]]), np.array([[variance, NARROWEST]]))
    mask = mixture.masks(12, 4)[0]
    assert mask.any(axis=1).nonzero()[0].tolist() == list(range(2, 2 + size))
    assert mask.any(axis=0).nonzero()[0].tolist() == [1]


def planted(rows=40, columns=50, objects=((8, 10), (30, 12), (20, 38))):
    """Three objects on a weak ground."""
    y, x = np.mgrid[:rows, :columns]
    ground = 0.05 + 0.02 * np.random.default_rng(3).random((rows, columns))
    return ground + sum(0.3 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 18) for r, c in objects)


def test_planted_objects_are_found_if_samples_count_by_their_saliency():
    """As printed, the saliency cancels, and wide components tile the map."""
    *_, found = Egm().evolution(planted())
    found = found.of(found.weight > 0.05)
    assert sorted(found.mean.round().astype(int).tolist()) == [[8, 10], [20, 38], [30, 12]]
    *_, tiled = Egm(update="printed").evolution(planted())
    assert found.weight.min() > 0.3
    assert tiled.variance.min() > 3 * found.variance.max()


def test_components_only_become_fewer():
    steps = [len(step) for step in Egm().evolution(sparse(5, 20, 20) * 0.3)]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > 10 * steps[-1]


def test_turning_the_map_turns_the_regions():
    saliency = torch.from_numpy(planted()).float()
    there, turned = Egm().regions_of(saliency), Egm().regions_of(saliency.T.contiguous())
    assert turned.masks.transpose(1, 2).equal(there.masks)
    assert there.score.allclose(turned.score)


def test_the_score_is_the_mean_of_the_map_before_it_is_cut_and_raised():
    saliency = torch.full((4, 4), 0.005)
    saliency[1, 1] = 0.5
    (score,) = Egm().regions_of(saliency).score.tolist()
    mask = Egm().regions_of(saliency).masks[0]
    assert score == pytest.approx(float(saliency[mask].mean()))
    assert mask.tolist() == (saliency == 0.5).tolist()


def test_a_map_without_saliency_has_no_regions():
    for empty in (torch.zeros(5, 6), torch.full((5, 6), 0.009)):
        found = Egm().regions_of(empty)
        assert (len(found.masks), found.boxes.shape, found.affine) == (0, (0, 4), None)
        assert list(Egm().evolution(empty.double().numpy())) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3)])
def test_a_small_map_is_one_region(size):
    assert Egm().regions_of(torch.ones(size)).masks.sum() > 0
    assert len(Egm().regions_of(torch.ones(size)).masks) == 1


def test_components_out_of_reach_of_a_cell_do_no_harm():
    """With a narrow scale and two cells 400 apart all densities of the other vanish: each keeps its own."""
    saliency = torch.zeros(1, 401)
    saliency[0, 0], saliency[0, 400] = 1.0, 0.5
    found = Egm(sigma=0.5).regions_of(saliency)
    assert [mask[0].nonzero()[:, 0].tolist() for mask in found.masks] == [[0], [400]]


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_maps_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="negative or not finite"):
        Egm().regions_of(torch.tensor([[0.5, bad]]))


@pytest.mark.parametrize("wrong", [{"power": 0.0}, {"sigma": -1.0}, {"overlap": 1.5}, {"update": "other"}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="Egm"):
        Egm(**wrong)


def test_the_detector_of_the_config_finds_what_is_rare_in_its_map():
    """Channel 0 is active everywhere, channel 1 in a rectangle: that is the region."""
    tokens = torch.zeros(20, 24, 2)
    tokens[..., 0] = 1.0
    tokens[6:12, 8:18, 1] = 1.0
    found = configured("egm")(tokens, torch.Generator())
    box = found.boxes[0] * torch.tensor([24, 20, 24, 20])
    assert (box - torch.tensor([8.0, 6.0, 18.0, 12.0])).abs().max() <= 2
