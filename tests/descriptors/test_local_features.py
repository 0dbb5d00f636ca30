"""Local features from regions: ellipses, strengths, crowded channels, suppression, the strongest of all scales."""

import numpy as np
import pytest

from seekloop.contracts.local_features import ChannelRegions
from seekloop.descriptors.local_features import LocalFeatureSettings, ellipses, local_features, suppress


def regions(*listed):
    """Regions of (channel, rows, columns), by channel."""
    listed = sorted(listed, key=lambda one: one[0])
    ends = np.cumsum([0, *(len(rows) for _, rows, _ in listed)])
    cells = [np.concatenate([np.zeros(0), *(one[side] for one in listed)]).astype(np.int64) for side in (1, 2)]
    return ChannelRegions(np.array([one[0] for one in listed], dtype=np.int64), ends, *cells)


def block(channel, top, left, height=2, width=2):
    rows, columns = np.mgrid[top : top + height, left : left + width]
    return channel, rows.reshape(-1), columns.reshape(-1)


def flat(channels, size=(40, 40)):
    """Channel i has the activation i + 1 everywhere."""
    return np.arange(1, channels + 1, dtype=np.float32)[:, None, None] * np.ones((1, *size), dtype=np.float32)


def test_an_ellipse_has_the_moments_of_the_cells():
    # an L of three cells: x 0, 0, 1 and y 0, 1, 1, counted at their middles
    mean, covariance = ellipses(regions((0, [0, 1, 1], [0, 0, 1]), (1, [5, 5, 6, 6], [3, 5, 3, 5])))
    np.testing.assert_allclose(mean, [[0.5 + 1 / 3, 0.5 + 2 / 3], [4.5, 6]], rtol=1e-6)
    np.testing.assert_allclose(
        covariance, [[[2 / 9, 1 / 9], [1 / 9, 2 / 9]], [[1, 0], [0, 0.25]]], rtol=1e-5, atol=1e-7
    )


def test_strength_is_pooled_over_the_cells_of_the_region_and_no_others():
    map = np.zeros((1, 6, 6), dtype=np.float32)
    map[0, 1:3, 1:3] = [[1, 2], [3, 4]]
    map[0, 0, 0] = 9
    found = {
        pool: float(
            local_features(
                [map], [regions(block(0, 1, 1))], LocalFeatureSettings(strength=pool, exponent=2), "query"
            ).strength[0]
        )
        for pool in ("max", "mean", "gem")
    }
    assert found == pytest.approx({"max": 4, "mean": 2.5, "gem": np.sqrt(30 / 4)})


def test_a_crowded_channel_is_discarded_or_keeps_its_best_as_the_release_does():
    map = flat(2)
    map[0, ::4] *= np.arange(10, 20)[:, None]  # the region that begins at row 4 i has the strength 10 + i
    crowd = regions(*(block(0, 4 * i, 0) for i in range(3)), block(1, 0, 20))
    for role, limit in (("query", "query_limit"), ("database", "database_limit")):
        found = local_features([map], [crowd], LocalFeatureSettings(**{limit: 2}), role)
        assert found.channel.tolist() == [1]
        assert len(local_features([map], [crowd], LocalFeatureSettings(**{limit: 3, "most": 9}), role)) == 4
        best = local_features([map], [crowd], LocalFeatureSettings(**{limit: 2, "parity": True, "most": 9}), role)
        assert best.strength.tolist() == [12, 11, 2]


def test_each_scale_is_counted_by_itself():
    maps = [flat(1), flat(1)]
    crowd = [regions(block(0, 0, 0), block(0, 8, 8)), regions(block(0, 0, 0), block(0, 8, 8))]
    assert len(local_features(maps, crowd, LocalFeatureSettings(query_limit=2, most=9), "query")) == 4


def test_features_of_database_images_suppress_each_other_whatever_their_channels():
    # boxes of 4 x 4: moved by 2 columns they share 8 of 24 cells, a third; moved by 3 columns 4 of 28, a seventh
    given = [regions(block(0, 0, 0, 4, 4), block(2, 0, 2, 4, 4), block(1, 0, 5, 4, 4), block(0, 20, 20))]
    found = local_features([flat(3)], given, LocalFeatureSettings(most=9), "database")
    assert found.channel.tolist() == [2, 1, 0]  # the strongest one leaves out its weaker neighbour
    assert found.mean[2].tolist() == [21, 21]
    assert len(local_features([flat(3)], given, LocalFeatureSettings(most=9), "query")) == 4
    assert len(local_features([flat(3)], given, LocalFeatureSettings(most=9, overlap=0.4), "database")) == 4
    apart = [regions(block(0, 0, 0, 4, 4)), regions(block(0, 0, 2, 4, 4))]
    assert len(local_features([flat(3), flat(3)], apart, LocalFeatureSettings(), "database")) == 2  # of other scales


def test_a_suppressed_box_suppresses_none():
    boxes = np.array([[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4]], dtype=np.float64)
    assert suppress(boxes, np.array([0, 1, 2]), 0.2).tolist() == [1, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_suppression_equals_a_slow_transcription(seed):
    rng = np.random.default_rng(seed)
    corners = rng.random((60, 2)) * 20
    boxes, order = np.concatenate([corners, corners + 1 + rng.random((60, 2)) * 8], axis=1), rng.permutation(60)

    def overlap(a, b):
        both = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
        return both / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both)

    kept = []
    for one in order:
        if all(overlap(boxes[one], boxes[other]) <= 0.2 for other in kept):
            kept.append(one)
    assert suppress(boxes, order, 0.2).nonzero()[0].tolist() == sorted(kept)


def test_the_strongest_of_all_scales_stay_and_as_many_as_there_are_channels():
    maps = [flat(3), 10 * flat(3)]
    given = [regions(*(block(i, 10 * i, 0) for i in range(3))) for _ in maps]
    found = local_features(maps, given, LocalFeatureSettings(), "query")
    assert found.strength.tolist() == [30, 20, 10]
    assert found.scale.tolist() == [1, 1, 1]
    five = local_features(maps, given, LocalFeatureSettings(most=5), "query")
    assert five.strength.tolist() == [30, 20, 10, 3, 2]
    assert five.sizes.tolist() == [[40, 40], [40, 40]]


def test_cells_on_a_line_are_no_ellipse_and_do_not_count():
    line = (0, [0, 1, 2], [0, 1, 2])
    row = block(0, 10, 0, 1, 5)
    found = local_features(
        [flat(1)], [regions(line, row, block(0, 20, 20))], LocalFeatureSettings(query_limit=1), "query"
    )
    assert found.mean.tolist() == [[21, 21]]


def test_no_regions_no_features():
    nothing = local_features([flat(2), flat(2, (3, 2))], [regions(), regions()], LocalFeatureSettings(), "database")
    assert len(nothing) == 0
    assert nothing.sizes.tolist() == [[40, 40], [3, 2]]
    with pytest.raises(ValueError, match="zip"):
        local_features([flat(2)], [], LocalFeatureSettings(), "query")
