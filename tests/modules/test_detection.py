"""Regions found in a collection: sizes, cells beside them, resuming, workers, bad images."""

from pathlib import Path

import pytest
import torch
from torch import nn

from seekloop.backbones.cnn import MapTokens
from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.records import KINDS
from seekloop.descriptors.encoding import FromTokens
from seekloop.modules.detection import DetectedRegions, with_cells
from seekloop.modules.sized_images import Sizing
from seekloop.regions.segments import Segments
from seekloop.store import found as found_files
from seekloop.store.found import FoundRegions
from seekloop.store.reader import open_store
from tests.backbones.worlds import expects
from tests.modules.extractions import TRAINER, extract
from tests.modules.fakes import Noise, Patches


class Averages(nn.Module):
    """A cell of 8 x 8 pixels is the mean of its colours."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        return [nn.functional.avg_pool2d(pixels, 8) * self.weight]


class Brightest:
    """The brightest token and its row, as two levels; nothing in an image that is dark at a random place."""

    def __init__(self, calls=None):
        self.calls = calls

    def __call__(self, tokens, rng):
        if self.calls is not None:
            self.calls.append(tuple(tokens.shape))
        h, w, _ = tokens.shape
        bright = tokens.sum(dim=2)
        masks = torch.zeros(2, h, w, dtype=torch.bool)
        row, column = divmod(int(bright.argmax()), w)
        masks[0, row], masks[1, row, column] = True, True
        drawn = float(torch.rand(1, generator=rng))
        keep = slice(0, 0) if drawn < 0.3 else slice(0, 2)
        return Segments(masks[keep], torch.tensor([1, 2])[keep], torch.tensor([0.5, drawn])[keep], 0.01)


def detected(folder, detector=None, **changes):
    backbone = MapTokens(Averages(), "averages", 3, (), expects(32))
    settings = {"feature": "tokens", "layer": None, "keep": (), "shortest": 4, "longest": 8, "enlarge": True}
    settings |= {"cells": None, "seed": 0, "store_dir": str(folder), "trainer": {**TRAINER, "workers": 0}, "jobs": 1}
    return DetectedRegions(detector or Brightest(), backbone, **{**settings, **changes})


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix in (".npz", ".npy")}


@pytest.mark.parametrize(
    ("size", "patch", "enlarge", "tokens"),
    [
        ((640, 480), (8, 8), True, (45, 60)),  # the paper's 480 x 360
        ((5000, 500), (8, 8), True, (10, 100)),  # a panorama: the longer side decides
        ((500, 5000), (8, 8), True, (100, 10)),
        ((100, 80), (8, 8), True, (45, 56)),  # 45 / 80 x 100 = 56.25
        ((100, 80), (8, 8), False, (10, 12)),  # as it is: 80 / 8, 100 / 8 = 12.5 to the even
        ((1000, 1), (14, 14), True, (1, 100)),  # never less than a token
    ],
)
def test_sizes_by_hand(size, patch, enlarge, tokens):
    assert Sizing(45, 100, enlarge).tokens(*size, patch) == tokens


def test_every_image_is_seen_at_its_own_shape_and_regions_lie_where_they_were_found(tmp_path):
    """Pictures are 40 x 36: four tokens along the shorter side, 4.4 along the longer."""
    calls = []
    regions = detected(tmp_path, Brightest(calls))
    found = regions.found(Noise(6), lambda _: None)
    assert calls == [(4, 4, 3)] * 6
    counts = found.offsets.diff().tolist()
    assert set(counts) == {0, 2}
    located = regions.regions(found)
    for image, count in enumerate(counts):
        boxes, masks = located.of(image), located.masks_of(image)
        kinds = [KINDS[kind] for kind in located.kind[located.rows(image)]]
        assert kinds == (["found", "found"] if count else ["whole"])
        if not count:
            assert boxes.tolist() == [list(WHOLE_IMAGE)]
            assert masks.all()
            continue
        assert located.level[located.rows(image)].tolist() == [1, 2]
        assert (boxes[0, 2] - boxes[0, 0], boxes[1, 2] - boxes[1, 0]) == (1, 0.25)
        assert masks.flatten(1).sum(dim=1).tolist() == [4, 1]


def test_cells_come_first_and_their_masks_are_where_they_are():
    """Two cells, side by side, before what was found; no whole image where there are cells. The masks by hand."""
    found = FoundRegions(
        Path("unread"),
        torch.tensor([0, 1, 1]),
        torch.tensor([[0.25, 0.5, 0.5, 1.0]]),
        torch.tensor([3]),
        torch.tensor([0.9]),
        torch.tensor([0.5, 0.5]),
        torch.tensor([True, True]),
    )
    regions = with_cells(found, grid_boxes([(1, 2)]))
    assert regions.offsets.tolist() == [0, 3, 5]
    assert regions.level.tolist() == [0, 0, 3, 0, 0]
    assert [KINDS[kind] for kind in regions.kind] == ["cell", "cell", "found", "cell", "cell"]
    torch.testing.assert_close(regions.of(0)[2], torch.tensor([0.25, 0.5, 0.5, 1.0]))
    torch.testing.assert_close(regions.of(1), grid_boxes([(1, 2)]))


def test_masks_of_cells_are_the_tokens_inside_them(tmp_path):
    regions = detected(tmp_path, cells="1x2")
    located = regions.regions(regions.found(Noise(3), lambda _: None))
    left = torch.tensor([True, True, False, False]).expand(4, 4)
    for image in range(3):
        masks = located.masks_of(image)
        assert len(masks) == len(located.of(image))
        assert masks[0].equal(left)
        assert masks[1].equal(~left)


def test_workers_and_kept_maps_change_nothing(tmp_path):
    """Two detecting processes, a decoding one, and maps read again instead of computed."""
    alone = detected(tmp_path / "one").found(Noise(7), lambda _: None)
    many = detected(tmp_path / "two", jobs=2, trainer={**TRAINER, "workers": 1}).found(Noise(7), lambda _: None)
    detected(tmp_path / "kept", keep=("tokens",), seed=5).found(Noise(7), lambda _: None)
    again = detected(tmp_path / "kept")
    again.maps.backbone.trunk = None  # it must not be needed
    read = again.found(Noise(7), lambda _: None)
    for other in (many, read):
        assert contents(other.folder) == contents(alone.folder)


def test_a_search_that_was_killed_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(found_files, "SHARD", 2)
    whole = detected(tmp_path / "whole").found(Noise(7), lambda _: None)

    class Dies(Brightest):
        def __call__(self, tokens, rng):
            if len(self.calls) == 5:
                raise KeyboardInterrupt
            return super().__call__(tokens, rng)

    Dies.__name__ = Brightest.__name__  # the same detector to whoever asks
    monkeypatch.setattr("seekloop.modules.detection.AT_ONCE", 1)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        detected(tmp_path / "part", Dies([])).found(Noise(7), lambda _: None)
    calls, said = [], []
    again = detected(tmp_path / "part", Brightest(calls)).found(Noise(7), said.append)
    assert len(calls) == 3  # two shards of two are done, three images are left
    assert "(4 are done already)" in said[0]
    assert contents(again.folder) == contents(whole.folder)
    detected(tmp_path / "part", Brightest(calls)).found(Noise(7), said.append)
    assert len(calls) == 3


def test_a_corrupt_image_is_recorded_and_has_itself_as_its_region(tmp_path):
    said = []
    regions = detected(tmp_path)
    found = regions.found(Noise(4, corrupt=(2,)), said.append)
    assert found.readable.tolist() == [True, True, False, True]
    assert any("folder/2.png (not an image)" in line for line in said)
    assert regions.regions(found).of(2).tolist() == [list(WHOLE_IMAGE)]


def test_a_threshold_that_says_nothing_is_said(tmp_path):
    """1 % of pairs alike: outside 5 to 95 %."""
    said = []
    detected(tmp_path).found(Noise(3), said.append)
    assert any(line.startswith("warning: 1.0% of the pairs") and "regions.detector" in line for line in said)


def test_tokens_that_are_no_numbers_stop_with_the_image_named(tmp_path):
    class Refuses(Brightest):
        def __call__(self, tokens, rng):
            raise ValueError("tokens are not finite")

    with pytest.raises(ValueError, match=r"folder/0\.png: tokens are not finite"):
        detected(tmp_path, Refuses()).found(Noise(2), lambda _: None)


def test_stores_are_made_of_what_was_found(tmp_path):
    """Ragged, with level and kind; another detector's seed is another store, and the same one is not searched again."""
    calls = []
    images = Noise(5)
    chosen = {"regions": detected(tmp_path, Brightest(calls)), "encoding": FromTokens(), "backbone": Patches()}
    folder = extract(tmp_path, images, chosen=chosen)
    store = open_store(folder, None)
    located = chosen["regions"].regions(chosen["regions"].found(images, lambda _: None))
    assert store.regions.offsets.equal(located.offsets)
    assert store.regions.level.equal(located.level)
    assert store.regions.kind.equal(located.kind)
    assert len(calls) == 5
    assert extract(tmp_path, images, chosen=chosen) == folder
    other = extract(tmp_path, images, chosen={**chosen, "regions": detected(tmp_path, Brightest(calls), seed=1)})
    assert other != folder
    assert len(calls) == 10


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"shortest": 0}, r"regions\.shortest=0"),
        ({"shortest": 9}, r"regions\.shortest=9"),
        ({"jobs": 0}, r"regions\.jobs=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, changes, named):
    with pytest.raises(ConfigError, match=named):
        detected(tmp_path, **changes)


@pytest.mark.usefixtures("no_gpu")
def test_a_device_that_is_not_there_is_said_before_any_file_is_made(tmp_path):
    with pytest.raises(ConfigError, match=r"^trainer='accelerator=gpu.*trainer=cpu"):
        detected(tmp_path, trainer={**TRAINER, "accelerator": "gpu", "workers": 0}).found(Noise(2), lambda _: None)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
