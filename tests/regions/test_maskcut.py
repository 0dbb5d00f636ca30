import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.regions import maskcut as module
from seekloop.regions.graph import cosines_of, rows_of
from seekloop.regions.maskcut import foreground, overlap
from seekloop.regions.segments import Detector
from tests.regions.letters import ODD, configured, drawn, maps, planted, rng, same, spelt

SOLVERS = ["dense", "lanczos"]


def maskcut(**changed):
    return configured("maskcut", **changed)


def test_three_corners_make_a_side_the_background_by_hand():
    """The peak is 4, the mean (3 * 3 + 4 + c) / 9.

    With c = 3 in three corners the side is 3, 3, 3, 4 and so the background: the object is the rest, where the lowest
    entry is the seed. With two corners the side is the object and 4 the seed. By the mean of 0 the ones would belong.
    """
    vector = np.array([[3.0, 4.0, 3.0], [-1.0, 0.5, -2.0], [3.0, 0.0, -1.0]])
    side, seed = foreground(vector)
    assert side.astype(int).tolist() == [[0, 0, 0], [1, 1, 1], [0, 1, 1]]
    assert seed == 5
    vector[2, 0] = -1.0
    side, seed = foreground(vector)
    assert side.astype(int).tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert seed == 1


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_the_sign_of_the_eigenvector_makes_no_difference(h, w, data):
    entries = data.draw(st.lists(st.integers(-9, 9), min_size=h * w, max_size=h * w).filter(any))
    vector = np.array(entries, dtype=float).reshape(h, w)
    (side, seed), (other, again) = foreground(vector), foreground(-vector)
    assert np.array_equal(side, other)
    assert seed == again
    assert side.flat[seed] or np.ptp(vector) == 0
    assert side[[0, 0, -1, -1], [0, -1, 0, -1]].sum() < 3


def test_a_frame_of_corners_is_background():
    """Four p in the corners are the smaller side and have the peak; what they surround is the object nevertheless."""
    found = maskcut(rounds=1)(spelt("pbbbp", "bbbbb", "bbbbb", "pbbbp"), rng())
    assert drawn(found) == [[".###.", "#####", "#####", ".###."]]


def test_two_objects_one_after_the_other():
    """Cutting six p off costs 6 * 24 / 36 edges of 1e-5 by their volume, two r 2 * 28 / 4: p comes first."""
    found = maskcut()(spelt("bbbbbb", "bppbrb", "bppbrb", "bppbbb", "bbbbbb"), rng())
    assert drawn(found) == [
        ["......", ".##...", ".##...", ".##...", "......"],
        ["......", "....#.", "....#.", "......", "......"],
    ]
    assert found.score[0] > found.score[1]
    assert found.affine == pytest.approx((6 * 5 + 2 + 22 * 21) / (30 * 29))
    assert len(maskcut(rounds=1)(spelt("bbbbbb", "bppbrb", "bppbrb", "bppbbb", "bbbbbb"), rng()).masks) == 1


class Script:
    """Eigenvectors that are given: high in a rectangle of a 10 x 10 map, low around it; and what was asked for."""

    def __init__(self, *rectangles):
        self.rectangles, self.left = list(rectangles), []

    def __call__(self, alike, solver, rng):
        self.left.append(set(np.flatnonzero(alike.any(axis=1)).tolist()))
        y, x = self.rectangles[min(len(self.left), len(self.rectangles)) - 1]
        vector = np.full((10, 10), -0.1)
        vector[slice(*y), slice(*x)] = 3.0
        return vector.reshape(-1)


def rounds(monkeypatch, *rectangles, **changed):
    script = Script(*rectangles)
    monkeypatch.setattr(module, "cut_vector", script)
    found = maskcut(**changed)(torch.ones(10, 10, 2), rng())
    areas = [int(mask.sum()) for mask in found.masks]
    return areas, script.left, found


def test_a_round_overlaps_the_one_before_it_at_most_by_half(monkeypatch):
    """Six tokens in a row, then four of them and two others: 4 / 8 is not above 0.5; with five it is 5 / 7.

    As released, the third round compares with nothing and so takes what is new in the mask refused: one token.
    """
    first = ((3, 4), (1, 7))
    assert rounds(monkeypatch, first, ((3, 4), (3, 9)), rounds=2)[0] == [6, 2]
    assert rounds(monkeypatch, first, ((3, 4), (2, 8)))[0] == [6]
    assert rounds(monkeypatch, first, ((3, 4), (2, 8)), released=True)[0] == [6, 1]


def test_a_later_mask_is_larger_than_a_hundredth(monkeypatch):
    """Of 100 tokens two are enough, one is not; the first mask may be of one."""
    one, two = ((1, 2), (1, 2)), ((5, 6), (5, 7))
    assert rounds(monkeypatch, one, two, one)[0] == [1, 2]
    assert rounds(monkeypatch, two, one)[0] == [2]
    assert rounds(monkeypatch, two, one, released=True)[0] == [2]


def test_everything_taken_so_far_is_gone_and_the_overlap_is_with_the_last(monkeypatch):
    """Rows 1, then 5, then 1 again: the third overlaps the first, not the second, and has nothing new: no mask."""
    one, two = ((1, 2), (1, 9)), ((5, 6), (1, 9))
    areas, left, _ = rounds(monkeypatch, one, two, one)
    assert areas == [8, 8]
    everything = set(range(100))
    assert left == [everything, everything - set(range(11, 19)), everything - set(range(11, 19)) - set(range(51, 59))]


def test_a_later_mask_leaves_earlier_ones_what_they_have(monkeypatch):
    """Rows 3 and 4, then rows 4 to 9, that is 16 and 48 tokens of which 8 are common: 8 / 56."""
    areas, _, found = rounds(monkeypatch, ((3, 5), (1, 9)), ((4, 10), (1, 9)), rounds=2)
    assert areas == [16, 40]
    assert found.masks.sum(dim=0).max() == 1


def test_holes_are_filled_where_no_other_mask_is():
    """A ring of p around 3 x 3 tokens, r in the middle: eight b and no r join the ring; outside it nothing does."""
    rows = ("bbbbbbbb", "bpppppbb", "bpbbbpbb", "bpbrbpbb", "bpbbbpbb", "bpppppbb", "bbbbbbbb", "bbbbbbbb")
    hollow, full = (maskcut(fill_holes=fill, rounds=1)(spelt(*rows), rng()) for fill in (False, True))
    assert drawn(hollow)[0][2:5] == [".#...#..", ".#...#..", ".#...#.."]
    assert drawn(full)[0][1:6] == [".#####.."] * 5
    assert full.masks.sum() == 25
    ring = np.ones((3, 3), dtype=bool)
    ring[1, 1] = False
    assert module.filled(ring, [ring]).all()
    assert not module.filled(ring, [ring, ~ring])[1, 1]


def test_overlap_by_hand():
    one, other = np.array([[True, True, False]]), np.array([[False, True, True]])
    assert overlap(one, other) == pytest.approx(1 / 3)
    assert overlap(one & False, other & False) == 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(12, 14), (20, 9)])
def test_a_planted_object_is_found_in_maps_of_any_shape(solver, seed, size):
    tokens, inside = planted(*size, (3, 8), (2, 7), seed)
    found = maskcut(solver=solver)(tokens, rng(seed))
    assert torch.equal(found.masks[0], inside)


@settings(deadline=None, max_examples=40)
@given(maps(), st.booleans(), st.booleans())
def test_masks_are_disjoint(tokens, released, fill):
    found = maskcut(rounds=5, released=released, fill_holes=fill)(tokens, rng())
    assert len(found.masks) <= 5
    assert not len(found.masks) or found.masks.sum(dim=0).max() == 1
    assert found.score.tolist() == sorted(found.score.tolist(), reverse=True)


@settings(deadline=None, max_examples=40)
@given(maps())
def test_fewer_rounds_give_the_first_of_the_masks_of_more(tokens):
    many, few = (maskcut(rounds=number)(tokens, rng()).masks for number in (4, 2))
    assert torch.equal(few, many[: len(few)])
    assert len(few) == min(2, len(many))


@settings(deadline=None, max_examples=30)
@given(maps(), st.integers(-20, 20), st.randoms(use_true_random=False))
def test_neither_length_nor_order_of_channels_matters(tokens, power, random):
    """Powers of two, which are exact. Channels in another order round otherwise: at most a token at a threshold."""
    detector, order = maskcut(), list(range(tokens.shape[2]))
    random.shuffle(order)
    assert same(detector(tokens, rng()), detector(tokens * 2.0**power, rng()))
    margin = (cosines_of(rows_of(tokens, centre=False)) - 0.15).abs().min()
    assert margin < 1e-5 or same(detector(tokens, rng()), detector(tokens[..., order], rng()))


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ODD)
def test_odd_maps_give_sensible_regions(name, solver, centre):
    detector, tokens = maskcut(solver=solver, centre=centre), ODD[name]
    assert isinstance(detector, Detector)
    found = detector(tokens, rng())
    assert found.masks.shape[1:] == tokens.shape[:2]
    assert found.score.isfinite().all()
    assert found.boxes.isfinite().all()
    assert found.affine is None or 0 <= found.affine <= 1
    if name in ("all equal", "all zero", "one token", "two alike"):
        assert len(found.masks) == 0


def test_tokens_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        maskcut()(torch.full((5, 5, 3), float("nan")), rng())


@pytest.mark.parametrize(("key", "value"), [("tau", 1.0), ("rounds", 0), ("connectivity", 6), ("solver", "power")])
def test_settings_that_cannot_work(key, value):
    with pytest.raises(ConfigError, match=f"^MaskCut: {key}="):
        maskcut(**{key: value})
