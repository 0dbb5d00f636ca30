"""MSER of channels: what is found by hand, the levels of a data set, diversity, laws."""

import numpy as np
import pytest

from seekloop.contracts.errors import MissingExtraError
from seekloop.regions.mser import Activations, Levels, Mser, diverse

LEVELS = Levels(1.0, 10)


def channel(*blocks, size=(24, 30)):
    """Blocks of (first row, after the last, first column, after the last, value), later ones above earlier ones."""
    found = np.zeros(size, dtype=np.float32)
    for top, bottom, left, right, value in blocks:
        found[top:bottom, left:right] = value
    return found


def masks(regions, size):
    found = np.zeros((len(regions.channel), *size), dtype=bool)
    for region, (start, end) in enumerate(zip(regions.ends[:-1], regions.ends[1:], strict=True)):
        found[region, regions.rows[start:end], regions.columns[start:end]] = True
    return found


def test_bright_blocks_are_found_with_all_their_cells_nested_ones_too():
    outer, inner, other = (4, 12, 5, 15, 60), (6, 8, 7, 11, 120), (15, 20, 20, 24, 50)
    map = np.stack([channel(outer, inner), channel(), channel(other)])
    found = Mser()(map, LEVELS)
    assert found.channel.tolist() == [0, 0, 2]
    expected = [map[0] >= 120, map[0] >= 60, map[2] >= 50]
    np.testing.assert_array_equal(masks(found, (24, 30)), expected)


def test_dark_regions_are_found_by_the_release_only():
    hole = channel((2, 22, 2, 28, 200), (8, 14, 10, 16, 0))
    bright = Mser()(hole[None], LEVELS)
    assert [int(one.sum()) for one in masks(bright, hole.shape)] == [20 * 26 - 36]
    both = [int(one.sum()) for one in masks(Mser(parity=True)(hole[None], LEVELS), hole.shape)]
    assert 36 in both


def test_a_region_must_leave_out_seven_tenths_of_the_one_around_it():
    # 100 cells with one of 25 or of 36 inside: 0.75 and 0.64 are left out
    for side, both in ((5, True), (6, False)):
        map = channel((4, 14, 4, 14, 60), (5, 5 + side, 5, 5 + side, 120))
        areas = sorted(int(one.sum()) for one in masks(Mser()(map[None], LEVELS), map.shape))
        assert areas == ([side * side, 100] if both else [100])


def test_diversity_looks_at_the_smallest_kept_region_around():
    # on a line: 0-99 holds 0-39 (0.6 left out: dropped), which holds 0-19 (half of it, but 0.8 of the kept one: stays)
    regions = [range(20), range(40), range(100), range(200, 230)]
    cells, ends = np.concatenate([np.array(one) for one in regions]), np.cumsum([0, 20, 40, 100, 30])
    assert diverse(cells, ends, 300, 0.7).tolist() == [1, 0, 1, 1]
    assert diverse(cells, ends, 300, 0.5).tolist() == [1, 1, 1, 1]


def test_regions_that_are_shallower_than_the_step_or_too_large_are_left_out():
    shallow = channel((4, 12, 5, 15, 8))
    assert len(Mser()(shallow[None], Levels(1.0, 40)).channel) == 0
    large = channel((0, 24, 0, 28, 60))  # 0.93 of the map
    assert len(Mser()(large[None], LEVELS).channel) == 0
    assert len(Mser(largest=0.95)(large[None], LEVELS).channel) == 1
    small = channel((4, 5, 4, 6, 60))
    assert len(Mser()(small[None], LEVELS).channel) == 0
    assert len(Mser(smallest=2)(small[None], LEVELS).channel) == 1


def test_one_factor_for_all_maps_and_not_one_for_each():
    weak, strong = channel((4, 12, 5, 15, 1.0)), channel((4, 12, 5, 15, 100.0))
    seen = Activations()
    seen.add(np.stack([weak, strong]))
    levels = seen.levels(0.6)
    assert levels.factor == pytest.approx(255 / 100, rel=1e-3)
    found = Mser()(np.stack([weak, strong]), Levels(levels.factor, 20))
    assert found.channel.tolist() == [1]  # 2.55 levels are below the step


def test_the_step_is_the_share_of_activations_above_zero_of_all_maps():
    seen = Activations()
    first, second = np.zeros((2, 3, 3), dtype=np.float32), np.zeros((1, 4, 4), dtype=np.float32)
    first[0, 0], second[0, 0] = [1, 2, 3], [4, 5, 6, 10]
    seen.add(first)
    seen.add(second)
    # of 1, 2, 3, 4, 5, 6, 10, six tenths are 4.2 values: 5; zeros would make it 0
    assert seen.quantile(0.6) == 5
    assert seen.levels(0.6) == Levels(25.5, round(5 * 25.5))


@pytest.mark.parametrize("share", [0.1, 0.6, 0.9, 1.0])
def test_quantiles_are_those_of_sorted_activations(share):
    values = np.random.default_rng(0).exponential(size=(5, 20, 20)).astype(np.float16).astype(np.float32)
    seen = Activations()
    for one in values:
        seen.add(one[None])
    ordered = np.sort(values[values > 0])
    assert seen.quantile(share) == ordered[int(np.ceil(share * len(ordered))) - 1]


def test_regions_reach_the_edges_of_the_map():
    map = channel((0, 2, 0, 3, 60), (22, 24, 26, 30, 80))
    found = Mser()(map[None], LEVELS)
    np.testing.assert_array_equal(masks(found, map.shape), [map == 80, map == 60])


def test_nothing_is_found_where_nothing_is():
    nothing = np.zeros((3, 12, 12), dtype=np.float32)
    seen = Activations()
    seen.add(nothing)
    assert seen.levels(0.6) == Levels(1.0, 1)
    for map in (
        nothing,
        np.full_like(nothing, 5),
        np.ones((3, 1, 9), dtype=np.float32),
        np.ones((3, 1, 1), dtype=np.float32),
    ):
        found = Mser()(map, LEVELS)
        assert len(found.channel) == 0
        assert found.ends.tolist() == [0]


def test_moving_mirroring_and_turning_a_map_moves_its_regions():
    rng = np.random.default_rng(3)
    map = np.zeros((30, 30), dtype=np.float32)
    for row, column in rng.integers(6, 24, (6, 2)):
        y, x = np.mgrid[:30, :30]
        map += 200 * np.exp(-((y - row) ** 2 + 2 * (x - column) ** 2) / 9)
    found = masks(Mser()(map[None], LEVELS), map.shape)
    assert len(found) >= 3

    def listed(regions):
        return sorted(one.tobytes() for one in regions)

    for change in (np.fliplr, np.transpose, lambda one: np.roll(one, 2, axis=0)):
        again = masks(Mser()(np.ascontiguousarray(change(map))[None], LEVELS), map.shape)
        assert listed(again) == listed(np.array([np.ascontiguousarray(change(one)) for one in found]))


def test_every_region_is_brighter_than_its_border():
    rng = np.random.default_rng(5)
    maps = np.clip(rng.normal(size=(20, 24, 24)).cumsum(1).cumsum(2), 0, None).astype(np.float32)
    levels = Levels(float(255 / maps.max()), 4)
    found = Mser()(maps, levels)
    assert len(found.channel) > 5
    bright = np.rint(maps * levels.factor)
    for one, inside in zip(found.channel, masks(found, (24, 24)), strict=True):
        around = np.zeros((26, 26), dtype=bool)
        for y, x in ((0, 1), (2, 1), (1, 0), (1, 2)):
            around[y : y + 24, x : x + 24] |= inside
        border = around[1:-1, 1:-1] & ~inside
        assert bright[one][inside].min() > bright[one][border].max()


def test_opencv_is_asked_for_by_the_name_of_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"seekloop\[matching\]"):
        Mser()(channel((4, 12, 5, 15, 60))[None], LEVELS)
