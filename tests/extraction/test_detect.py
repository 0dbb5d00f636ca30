"""Regions found in a collection: sizes, cells beside them, resuming, workers, bad images."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from seekloop.backbones.cnn import MapTokens
from seekloop.backbones.maps import Maps
from seekloop.backbones.preprocessing import Preprocessing
from seekloop.backbones.vit import PatchTokens
from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.errors import ConfigError, Interrupted
from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.records import KINDS
from seekloop.descriptors.encoding import FromTokens
from seekloop.extraction.detect import Detection, MapOfImage, MasksWithCells, detect, with_cells
from seekloop.extraction.images import ImagesAtTheirSize, Sharded, Sizing
from seekloop.extraction.trainer import TrainerSettings
from seekloop.images.transforms import to_pixels
from seekloop.regions.detected import Detected
from seekloop.regions.segments import Segments
from seekloop.store import found as found_files
from seekloop.store.found import FoundRegions
from seekloop.store.kept_maps import keep_map
from seekloop.store.reader import open_store
from tests.backbones.worlds import expects, small_vit
from tests.extraction.extractions import TRAINER, extract
from tests.extraction.fakes import Noise, Patches

ROOT = Path(__file__).parents[2]


class Averages(nn.Module):
    """A cell of so many pixels is the mean of its colours."""

    def __init__(self, height=8, width=8):
        super().__init__()
        self.cell, self.weight = (height, width), nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        return [nn.functional.avg_pool2d(pixels, self.cell) * self.weight]


class Brightest:
    """The brightest token and its row, as two levels; nothing in an image that is dark at a random place."""

    def __init__(self, calls=None, affine=0.01):
        self._calls, self.affine = calls, affine

    def __call__(self, tokens, rng):
        if self._calls is not None:
            self._calls.append(tokens)
        h, w, _ = tokens.shape
        bright = tokens.sum(dim=2)
        masks = torch.zeros(2, h, w, dtype=torch.bool)
        row, column = divmod(int(bright.argmax()), w)
        masks[0, row], masks[1, row, column] = True, True
        drawn = float(torch.rand(1, generator=rng))
        keep = slice(0, 0) if drawn < 0.3 else slice(0, 2)
        return Segments(masks[keep], torch.tensor([1, 2])[keep], torch.tensor([0.5, drawn])[keep], self.affine)


class Others(Brightest):
    """Another detector."""


def detected(folder, detector=None, **changes):
    settings = {"backbone": MapTokens(Averages(), "averages", 3, (), expects(32))}
    settings |= {"shortest": 4, "longest": 8}
    trainer = TrainerSettings(**changes.pop("trainer", TRAINER))
    return Detection(Detected(detector or Brightest(), **{**settings, **changes}), str(folder), trainer)


def transformer(brighter=0.0, mean=0.0):
    trunk = small_vit(dynamic_img_size=True)
    with torch.no_grad():
        trunk.patch_embed.proj.bias += brighter
    return PatchTokens(trunk, "small", (), Preprocessing((32, 32), (mean,) * 3, (1.0,) * 3, "bicubic"))


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
        ((100, 80), (8, 16), False, (5, 6)),  # no side of a patch is enlarged: 80 / 16, 100 / 16 = 6.25
        ((1000, 1), (14, 14), True, (1, 100)),  # never less than a token
    ],
)
def test_sizes_by_hand(size, patch, enlarge, tokens):
    assert Sizing(45, 100, enlarge).tokens(*size, patch) == tokens


def test_every_image_is_seen_at_its_own_shape_and_regions_lie_where_they_were_found(tmp_path):
    """Pictures are 40 x 36: five tokens along the shorter side, 5.6 along the longer."""
    calls = []
    regions = detected(tmp_path, Brightest(calls), shortest=5)
    found = regions.found(Noise(6), lambda _: None)
    assert [tokens.shape for tokens in calls] == [(5, 6, 3)] * 6
    counts = found.offsets.diff().tolist()
    assert set(counts) == {0, 2}
    located = regions.located(found)
    for image, count in enumerate(counts):
        boxes, masks = located.of(image), located.masks_of(image)
        kinds = [KINDS[kind] for kind in located.kind[located.rows(image)]]
        assert kinds == (["found", "found"] if count else ["whole"])
        if not count:
            assert boxes.tolist() == [list(WHOLE_IMAGE)]
            assert masks.all()
            continue
        assert located.level[located.rows(image)].tolist() == [1, 2]
        torch.testing.assert_close(boxes[:, 2:] - boxes[:, :2], torch.tensor([[1, 1 / 5], [1 / 6, 1 / 5]]))
        assert masks.flatten(1).sum(dim=1).tolist() == [6, 1]


def test_images_are_read_by_position_and_normalised_at_their_size(tmp_path):
    """Patches of 8 x 4 pixels, 40 x 36 pictures at 2 x 2 tokens: 16 x 8 pixels. The map of image 4 is there already."""
    colours = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    network = MapTokens(Averages(8, 4), "averages", 3, (), Preprocessing((32, 32), *colours, "bicubic"))
    keep_map(tmp_path, 4, torch.full((1, 2, 3), 7.0))
    images = ImagesAtTheirSize(Noise(6), Maps(network, ("tokens",), None), Sizing(2, 9, True), tmp_path, {}, [2, 4])
    assert images[0].pixels[0].equal(to_pixels(Noise(6).read(2), (16, 8), *colours, "bicubic"))
    assert (int(images[0].image), images[0].kept) == (2, None)
    assert images[1].kept.equal(torch.full((1, 2, 3), 7.0))


@pytest.mark.parametrize(("rank", "images"), [(0, [0, 1, 6]), (1, [3, 4])])
def test_processes_share_the_shards_that_are_missing(rank, images):
    data = Sharded(list, [[0, 1], [3, 4], [6]], 0)
    data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
    assert data.predict_dataloader().dataset == images


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
        torch.tensor([False, False]),
    )
    regions = with_cells(found, grid_boxes([(1, 2)]))
    assert regions.offsets.tolist() == [0, 3, 5]
    assert regions.level.tolist() == [0, 0, 3, 0, 0]
    assert [KINDS[kind] for kind in regions.kind] == ["cell", "cell", "found", "cell", "cell"]
    torch.testing.assert_close(regions.of(0)[2], torch.tensor([0.25, 0.5, 0.5, 1.0]))
    torch.testing.assert_close(regions.of(1), grid_boxes([(1, 2)]))


def test_masks_of_cells_are_the_tokens_inside_them(tmp_path):
    regions = detected(tmp_path, cells="1x2")
    found = regions.found(Noise(6), lambda _: None)
    located = regions.located(found)
    left = torch.tensor([True, True, False, False]).expand(4, 4)
    for image in range(6):
        masks = located.masks_of(image)
        assert len(masks) == len(located.of(image))
        assert masks[0].equal(left)
        assert masks[1].equal(~left)
        assert masks[2:].equal(found.masks(image))


def test_cells_thinner_than_a_token_have_the_tokens_whose_middle_they_hold_or_else_the_nearest(tmp_path):
    """Sixteen cells across a map of 4 x 4. No middle lies in the fourth, from 3 / 16 to 4 / 16: the nearest to its own
    is in the first column, and in the second row of two as near. The sixth ends at 3 / 8, the middle of column 1."""
    masks = MasksWithCells(detected(tmp_path).found(Noise(1), lambda _: None), grid_boxes([(1, 16)])).of(0)
    assert masks[3].nonzero().tolist() == [[1, 0]]
    assert masks[5].nonzero().tolist() == [[row, 1] for row in range(4)]


def test_workers_and_kept_maps_change_nothing(tmp_path):
    """Two detecting processes, a decoding one, and maps read again instead of computed."""
    alone = detected(tmp_path / "one").found(Noise(7), lambda _: None)
    many = detected(tmp_path / "two", trainer={**TRAINER, "workers": 1, "jobs": 2}).found(Noise(7), lambda _: None)
    detected(tmp_path / "kept", keep=("tokens",), seed=5).found(Noise(7), lambda _: None)
    again = detected(tmp_path / "kept")
    again.maps.backbone.trunk = None  # it must not be needed
    read = again.found(Noise(7), lambda _: None)
    for other in (many, read):
        assert contents(other.folder) == contents(alone.folder)


def test_maps_that_regions_found_before_leave_out_are_told(tmp_path):
    said = []
    detected(tmp_path).found(Noise(3), said.append)
    detected(tmp_path, keep=("tokens",)).found(Noise(3), said.append)
    (told,) = [line for line in said if "regions.keep" in line]
    assert told.startswith(
        "regions.keep: maps of tokens are not kept of all images, since regions that were found before"
    )
    detected(tmp_path / "other", keep=("tokens",)).found(Noise(3), said.append)
    detected(tmp_path / "other", keep=("tokens",)).found(Noise(3), said.append)
    assert [line for line in said if "regions.keep" in line] == [told]


def test_every_feature_is_kept_as_itself_and_seen_as_it_would_be_computed(tmp_path):
    """Keys, computed, or kept beside the tokens that another run looked at."""
    seen = {}
    detected(tmp_path / "kept", backbone=transformer(), keep=("keys",)).found(Noise(3), lambda _: None)
    for place in ("fresh", "kept"):
        seen[place] = []
        detector = Brightest(seen[place])
        detected(tmp_path / place, detector, backbone=transformer(), feature="keys").found(Noise(3), lambda _: None)
    for fresh, kept in zip(seen["fresh"], seen["kept"], strict=True):
        assert fresh.equal(kept)


def test_a_feature_is_kept_even_where_the_maps_that_are_looked_at_are_on_disk(tmp_path):
    """Tokens are kept first; then another detector looks at tokens and keeps keys. The third runs no network."""
    detected(tmp_path, backbone=transformer(), keep=("tokens",)).found(Noise(3), lambda _: None)
    second = detected(tmp_path, Others(), backbone=transformer(), keep=("keys",))
    second.found(Noise(3), lambda _: None)
    third = detected(tmp_path, backbone=transformer(), feature="keys", keep=("keys", "tokens"))
    third.maps.backbone.trunk = None
    third.found(Noise(3, corrupt=(0, 1, 2)), lambda _: None)
    folders = {path.parent for path in tmp_path.rglob("0000002.npy")}
    assert sorted(path.name.split("-")[0] for path in folders) == ["noise_keys", "noise_tokens"]
    assert all((folder / "COMPLETE").exists() for folder in folders)


def test_the_seed_decides_what_is_drawn(tmp_path):
    one, two = (detected(tmp_path, seed=seed).found(Noise(6), lambda _: None) for seed in (0, 1))
    assert not one.score.equal(two.score)


def test_every_choice_is_part_of_what_names_the_regions(tmp_path):
    """All but where they lie, what is kept, and who finds them; None is the last of two blocks."""
    changes = [{"seed": 1}, {"feature": "keys"}, {"layer": 0}, {"shortest": 5}, {"longest": 9}, {"enlarge": False}]
    changes += [{"cells": "1x2"}, {"detector": Others()}]
    changes += [{"trainer": {**TRAINER, "precision": "bf16-true"}}]
    changes += [{"backbone": transformer(brighter=1.0)}, {"backbone": transformer(mean=0.5)}]

    def key(**changed):
        chosen = detected(tmp_path, **{"backbone": transformer(), **changed})
        return chosen.parts(Noise(1), poolable=False).recipe.key

    assert len({key(), *(key(**changed) for changed in changes)}) == 1 + len(changes)
    assert key(layer=1) == key(layer=-1) == key(trainer={**TRAINER, "jobs": 2}, keep=("keys",)) == key()
    one, two = (detected(tmp_path).found(Noise(1, salt=salt), lambda _: None).folder for salt in (0, 1))
    assert one != two


def test_a_detector_works_in_one_thread_and_leaves_their_number_as_it_was():
    threads = []

    def watches(tokens, rng):
        threads.append(torch.get_num_threads())
        return Brightest()(tokens, rng)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        detect(watches, MapOfImage(torch.ones(2, 2, 3), torch.tensor([0]), ""), 0)
        threads.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 2]


def test_a_search_that_was_killed_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(found_files, "SHARD", 2)
    whole = detected(tmp_path / "whole").found(Noise(7), lambda _: None)

    class Dies(Brightest):
        def __call__(self, tokens, rng):
            if len(self._calls) == 5:
                raise KeyboardInterrupt
            return super().__call__(tokens, rng)

    Dies.__name__ = Dies.__qualname__ = Brightest.__name__  # the same detector to whoever asks
    monkeypatch.setattr("seekloop.extraction.jobs.AT_ONCE", 1)
    with pytest.raises(Interrupted, match=r"regions of 5 of 7 images are kept in "):
        detected(tmp_path / "part", Dies([])).found(Noise(7), lambda _: None)
    calls, said = [], []
    again = detected(tmp_path / "part", Brightest(calls)).found(Noise(7), said.append)
    assert len(calls) == 2
    assert "(5 are done already)" in said[0]
    assert contents(again.folder) == contents(whole.folder)
    detected(tmp_path / "part", Brightest(calls)).found(Noise(7), said.append)
    assert len(calls) == 2


def test_a_corrupt_image_is_recorded_and_has_itself_as_its_region(tmp_path):
    said = []
    regions = detected(tmp_path, keep=("tokens",))
    found = regions.found(Noise(4, corrupt=(2,)), said.append)
    assert found.readable.tolist() == [True, True, False, True]
    assert any("folder/2.png (not an image)" in line for line in said)
    assert any(line.startswith(f"{len(found.boxes) / 3:.1f} regions per image") for line in said)
    assert regions.located(found).of(2).tolist() == [list(WHOLE_IMAGE)]
    assert [path.stem for path in sorted(tmp_path.rglob("*.npy"))] == ["0000000", "0000001", "0000003"]


@pytest.mark.parametrize(
    ("affine", "warning"),
    [(0.01, "warning: 1.0% of the pairs"), (0.99, "warning: 99.0% of the pairs"), (0.06, None), (None, None)],
)
def test_a_threshold_that_says_nothing_is_said(tmp_path, affine, warning):
    """Outside 5 to 95 % of pairs alike; of a detector without a threshold nothing is said."""
    said = []
    found = detected(tmp_path, Brightest(affine=affine)).found(Noise(3), said.append)
    warned = [line for line in said if line.startswith("warning")]
    assert len(warned) == (warning is not None)
    assert all(line.startswith(warning) and "regions.detector" in line for line in warned)
    assert found.affine_share == (None if affine is None else pytest.approx(affine))


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
    located = chosen["regions"].located(chosen["regions"].found(images, lambda _: None))
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
        ({"shortest": 0}, "^Detected: shortest=0 .*at least 1"),
        ({"shortest": 9}, "^Detected: shortest=9 .*longest=8"),
        ({"cells": "2by2"}, "^Detected: cells='2by2' .*Write for example cells=1x1"),
        ({"feature": "values"}, "^Detected: feature='values' .*convolutional"),
        ({"layer": 2}, "^Detected: layer=2 .*convolutional"),
        ({"trainer": {**TRAINER, "jobs": 0}}, "^TrainerSettings: jobs=0 .*Usual: None"),
        ({"trainer": {**TRAINER, "workers": -1}}, "^TrainerSettings: workers=-1 "),
        ({"trainer": {**TRAINER, "precision": "16"}}, "^TrainerSettings: precision='16' .*one of: auto, 32-true"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, changes, named):
    with pytest.raises(ConfigError, match=named):
        detected(tmp_path, **changes)


@pytest.mark.usefixtures("no_gpu")
def test_a_device_that_is_not_there_is_said_before_any_file_is_made(tmp_path):
    with pytest.raises(ConfigError, match=r"^trainer='accelerator=gpu.*trainer=cpu"):
        detected(tmp_path, trainer={**TRAINER, "accelerator": "gpu"}).found(Noise(2), lambda _: None)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.slow
def test_two_devices_that_detect_in_jobs_come_to_an_end_with_the_files_of_one(tmp_path):
    """Two shards, so that each device has one; detecting processes that outlive the work would hold them up."""
    command = [sys.executable, "-m", "tests.extraction.detections", str(tmp_path / "two"), "70", "2"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    alone = detected(tmp_path / "one").found(Noise(70), lambda _: None)
    assert contents(tmp_path / "two" / alone.folder.name) == contents(alone.folder)
