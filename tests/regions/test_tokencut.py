import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.regions.graph import cosines_of, cut_vector, later_vectors, products_of, rows_of
from seekloop.regions.segments import Detector, largest_piece, piece_of
from seekloop.regions.tokencut import foreground
from tests.regions.letters import ODD, check_odd, configured, drawn, maps, planted, rng, same, spelt

SOLVERS = ["dense", "lanczos"]


def tokencut(**changed):
    return configured("tokencut", **changed)


def test_a_chain_of_four_by_hand():
    """Neighbours joined by 1: D = (1, 2, 2, 1). With v = (2, 1, -1, -2), A v = (1, 1, -1, -1) = D v / 2.

    And (2, -1, -1, 2) has A v = (-1, 1, 1, -1) = -D v / 2. Without D on the right side the first would be
    (1 + sqrt 2, 1, ...), and not divided by the root of D (2, sqrt 2, ...).
    """
    chain = np.diag(np.ones(3), 1) + np.diag(np.ones(3), -1)
    vectors = later_vectors(chain, 2, "dense", rng())
    np.testing.assert_allclose(vectors[:, 0] / vectors[1, 0], [2, 1, -1, -2], atol=1e-12)
    np.testing.assert_allclose(vectors[:, 1] / vectors[1, 1], [-2, 1, 1, -2], atol=1e-12)


def test_a_graph_that_falls_apart_is_cut_where_it_does():
    """One token alone, three together, no edge between them: degrees 1 and 3, so that 1 * v_1 + 9 * v_2 = 0.

    Two eigenvalues are 0, and any mixture with the constant vector would do as well; it is taken out.
    """
    weights = np.ones((4, 4))
    weights[0, 1:] = weights[1:, 0] = 0
    vector = later_vectors(weights, 1, "dense", rng())[:, 0]
    np.testing.assert_allclose(vector / vector[0], [1, -1 / 9, -1 / 9, -1 / 9], atol=1e-12)


def test_an_object_by_hand():
    """Twelve b, two p, and q, which is like both and lies apart; edges of 1e-5 left aside.

    Degrees 13, 3, 15. With mu = 1 - lambda: 13 mu b = 12 b + q, 3 mu p = 2 p + q, and 156 b + 6 p + 15 q = 0, from
    which 195 mu^2 - 128 mu - 8 = 0: mu = 0.7139, and (p, q, b) = (7.06, 1, -0.368). The mean is 0.714, so that q is on
    the side of p, but not in one piece with it. Of the 210 ordered pairs 12 * 11 + 2 + 2 * 14 are alike.
    """
    tokens = spelt("bbbbb", "bppbq", "bbbbb")
    vector = cut_vector((cosines_of(rows_of(tokens, centre=False)) > 0.2).numpy(), "dense", rng())
    np.testing.assert_allclose(vector[[6, 7, 0]] / vector[9], [7.06, 7.06, -0.368], rtol=2e-3)
    found = tokencut()(tokens, rng())
    assert drawn(found) == [[".....", ".##..", "....."]]
    assert found.affine == pytest.approx((12 * 11 + 2 + 2 * 14) / 210)
    assert tokencut(tau=0.0)(tokens, rng()).affine == found.affine  # a cosine of 0 is not above 0


def test_the_cut_is_at_the_mean_and_not_at_zero():
    """The mean of (5, 1, -1, 1) is 1.5; the mean of (-5, -1, 1, -1) has the same side, the seed's."""
    for sign in (1, -1):
        side, seed = foreground(sign * np.array([5.0, 1.0, -1.0, 1.0]))
        assert side.tolist() == [True, False, False, False]
        assert seed == 0


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=20).filter(any))
def test_the_sign_of_the_eigenvector_makes_no_difference(entries):
    vector = np.array(entries, dtype=float)
    (side, seed), (other, again) = foreground(vector), foreground(-vector)
    assert np.array_equal(side, other)
    assert seed == again
    assert abs(vector[seed]) == np.abs(vector).max()
    assert side[seed] or np.ptp(vector) == 0


@pytest.mark.parametrize("noise", [0.0, 1e-9, -1e-9])
def test_entries_equal_up_to_rounding_are_equal(noise):
    """(3, 0, -3, -3, 3): the first 3 is the seed, whichever rounding made largest; the 0 is the mean, and not above."""
    vector = np.array([3.0, 0.0, -3.0, -3.0, 3.0]) + noise * np.array([-1.0, 1.0, 2.0, -2.0, 1.0])
    for sign in (1, -1):
        side, seed = foreground(sign * vector)
        assert side.tolist() == [True, False, False, False, True]
        assert seed == 0


@pytest.mark.parametrize("name", ["tokencut", "maskcut"])
def test_solvers_agree_on_a_map_that_is_its_own_mirror_image(name):
    """A chain of directions 40 degrees apart: the second eigenvector is odd, so that both ends are farthest from 0."""
    angle = torch.deg2rad(torch.arange(80) * 12.0 / 8)
    tokens = torch.stack([angle.cos(), angle.sin()], dim=1)[None]
    vectors = [
        cut_vector((cosines_of(rows_of(tokens, False)) > 0.9).numpy(), solver, rng(seed))
        for solver in SOLVERS
        for seed in range(4)
    ]
    assert all(np.allclose(np.abs(vector), np.abs(vector[::-1])) for vector in vectors)
    assert {foreground(vector)[1] for vector in vectors} == {0}
    found = [configured(name, tau=0.9, solver=solver)(tokens, rng(seed)) for solver in SOLVERS for seed in range(6)]
    assert all(same(found[0], other) for other in found)
    assert found[0].masks[0, 0, 0]


def test_pieces_by_hand():
    """Token 1 of `#.#` over `.##`: outside; token 0 alone unless corners count; the three others the largest."""
    mask = np.array([[True, False, True], [False, True, True]])
    assert piece_of(mask, 0, 4).sum() == 1
    assert piece_of(mask, 0, 8).sum() == 4
    assert piece_of(mask, 1, 4).sum() == 0
    assert largest_piece(mask, 4).astype(int).tolist() == [[0, 0, 1], [0, 1, 1]]
    assert not largest_piece(np.zeros((2, 2), dtype=bool), 8).any()


def test_cosines_of_tokens_of_any_length():
    """(3, 4) and (4, 3): 24 / 25, however long; one of length 0 is like nothing, itself included."""
    rows = torch.tensor([[3e200, 4e200], [4e-200, 3e-200], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(cosines_of(rows), torch.tensor([[1.0, 0.96, 0.0], [0.96, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    products = products_of(torch.tensor([[3e200, 0.0], [4e200, -2e200]], dtype=torch.float64))
    torch.testing.assert_close(products / products[0, 0], torch.tensor([[1.0, 12 / 9], [12 / 9, 20 / 9]]))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(12, 14), (20, 9)])
def test_a_planted_object_is_found(solver, seed, size):
    tokens, inside = planted(*size, (3, 8), (2, 7), seed)
    found = tokencut(solver=solver)(tokens, rng(seed))
    assert torch.equal(found.masks, inside[None])


@settings(deadline=None, max_examples=40)
@given(maps(), st.integers(-20, 20), st.randoms(use_true_random=False))
def test_neither_length_nor_order_of_channels_matters(tokens, power, random):
    """Powers of two, which are exact. Channels in another order round otherwise: at most a token at a threshold."""
    detector, order = tokencut(), list(range(tokens.shape[2]))
    random.shuffle(order)
    assert same(detector(tokens, rng()), detector(tokens * 2.0**power, rng()))
    margin = (cosines_of(rows_of(tokens, centre=False)) - 0.2).abs().min()
    assert margin < 1e-5 or same(detector(tokens, rng()), detector(tokens[..., order], rng()))


@settings(deadline=None, max_examples=40)
@given(maps())
def test_at_most_one_region_which_is_not_the_image(tokens):
    found = tokencut()(tokens, rng())
    assert len(found.masks) <= 1
    assert not found.masks.flatten(1).all(dim=1).any()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ODD)
def test_odd_maps_give_sensible_regions(name, solver):
    detector = tokencut(solver=solver)
    assert isinstance(detector, Detector)
    found = check_odd(detector, name)
    nothing = {"all equal": 1.0, "all zero": 0.0, "one token": None, "two alike": 1.0, "all orthogonal": 0.0}
    if name in nothing:
        assert len(found.masks) == 0
        assert found.affine == nothing[name]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tokens_that_are_not_finite_are_refused(value):
    tokens = torch.ones(5, 5, 3)
    tokens[2, 2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        tokencut()(tokens, rng())


@pytest.mark.parametrize(("key", "value"), [("tau", 1.0), ("tau", -1.0), ("connectivity", 6), ("solver", "power")])
def test_settings_that_cannot_work(key, value):
    with pytest.raises(ConfigError, match=f"^TokenCut: {key}="):
        tokencut(**{key: value})
