"""Rivals of spatial matching: the robust estimator on pairs of features, and SIFT on pictures."""

import numpy as np
import pytest
from PIL import Image

from seekloop.matching.image_matching import RobustMatching, SiftMatching, one_to_one, verify_robustly
from seekloop.matching.spatial import tentatives
from seekloop.metrics.registration import median_transfer_error
from tests.matching.ellipses import features, moved, scattered

TURN = np.array([[0.2, -1.0], [1.1, 0.1]])


def test_tentatives_are_the_pairs_of_one_channel():
    query, other = features(np.zeros((3, 2)), channel=[4, 7, 4]), features(np.zeros((4, 2)), channel=[9, 4, 7, 4])
    assert tentatives(query, other).tolist() == [[0, 1], [0, 3], [1, 2], [2, 1], [2, 3]]


def test_the_estimator_recovers_any_affine_map_even_a_turn():
    query = scattered(40, 60)
    found = verify_robustly(query, moved(query, TURN, [50, 0]), RobustMatching())
    assert found.inliers == 40
    np.testing.assert_allclose(found.map, np.column_stack([TURN, [50, 0]]), atol=1e-3)
    again = verify_robustly(query, moved(query, TURN, [50, 0]), RobustMatching())
    np.testing.assert_array_equal(found.map, again.map)


def test_inliers_are_within_the_tolerance_and_one_to_one():
    mean = np.random.default_rng(0).random((30, 2)) * 40
    query = features(np.concatenate([mean, mean[:5] + 0.5]), channel=[*range(30), *range(5)])
    shifted = mean + np.array([3, 4])
    shifted[20] += [2.5, 0]
    found = verify_robustly(query, features(shifted), RobustMatching())
    assert found.inliers == 29
    assert len(set(found.pairs[:, 0])) == len(set(found.pairs[:, 1])) == 29
    assert 20 not in found.pairs[:, 1]


def test_the_nearest_pair_comes_first():
    assert one_to_one(np.zeros((0, 2), dtype=np.int64)).shape == (0, 2)
    assert one_to_one(np.array([[3, 1], [3, 2], [4, 1], [5, 2]])).tolist() == [[3, 1], [5, 2]]


def test_the_pair_of_scales_with_the_most_inliers_counts():
    points = np.array([[4.0, 4], [24, 4], [4, 24], [24, 30]])
    query = features(
        [*points, *points[:3]], channel=[0, 1, 2, 3, 0, 1, 2], scale=[0] * 4 + [1] * 3, sizes=((40, 40), (20, 20))
    )
    found = verify_robustly(query, features(points), RobustMatching())
    assert (found.inliers, found.scales) == (4, (0, 0))
    assert found.sizes == ((40, 40), (48, 64))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_pairs_are_no_match(count):
    few = features(np.random.default_rng(1).random((count, 2)))
    found = verify_robustly(few, few, RobustMatching())
    assert (found.inliers, found.map) == (0, None)


def test_points_on_a_line_are_no_match():
    line = features([[i, 2 * i] for i in range(8)])
    assert verify_robustly(line, line, RobustMatching()).inliers == 0


def picture(seed=0, size=240):
    coarse = np.random.default_rng(seed).integers(0, 256, (size // 8, size // 8), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).convert("RGB")


def test_sift_recovers_a_known_map_between_pictures():
    one = picture()
    cos, sin = 0.9 * np.cos(0.5), 0.9 * np.sin(0.5)
    truth = np.array([[cos, -sin, 70.0], [sin, cos, 10.0]])
    linear = np.linalg.inv(truth[:, :2])
    other = one.transform(
        (260, 230),
        Image.Transform.AFFINE,
        np.column_stack([linear, -linear @ truth[:, 2]]).ravel().tolist(),
        Image.Resampling.BICUBIC,
    )
    settings = SiftMatching()
    found = settings.verify(settings.keypoints(one), settings.keypoints(other))
    assert found.inliers > 50
    assert found.sizes == ((240, 240), (230, 260))
    assert median_transfer_error(found.map, truth, np.array([[60.0, 60], [120, 150], [180, 100]])) < 0.5
    np.testing.assert_allclose(found.between((240, 240), (260, 230)), found.map)


def test_sift_of_a_box_has_the_keypoints_inside():
    settings, box = SiftMatching(), np.array([0.25, 0.5, 0.75, 1.0])
    inside = settings.keypoints(picture(), box)
    assert 0 < len(inside.points) < len(settings.keypoints(picture()).points)
    assert (inside.points[:, 0] >= 60).all()
    assert (inside.points[:, 1] >= 120).all()
    assert len(inside.points) == len(inside.vectors)


def test_pictures_without_structure_do_not_match():
    settings, grey = SiftMatching(), Image.new("RGB", (50, 40), "grey")
    nothing, something = settings.keypoints(grey), settings.keypoints(picture())
    for one, other in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert settings.verify(one, other).inliers == 0
    assert settings.verify(something, settings.keypoints(picture(7))).inliers < 10
