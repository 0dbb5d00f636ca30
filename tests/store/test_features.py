"""Local features on disk: what is read is what was written, in whatever order; unfinished and damaged folders."""

import functools
import operator

import numpy as np
import pytest

from seekloop.contracts.errors import StoreError
from seekloop.contracts.local_features import LocalFeatures
from seekloop.contracts.recipe import Recipe
from seekloop.store.features import (
    SHARD,
    FeatureWriter,
    begin,
    finish,
    keep_levels,
    kept_images,
    kept_levels,
    read_features,
)
from seekloop.store.manifest import store_folder
from tests.matching.ellipses import scattered

RECIPE = Recipe("features", {"of": "tests"})
NONE = LocalFeatures.none(np.zeros((1, 2), dtype=np.int64))


def written(folder, images, order=None):
    """A folder of `images` images; the last one unreadable."""
    given = [scattered(image % 5 * 3, 900, image) for image in range(images - 1)]
    with store_folder(folder).claim(None, print, "testing"):
        assert functools.reduce(operator.iadd, begin(folder, RECIPE, images), []) == list(range(images))
        keep_levels(folder, {"factor": 2.5, "step": 7})
        writer = FeatureWriter(folder, images)
        for image in order or range(images):
            writer.add(image, *((given[image],) if image < images - 1 else (NONE, "it is no image")))
        finish(folder, images)
    return given


@pytest.mark.parametrize("images", [1, 3, SHARD, SHARD + 5])
def test_what_is_read_is_what_was_written(tmp_path, images):
    given = written(tmp_path / "features", images)
    found = read_features(tmp_path / "features")
    assert found.levels == {"factor": 2.5, "step": 7}
    assert found.readable.tolist() == [True] * (images - 1) + [False]
    assert found.why[-1] == "it is no image"
    assert len(found.of(images - 1)) == 0
    for image, one in enumerate(given):
        again = found.of(image)
        for name in ("mean", "covariance", "channel", "strength", "scale", "sizes"):
            np.testing.assert_array_equal(getattr(again, name), getattr(one, name))


def test_the_order_of_writing_changes_nothing(tmp_path):
    written(tmp_path / "one", 70)
    written(tmp_path / "other", 70, order=range(69, -1, -1))
    for file in ("features-00000.npy", "features-00001.npy", "counts-00000.npy"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_an_unfinished_folder_knows_what_is_missing(tmp_path):
    folder = tmp_path / "features"
    with store_folder(folder).claim(None, print, "testing"):
        begin(folder, RECIPE, 70)
        assert kept_levels(folder) is None
        for image in (3, 66):
            FeatureWriter(folder, 70).add(image, scattered(4, 9))
        assert kept_images(folder, 70) == 2
        missing = begin(folder, RECIPE, 70)
        assert [len(shard) for shard in missing] == [63, 5]
        with pytest.raises(StoreError, match="2 files of features are missing"):
            finish(folder, 70)


@pytest.mark.parametrize("name", ["features.json", "features-00000.npy", "counts-00000.npy", "levels.json"])
def test_a_damaged_folder_says_what_to_delete(tmp_path, name):
    folder = tmp_path / "features"
    written(folder, 3)
    (folder / name).write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"missing or damaged. Delete .*COMPLETE"):
        read_features(folder).of(0)
