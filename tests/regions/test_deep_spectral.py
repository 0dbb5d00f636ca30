import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.regions.deep_spectral import minority_positive
from seekloop.regions.graph import cosines_of, later_vectors, rows_of
from seekloop.regions.segments import Detector
from tests.regions.letters import ODD, check_odd, configured, drawn, maps, planted, rng, same, spelt

SOLVERS = ["dense", "lanczos"]
TURN = {"a": [5.0, 0.0], "b": [4.0, 3.0], "d": [3.0, 4.0], "c": [0.0, 5.0], "o": [-5.0, 0.0]}


def deep_spectral(**changed):
    return configured("deep_spectral", **changed)


def turned(letters):
    """A row of tokens that turn from a over b or d to c."""
    return torch.tensor([TURN[letter] for letter in letters])[None]


def second(tokens):
    weights = cosines_of(rows_of(tokens, centre=False)).clamp(min=0).double().numpy()
    return minority_positive(later_vectors(weights, 1, "dense", rng())[:, 0])


def test_a_chain_of_three_directions_by_hand():
    """Cosines a d 0.6, d c 0.8, a c 0; degrees of a a a d c: 3.6, 3.6, 3.6, 3.6, 1.8.

    v = (-1, -1, -1, 1, 4): W v = (-2.4, -2.4, -2.4, 2.4, 4.8) = 2/3 D v. Two entries are positive, with the
    other sign three: the object is d c.
    """
    vector = second(turned("aaadc"))
    np.testing.assert_allclose(vector / vector[3], [-1, -1, -1, 1, 4], atol=1e-6)
    assert drawn(deep_spectral()(turned("aaadc"), rng())) == [["...##"]]
    assert drawn(deep_spectral()(turned("cdaaa"), rng())) == [["##..."]]


def test_positive_means_above_zero_and_a_tie_goes_to_the_peak():
    """a a b c: degrees 2.8, 2.8, 3.2, 1.6; v = (-0.327, -0.327, 0.071, 1), two positive entries and two negative.

    5.6 * -0.327 + 3.2 * 0.071 + 1.6 = 0. c is the peak, so b c is the object; b is below the mean, which is 0.105.
    """
    vector = second(turned("aabc"))
    np.testing.assert_allclose(vector / vector[3], [-0.327, -0.327, 0.071, 1], atol=1e-3)
    assert drawn(deep_spectral()(turned("aabc"), rng())) == [["..##"]]


def test_opposite_is_as_unlike_as_orthogonal():
    """o is opposed to a: max(cos, 0) = 0, not -1, which would make degrees negative; it is joined to none but o."""
    assert drawn(deep_spectral()(turned("aaaoo"), rng())) == [["...##"]]


def test_the_largest_piece_is_the_object_wherever_the_peak_is():
    assert drawn(deep_spectral()(turned("caaaaaacc"), rng())) == [[".......##"]]


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=20).filter(any))
def test_the_sign_of_the_eigenvector_makes_no_difference(entries):
    vector = np.array(entries, dtype=float)
    signed = minority_positive(vector)
    assert np.array_equal(signed, minority_positive(-vector))
    assert 2 * (signed > 0).sum() <= len(entries)
    assert np.array_equal(signed, vector) or np.array_equal(signed, -vector)


def test_further_vectors_give_further_regions():
    """r has no edge to others: the second eigenvalue is 0 as the first. p is joined to b: its cut is the third vector.

    There r is 0 up to rounding. Of the second alone no region of p would come.
    """
    tokens = spelt("bbbbbb", "bppbrb", "bppbrb", "bppbbb", "bbbbbb")
    tokens[tokens[..., 1] > 0, 0] = 0.3
    r, p = ["......", "....#.", "....#.", "......", "......"], ["......", ".##...", ".##...", ".##...", "......"]
    assert drawn(deep_spectral(vectors=1)(tokens, rng())) == [r]
    both = deep_spectral(vectors=2)(tokens, rng())
    assert drawn(both) == [r, p]
    assert both.score[0] > both.score[1]


@settings(deadline=None, max_examples=40)
@given(maps(), st.integers(1, 5))
def test_regions_of_more_vectors_begin_with_those_of_fewer_and_differ(tokens, number):
    one, more = (deep_spectral(vectors=vectors)(tokens, rng()).masks for vectors in (1, number))
    assert len(one) <= 1
    assert len(more) <= number
    assert len({mask.numpy().tobytes() for mask in more}) == len(more)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(12, 14), (20, 9)])
def test_a_planted_object_is_found(solver, seed, size):
    tokens, inside = planted(*size, (3, 8), (2, 7), seed)
    found = deep_spectral(solver=solver)(tokens, rng(seed))
    assert torch.equal(found.masks, inside[None])


@pytest.mark.parametrize("seed", range(5))
def test_neither_length_nor_order_of_channels_matters(seed):
    tokens, _ = planted(11, 13, (3, 8), (2, 7), seed, noise=0.8)
    detector = deep_spectral(vectors=3)
    lengths = 2.0 ** torch.randint(-20, 20, (11, 13, 1), generator=rng(seed))
    order = torch.randperm(32, generator=rng(seed))
    assert same(detector(tokens, rng()), detector(tokens * lengths, rng()))
    assert same(detector(tokens, rng()), detector(tokens[..., order], rng()))


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ODD)
def test_odd_maps_give_sensible_regions(name, solver, centre):
    detector = deep_spectral(solver=solver, vectors=3, centre=centre)
    assert isinstance(detector, Detector)
    found = check_odd(detector, name)
    assert found.affine is None
    if name in ("all equal", "all zero", "one token", "two alike"):
        assert len(found.masks) == 0


def test_tokens_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        deep_spectral()(torch.full((5, 5, 3), float("nan")), rng())


@pytest.mark.parametrize(("key", "value"), [("vectors", 0), ("connectivity", 6), ("solver", "power")])
def test_settings_that_cannot_work(key, value):
    with pytest.raises(ConfigError, match=f"^DeepSpectral: {key}="):
        deep_spectral(**{key: value})
