"""Spatial matching: cases by hand, laws, and a slow transcription."""

import numpy as np
import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.matching.spatial import SpatialMatching, frames, verify, verify_all
from tests.matching.ellipses import features, moved, scattered

SQUARE = np.array([[4.0, 4], [24, 4], [4, 24], [24, 24]])


def test_an_inlier_is_within_two_cells_and_not_two_on_each_axis_or_in_sum():
    # shifted by (10, 3); the last two pairs by less and by more than 2 cells, the last less than 2 along each axis
    query = features([*SQUARE, [14, 14], [14, 20]])
    other = features(query.mean + np.array([[10, 3]] * 4 + [[11.9, 3], [8.5, 1.5]]))
    found = verify(query, other, SpatialMatching(rounds=0, refined=1))
    assert found.inliers == 5
    np.testing.assert_array_equal(found.pairs, [[i, i] for i in range(5)])
    np.testing.assert_allclose(found.map, [[1, 0, 10], [0, 1, 3]])
    # the release: both squares together less than 2; twice 1.9 squared is more
    assert verify(query, other, SpatialMatching(rounds=0, parity=True)).inliers == 4
    near = features(query.mean + np.array([[10, 3]] * 4 + [[10.9, 3], [8.9, 3]]))
    assert verify(query, near, SpatialMatching(rounds=0, refined=1, parity=True)).inliers == 5


def test_errors_count_both_ways():
    # twice as large: 3 cells off in the other image are 1.5 in the query, too far; the other way round as well
    query, double = features([*SQUARE, [14, 14]]), 2 * np.array([*SQUARE, [15.5, 14]])
    other = features(double, np.tile(4 * np.eye(2), (5, 1, 1)))
    assert verify(query, other, SpatialMatching(rounds=0)).inliers == 4
    assert verify(other, query, SpatialMatching(rounds=0)).inliers == 4


def test_areas_are_compared_with_the_map_and_not_with_each_other():
    covariance = np.stack([np.eye(2) * side for side in (1.0, 1, 1, 1, 2.9, 3.1)])
    query = features([*SQUARE, [14, 14], [14, 20]])
    grown = features(query.mean * 2, 4 * covariance)  # areas of four pairs change fourfold, as the map says
    assert verify(query, grown, SpatialMatching(rounds=0, refined=1)).inliers == 5
    assert verify(query, grown, SpatialMatching(rounds=0, hypothesis_change=3)).inliers == 0


def test_each_feature_belongs_to_one_inlier():
    query = features([*SQUARE, [4.5, 4]], channel=[0, 1, 2, 3, 0])
    other = features(SQUARE)
    found = verify(query, other, SpatialMatching())
    assert found.pairs.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert found.inliers == 4
    # a query feature takes the nearest of two
    assert verify(features(SQUARE), query, SpatialMatching()).pairs.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_frames_map_one_ellipse_onto_the_other_and_keep_the_y_direction():
    given = scattered(20, 5).covariance.astype(np.float64)
    a, b, c = frames(given).T
    zeros = np.zeros_like(a)
    lower = np.stack([np.stack([a, zeros], 1), np.stack([b, c], 1)], 1)
    np.testing.assert_allclose(lower @ lower.transpose(0, 2, 1), given, rtol=1e-9)
    both = lower[1:] @ np.linalg.inv(lower[:-1])
    np.testing.assert_allclose(both @ given[:-1] @ both.transpose(0, 2, 1), given[1:], rtol=1e-8)


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(
    "linear",
    [np.eye(2), [[2, 0], [0, 0.7]], [[1, 0], [0.6, 1]], [[0.94, -0.34], [0.34, 0.94]]],
    ids=["shift", "stretch", "shear along y", "turn by 20 degrees"],
)
def test_a_known_map_is_recovered(linear, parity):
    query = scattered(60, 40)
    found = verify(query, moved(query, linear, [7, -3]), SpatialMatching(parity=parity))
    assert found.inliers >= 55
    # the release draws its refits to the pairs' own matrices, which cannot turn
    turned = parity and linear[0][1] != 0
    np.testing.assert_allclose(found.map[:, :2], linear, atol=0.3 if turned else 1e-3)


def test_images_turned_by_more_than_45_degrees_do_not_match():
    query = features(scattered(40, 1).mean)
    assert verify(query, moved(query, [[0, -1], [1, 0]], [50, 0]), SpatialMatching()).inliers < 5
    for angle, agree in ((40, True), (50, False)):
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        small = features((query.mean - [32, 24]) / 12)  # near each other, so that hypotheses have enough to be refined
        found = verify(small, moved(small, [[cos, -sin], [sin, cos]], [0, 0]), SpatialMatching())
        turned = np.degrees(np.arctan2(-found.map[0, 1], found.map[1, 1]))
        assert (abs(turned - angle) < 1) == agree
        assert abs(turned) <= 45 + 1e-6


def test_the_other_way_round_gives_the_inverse_map():
    query = scattered(50, 60, seed=3)
    other = moved(query, [[1.3, 0], [0.2, 0.8]], [2, 5])
    there, back = verify(query, other, SpatialMatching()), verify(other, query, SpatialMatching())
    assert there.inliers == back.inliers
    assert sorted(map(tuple, there.pairs)) == sorted((i, j) for j, i in back.pairs)
    whole = np.vstack([there.map, [0, 0, 1]]) @ np.vstack([back.map, [0, 0, 1]])
    np.testing.assert_allclose(whole, np.eye(3), atol=1e-3)


def test_an_image_matches_itself_with_all_features():
    query = scattered(80, 500, seed=4)
    found = verify(query, query, SpatialMatching())
    assert found.inliers == 80
    assert found.pairs[:, 0].tolist() == found.pairs[:, 1].tolist()
    np.testing.assert_allclose(found.map, [[1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_nothing_to_match():
    nothing = features(np.zeros((0, 2)))
    query = features(SQUARE)
    for first, second in ((nothing, query), (query, nothing), (nothing, nothing)):
        found = verify(first, second, SpatialMatching())
        assert found.inliers == 0
        assert found.map is None
        assert found.pairs.shape == (0, 2)
        assert found.between((4, 4), (4, 4)) is None
    assert verify(query, features(SQUARE, channel=[9, 8, 7, 6]), SpatialMatching()).inliers == 0
    assert verify(features(SQUARE[:2]), features(SQUARE[:2]), SpatialMatching()).inliers == 0  # two agree by chance
    assert verify_all(query, [], SpatialMatching()) == []


def test_features_on_a_line_have_no_refit():
    line = features([[i, 2 * i] for i in range(8)])
    assert verify(line, line, SpatialMatching()).inliers == 8


def test_the_pair_of_scales_with_the_most_inliers_counts():
    query = features(
        [*SQUARE, *(SQUARE[:3] / 2)], channel=[0, 1, 2, 3, 0, 1, 2], scale=[0] * 4 + [1] * 3, sizes=((32, 32), (16, 16))
    )
    other = features(
        [*(SQUARE[:3] * 3), *SQUARE], channel=[0, 1, 2, 0, 1, 2, 3], scale=[0] * 3 + [1] * 4, sizes=((96, 96), (32, 32))
    )
    found = verify(query, other, SpatialMatching())
    assert found.inliers == 4
    assert found.scales == (0, 1)
    assert found.sizes == ((32, 32), (32, 32))
    assert found.pairs.tolist() == [[0, 3], [1, 4], [2, 5], [3, 6]]
    # in pixels of two pictures of 320 and 640 pixels
    np.testing.assert_allclose(found.between((320, 320), (640, 640)), [[2, 0, 0], [0, 2, 0]], atol=1e-6)


@pytest.mark.parametrize("parity", [False, True])
def test_many_images_and_threads_give_the_same_as_one_by_one(parity):
    query, settings = scattered(70, 30), SpatialMatching(parity=parity)
    others = [moved(query, np.eye(2) * side, [side, 0]) for side in (0.5, 1, 1.5)] + [
        scattered(50, 30, seed) for seed in range(4)
    ]
    single = [verify(query, one, settings) for one in others]
    for threads in (1, 2, 20):
        for one, again in zip(single, verify_all(query, others, settings, threads), strict=True):
            assert one.inliers == again.inliers
            assert one.pairs.tolist() == again.pairs.tolist()


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="least"):
        SpatialMatching(least=2)


class Slow:
    """Fast spatial matching word by word, of one scale."""

    def __init__(self, query, other, settings):
        self.parity = settings.parity
        self.each = self.total = settings.tolerance
        if not self.parity:
            self.each, self.total = settings.tolerance**2, np.inf
        lower = [np.linalg.cholesky(one.covariance.astype(np.float64)) for one in (query, other)]
        self.x, self.y = (one.mean.astype(np.float64) for one in (query, other))
        order = np.argsort(query.channel, kind="stable")
        self.pairs = [(i, j) for i in order for j in range(len(other)) if query.channel[i] == other.channel[j]]
        self.own = {(i, j): lower[1][j] @ np.linalg.inv(lower[0][i]) for i, j in self.pairs}
        self.areas = {pair: np.linalg.det(self.own[pair]) for pair in self.pairs}

    def error(self, pair, linear, shift, wider):
        gap = self.y[pair[1]] - linear @ self.x[pair[0]] - shift
        ahead, back = gap @ gap, np.square(np.linalg.inv(linear) @ gap).sum()
        ratio, up, axis = self.areas[pair] / np.linalg.det(linear), self.own[pair][:, 1], linear[:, 1]
        cosine = up @ axis / np.linalg.norm(up) / np.linalg.norm(axis)
        near = max(ahead, back) <= wider * self.each and ahead + back < wider * self.total
        return ahead + back if near and 1 / 3 <= ratio <= 3 and cosine >= np.sqrt(0.5) else np.inf

    def check(self, linear, shift, wider=1):
        found, errors, used = [], 0.0, set()
        for i in dict.fromkeys(i for i, _ in self.pairs):
            free = [pair for pair in self.pairs if pair[0] == i and pair[1] not in used]
            error, pair = min([(self.error(pair, linear, shift, wider), pair) for pair in free], default=(np.inf, None))
            if error < np.inf:
                found.append(pair)
                errors += error
                used.add(pair[1])
        return found, len(found) + 1 / (2 + errors)

    def fit(self, found):
        x, y = self.x[[i for i, _ in found]], self.y[[j for _, j in found]]
        left, right = (x - x.mean(0)).T @ (x - x.mean(0)), (y - y.mean(0)).T @ (x - x.mean(0))
        if self.parity and len(found) >= 12:
            left = (1 + 6.283) * left + 50 * 6.283 * len(found) * np.eye(2)
            right = (1 + 6.283) * right + 50 * 6.283 * sum(self.own[pair] for pair in found)
        linear = right @ np.linalg.inv(left)
        return linear, y.mean(0) - linear @ x.mean(0)

    def optimise(self, pair, model, score):
        found = self.check(*model, 4)[0]
        for _ in range(2):
            if len(found) < 3:
                break
            fitted = self.fit(found)
            if self.parity:
                self.own[pair] = fitted[0]
            found, again = self.check(*fitted)
            if again < score:
                break
            model, score = fitted, again
        return score, model

    def __call__(self):
        start = {(i, j): (self.own[i, j].copy(), self.y[j] - self.own[i, j] @ self.x[i]) for i, j in self.pairs}
        scores = {pair: self.check(*start[pair])[1] for pair in self.pairs}
        tops = sorted((pair for pair in self.pairs if scores[pair] > 3), key=lambda pair: -scores[pair])[:5]
        best = max([self.optimise(pair, start[pair], scores[pair]) for pair in tops], key=lambda one: one[0])
        return self.check(*best[1])[0], np.column_stack(best[1])


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_equals_a_slow_transcription(seed, parity):
    rng = np.random.default_rng(seed)
    query = scattered(40, 12, seed, 20, 20)
    other = moved(query, [[1.1, 0.1], [0.15, 0.9]], [3, 1])
    noise = rng.normal(size=other.mean.shape) * 0.7
    other = features(other.mean + noise, other.covariance * rng.uniform(0.6, 1.6, (40, 1, 1)), other.channel)
    other = other.only(rng.permutation(40)[:30])
    settings = SpatialMatching(parity=parity)
    pairs, map = Slow(query, other, settings)()
    found = verify(query, other, settings)
    assert len(pairs) >= 4
    assert sorted(pairs) == sorted(tuple(pair) for pair in found.pairs.tolist())
    np.testing.assert_allclose(found.map, map, atol=1e-6)
