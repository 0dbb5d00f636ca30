"""Local features: taking some of them, positions in boxes and on pictures."""

import numpy as np
import pytest

from seekloop.contracts.local_features import LocalFeatures
from tests.matching.ellipses import features


def test_a_box_holds_the_features_whose_middle_it_holds_whatever_their_scale():
    # a map of 10 rows and 20 columns, and one of half of it: the middle of the image is (10, 5), and (5, 2.5)
    given = features([[10, 5], [5, 2.5], [10, 2.5], [19, 9]], scale=[0, 1, 1, 0], sizes=((10, 20), (5, 10)))
    kept = given.inside(np.array([0.4, 0.4, 0.6, 0.6]))
    np.testing.assert_allclose(kept.mean, [[10, 5], [5, 2.5]])
    assert kept.channel.tolist() == [0, 1]
    np.testing.assert_allclose(given.inside(np.array([0.5, 0.0, 1.0, 0.5])).mean[0], [10, 5])  # edges belong to it
    assert len(given.inside(np.array([0.0, 0.0, 0.1, 0.1]))) == 0
    assert given.of_scale(1).channel.tolist() == [1, 2]


def test_ellipses_on_a_picture():
    given = features(
        [[10, 5], [5, 2.5]], np.array([[[1.0, 0.5], [0.5, 2]]] * 2), scale=[0, 1], sizes=((10, 20), (5, 10))
    )
    mean, covariance = given.on_picture(200, 50)  # cells are 10 x 5 pixels, and 20 x 10
    np.testing.assert_allclose(mean, [[100, 25], [100, 25]])
    np.testing.assert_allclose(covariance, [[[100, 25], [25, 50]], [[400, 100], [100, 200]]])


def test_no_features():
    none = LocalFeatures.none(np.array([[3, 4]]))
    assert len(none) == len(none.of_scale(0)) == len(none.inside(np.array([0.0, 0, 1, 1]))) == 0
    assert none.on_picture(4, 3)[1].shape == (0, 2, 2)


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(Exception, match="Type-check error"):
        LocalFeatures(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(2), np.zeros(2), np.zeros(2), np.zeros((1, 2)))
