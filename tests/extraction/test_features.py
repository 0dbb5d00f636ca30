"""Local features of a collection: sizes, levels, resuming, workers and jobs, bad images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from seekloop.backbones.cnn import MapTokens
from seekloop.contracts.errors import ConfigError, Interrupted, UnreadableImageError
from seekloop.descriptors.local_features import LocalFeatureSettings
from seekloop.extraction import features
from seekloop.extraction.features import FindFeatures, LocalFeatureExtraction, Scales
from seekloop.extraction.trainer import TrainerSettings
from seekloop.matching.spatial import SpatialMatching, verify
from seekloop.regions.mser import Levels, Mser
from tests.backbones.worlds import expects
from tests.extraction.extractions import TRAINER
from tests.extraction.fakes import Noise

CELL = 4


class Colours(nn.Module):
    """Channels of one colour each and their sum, above a threshold; a cell is 4 x 4 pixels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        cells = nn.functional.avg_pool2d(pixels, CELL)
        cells = torch.cat([cells, cells.sum(dim=1, keepdim=True)], dim=1)
        return [nn.functional.relu(cells * self.weight)]


class Discs(Noise):
    """Coloured discs on black, 120 x 96 pixels, at places of each image's own."""

    def read(self, image):
        if image in self.corrupt:
            raise UnreadableImageError(self.paths[image], "not an image")
        rng = np.random.default_rng([image, self.salt])
        y, x = np.mgrid[:96, :120]
        picture = np.zeros((96, 120, 3))
        for colour in (0, 1, 2, 0, 1, 2):
            row, column, radius = rng.integers(14, 82), rng.integers(14, 106), rng.integers(8, 13)
            inside = (y - row) ** 2 / 1.5 + (x - column) ** 2 <= radius**2
            picture[inside, colour] = rng.integers(120, 255)
        return Image.fromarray(picture.astype(np.uint8))


def stage(folder, collection, **changes):
    backbone = MapTokens(Colours(), "colours", 4, (), expects(32))
    trainer = TrainerSettings(**{**TRAINER, **changes.pop("trainer", {})})
    settings = {
        "settings": LocalFeatureSettings(most=50),
        "scales": Scales(longest=120),
        "mser": Mser(step=0.1),
    } | changes
    return LocalFeatureExtraction(collection, backbone, store_dir=folder, trainer=trainer, **settings)


def quiet(_):
    pass


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("mean", "covariance", "channel", "strength", "scale", "sizes")
    )


@pytest.mark.parametrize(
    ("size", "patch", "settings", "sizes"),
    [
        ((2048, 1024), (16, 16), Scales(), [(512, 1024), (368, 720), (256, 512)]),  # 362 and 724 pixels: 22.6, 45.3
        ((100, 50), (16, 16), Scales(), [(48, 96), (32, 64), (32, 48)]),  # not enlarged; 25 pixels are 1.6 cells
        ((100, 50), (10, 10), Scales(longest=200, enlarge=True), [(100, 200), (70, 140), (50, 100)]),
        ((1000, 3), (16, 32), Scales(longest=64, scales=(0.5,)), [(16, 32)]),  # never less than a cell
    ],
)
def test_sizes_by_hand(size, patch, settings, sizes):
    assert settings.sizes(*size, patch) == sizes


def test_features_lie_on_the_discs_and_match_the_picture_moved(tmp_path):
    found = stage(tmp_path, Discs(3), role="query").ensure(quiet)
    for image in range(3):
        one = found.of(image)
        assert len(one) >= 6
        assert one.sizes.tolist() == [[24, 30], [17, 21], [12, 15]]
        mean, _ = one.on_picture(120, 96)
        picture = np.asarray(Discs(3).read(image))
        for (x, y), channel in zip(mean, one.channel, strict=True):
            pixel = picture[int(y), int(x)]
            assert pixel.any() if channel == 3 else pixel[channel] > 0
        assert verify(one, one, SpatialMatching()).inliers == max(np.bincount(one.scale))


def test_what_a_stage_stores_is_what_its_parts_find(tmp_path):
    given = stage(tmp_path, Discs(2))
    found = given.ensure(quiet)
    picture = given.maps.backbone  # the network, its images brought to each size by hand
    loader = features.ImagesAtScales(given.collection, given.maps, given.scales, [0, 1])
    levels = Levels(found.levels["factor"], found.levels["step"])
    for image in range(2):
        maps = [picture.tokens(pixels).patches[0].permute(2, 0, 1).half() for pixels in loader[image].pixels]
        assert same(found.of(image), FindFeatures(given.mser, levels, given.settings, "database")(maps, ""))


def test_levels_are_measured_once_on_evenly_spaced_images_or_those_of_another_collection(tmp_path, monkeypatch):
    read = []
    original = Discs.read
    monkeypatch.setattr(Discs, "read", lambda self, image: read.append(image) or original(self, image))
    first = stage(tmp_path, Discs(6), sample=3)
    levels = first.ensure(quiet).levels
    assert read == [0, 2, 4, *range(6)]
    assert first.ensure(quiet).levels == levels
    assert len(read) == 9  # a finished folder is only read
    queries = stage(tmp_path, Discs(2, salt=9), sample=3, measured_on=Discs(6), role="query").ensure(quiet)
    assert queries.levels == levels
    assert stage(tmp_path, Discs(2, salt=9), sample=3, role="query").ensure(quiet).levels != levels


def test_workers_and_jobs_change_nothing(tmp_path):
    one = stage(tmp_path / "one", Discs(5)).ensure(quiet)
    many = stage(tmp_path / "many", Discs(5), trainer={"workers": 2, "jobs": 2}).ensure(quiet)
    assert all(same(one.of(image), many.of(image)) for image in range(5))


def test_every_choice_is_part_of_the_recipe(tmp_path):
    changes = [
        {},
        {"role": "query"},
        {"settings": LocalFeatureSettings(most=49)},
        {"mser": Mser(step=0.5)},
        {"scales": Scales(longest=100)},
        {"sample": 7},
        {"measured_on": Discs(3)},
        {"trainer": {"precision": "bf16-true"}},
    ]
    keys = [stage(tmp_path, Discs(2), **change).recipe.key for change in changes]
    keys.append(stage(tmp_path, Discs(3)).recipe.key)
    assert len(set(keys)) == len(keys)
    assert stage(tmp_path, Discs(2), trainer={"workers": 3}).recipe.key == keys[0]


def test_a_search_that_was_stopped_goes_on_to_the_same_features(tmp_path, monkeypatch):
    whole = stage(tmp_path / "whole", Discs(6)).ensure(quiet)
    given = stage(tmp_path / "stopped", Discs(6), sample=2)
    original = FindFeatures.__call__

    def stopping(self, maps, path):
        if path == given.collection.paths[4]:
            raise KeyboardInterrupt
        return original(self, maps, path)

    monkeypatch.setattr(FindFeatures, "__call__", stopping)
    monkeypatch.setattr("seekloop.extraction.jobs.AT_ONCE", 1)
    with pytest.raises(Interrupted, match=r"features of 4 of 6 images are kept in "):
        given.ensure(quiet)
    monkeypatch.setattr(FindFeatures, "__call__", original)
    said = []
    found = given.ensure(said.append)
    assert any("4 are done already" in one for one in said)
    assert not any("measuring" in one for one in said)  # levels are kept
    again = stage(tmp_path / "again", Discs(6), sample=2).ensure(quiet)
    assert all(same(found.of(image), again.of(image)) for image in range(6))
    assert len(whole.why) == 6


def test_a_corrupt_image_is_counted_told_and_has_no_features(tmp_path):
    said = []
    found = stage(tmp_path, Discs(3, corrupt=(0,))).ensure(said.append)
    assert found.readable.tolist() == [False, True, True]
    assert len(found.of(0)) == 0
    assert verify(found.of(0), found.of(1), SpatialMatching()).inliers == 0
    assert "1 images could not be read: folder/0.png (not an image)" in said[-1]


def test_nothing_active_gives_no_features(tmp_path):
    backbone = MapTokens(Colours(), "dark", 4, (), expects(32))
    with torch.no_grad():
        next(backbone.trunk.parameters()).fill_(-1)
    given = replace(stage(tmp_path, Discs(2)), backbone=backbone)
    found = given.ensure(quiet)
    assert found.offsets.tolist() == [0, 0, 0]
    assert found.levels == {"factor": 1.0, "step": 1}


def test_activations_that_are_no_numbers_stop_with_the_image_named():
    find = FindFeatures(Mser(), Levels(1.0, 1), LocalFeatureSettings(), "query")
    with pytest.raises(ValueError, match=r"a\.png: the network's map holds numbers that are not finite"):
        find((torch.full((1, 4, 4), torch.nan),), "a.png")


def test_an_empty_collection_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no images"):
        stage(tmp_path, Discs(0))


def test_scales_are_above_zero():
    with pytest.raises(ConfigError, match="above 0"):
        Scales(scales=())
    with pytest.raises(ConfigError, match="above 0"):
        Scales(scales=(1.0, 0.0))
