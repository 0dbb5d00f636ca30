import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from seekloop.artifacts import files
from seekloop.artifacts.files import CannotWriteError
from seekloop.contracts.errors import ConfigError, StoreError, UnreadableImageError
from seekloop.descriptors.encoding import FromCrops
from seekloop.descriptors.pooling import ClassToken, Mean
from seekloop.images.transforms import to_pixels
from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.regions.grid import Grid
from seekloop.store import open_store
from seekloop.store.manifest import read_manifest
from seekloop.store.shards import discard, verify
from seekloop.store.shards import missing as missing_shards
from tests.extraction.extractions import contents, extract, planned
from tests.extraction.fakes import Noise, Patches

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def look(collection, image, box=None):
    """What the network makes of an image, or of a part of it given in pixels."""
    picture = collection.read(image) if box is None else collection.read(image).crop(box)
    pixels = to_pixels(picture, (32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear")
    return Patches()(pixels[None])


def missing(plan):
    return missing_shards(plan.folder, plan.manifest)


def program(folder, images, deadly=-1, devices=1):
    """A command that extracts a collection whose image 7 is corrupt."""
    words = (folder, images, deadly, devices)
    return [sys.executable, "-m", "tests.extraction.extractions", *map(str, words)]


def unit(rows):
    return torch.nn.functional.normalize(rows, dim=-1)


def close(a, b):
    torch.testing.assert_close(a, b, atol=2e-3, rtol=0)


class Unreadable(Noise):
    """To show that nothing is read."""

    def read(self, image):
        raise AssertionError(f"image {image} was read")


class Counting(Noise):
    """Remembers what was read."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = []

    def read(self, image):
        self.seen.append(image)
        return super().read(image)


def test_descriptors_are_those_of_their_image(tmp_path):
    """4 x 4 tokens: each cell of 2 x 2 is the mean of four of them; global is the class token."""
    collection = Noise(6)
    store = open_store(extract(tmp_path, collection), "2x2")
    block = store.read(torch.tensor([5, 0]), local=True)
    for place, image in enumerate([5, 0]):
        tokens = look(collection, image)
        cells = [tokens.patches[0, r : r + 2, c : c + 2].mean(dim=(0, 1)) for r in (0, 2) for c in (0, 2)]
        close(block.global_[place], unit(tokens.cls[0]))
        close(block.local[4 * place : 4 * place + 4], unit(torch.stack(cells)))


def test_grids_that_divide_4x4_share_one_store_and_a_finished_one_is_not_computed_again(tmp_path):
    said = []
    folders = {
        extract(tmp_path, kind(5), chosen={"regions": Grid(grid, "4x4")}, say=said.append)
        for kind, grid in ((Noise, "2x2"), (Unreadable, "4x4"), (Unreadable, "1x1+2x2+4x4"))
    }
    assert len(folders) == 1
    assert len(said) == 1
    assert said[0].startswith("describing 5 images: 0.0 MB in ")


def test_crops_are_cut_from_the_original_image(tmp_path):
    """40 x 36 pixels: the upper right quarter is (20, 0, 40, 18); 1x1 is the image again."""
    collection = Noise(3)
    chosen = {"regions": Grid("1x1+2x2", "4x4"), "encoding": FromCrops()}
    store = open_store(extract(tmp_path, collection, chosen=chosen), "1x1+2x2")
    block = store.read(torch.tensor([1]), local=True)
    close(block.local[0], block.global_[0])
    close(block.local[2], unit(look(collection, 1, (20, 0, 40, 18)).cls[0]))


BOXES = [(3, (0.0, 0.0, 0.5, 0.5)), (3, (0.5, 0.5, 1.0, 1.0)), (0, (0.25, 0.0, 0.75, 1.0))]


@pytest.mark.parametrize("encoding", [None, FromCrops()])
def test_drawn_boxes(tmp_path, encoding):
    """Image 3 has two boxes, image 0 one, the others the whole image."""
    collection = Noise(5, BOXES)
    chosen = {"regions": AnnotatedBoxes(), "pooling": Mean(), **({"encoding": encoding} if encoding else {})}
    block = open_store(extract(tmp_path, collection, chosen=chosen), None).read(torch.tensor([3, 1]), local=True)
    assert block.offsets.tolist() == [0, 2, 3]
    corner = look(collection, 3, (20, 18, 40, 36)).patches if encoding else look(collection, 3).patches[:, 2:, 2:]
    close(block.local[1], unit(corner.mean(dim=(0, 1, 2))))
    close(block.local[2], block.global_[1])


def test_one_image(tmp_path):
    store = open_store(extract(tmp_path, Noise(1)), "4x4")
    assert (store.images, store.read(torch.tensor([0]), local=True).local.shape) == (1, (16, 6))


def test_workers_change_no_bit(tmp_path):
    one, two = (extract(tmp_path / str(w), Noise(7, corrupt=(2,)), workers=w) for w in (0, 2))
    assert contents(one) == contents(two)


def test_a_corrupt_image_is_skipped_recorded_and_reported(tmp_path):
    said = []
    folder = extract(tmp_path, Noise(6, corrupt=(1, 4)), say=said.append)
    assert said[-1] == (
        "2 of 6 images could not be read and are left out: folder/1.png (not an image); folder/4.png (not an image)"
    )
    assert open_store(folder, None).readable.tolist() == [True, False, True, True, False, True]
    assert [row["path"] for row in files.read_json(folder / "failures.json")] == ["folder/1.png", "folder/4.png"]
    intact = open_store(extract(tmp_path / "intact", Noise(6)), None).read(torch.arange(6), local=True)
    block = open_store(folder, None).read(torch.arange(6), local=True)
    assert torch.equal(block.global_[[0, 2, 3, 5]], intact.global_[[0, 2, 3, 5]])
    assert not block.global_[[1, 4]].any()


@pytest.mark.parametrize("workers", [0, 1])
def test_or_stops_the_run_when_asked(tmp_path, workers):
    with pytest.raises(UnreadableImageError, match=r"folder/5\.png: not an image"):
        extract(tmp_path, Noise(9, corrupt=(5,)), fail_fast=True, workers=workers)
    assert missing(planned(tmp_path, Noise(9))) == [1, 2]


def test_killed_and_started_again_gives_the_same_bytes(tmp_path):
    """Image 9 of 12 kills the process as `kill -9` does: shards 0 and 1 are there, shard 2 is not."""
    died = subprocess.run(program(tmp_path / "killed", 12, deadly=9), cwd=ROOT, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert missing(planned(tmp_path / "killed", Noise(12))) == [2]
    said, collection = [], Counting(12, (), (7,))
    folder = extract(tmp_path / "killed", collection, say=said.append)
    assert collection.seen == [8, 9, 10, 11]
    assert "describing 12 images (8 are done already)" in said[0]
    assert contents(folder) == contents(extract(tmp_path / "straight", Noise(12, corrupt=(7,))))


def test_damaged_shards_alone_are_repaired(tmp_path):
    folder = extract(tmp_path, Noise(12))
    before = contents(folder)
    (folder / "local-00001.npy").write_bytes(before["local-00001.npy"][:-1] + b"\x01")
    assert [Path(problem.where).name for problem in verify(folder)] == ["local-00001.npy"]
    discard(folder, verify(folder))
    (folder / "whole-00002.npy").unlink()
    collection = Counting(12)
    extract(tmp_path, collection)
    assert collection.seen == list(range(4, 12))
    assert contents(folder) == before
    assert not verify(folder)


def test_tokens_that_are_not_finite_name_the_image(tmp_path):
    with pytest.raises(StoreError, match=r"not finite for folder/0\.png, folder/1\.png\."):
        extract(tmp_path, Noise(3), chosen={"backbone": Patches(scale=float("nan"))})


def test_a_full_disk_is_said_and_survived(tmp_path, monkeypatch):
    real = os.replace

    def full(draft, path):
        if "local-00001" in Path(path).name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(draft, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(CannotWriteError, match="its disk has no space left"):
            extract(tmp_path / "full", Noise(9))
    folder = extract(tmp_path / "full", Noise(9))
    assert contents(folder) == contents(extract(tmp_path / "roomy", Noise(9)))


def test_too_little_space_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(StoreError, match="store_dir="):
        extract(tmp_path, Unreadable(9))


def test_a_changed_collection_gets_a_store_of_its_own(tmp_path):
    said = []
    first = extract(tmp_path, Noise(3), say=said.append)
    second = extract(tmp_path, Noise(4), say=said.append)
    assert first != second
    assert [line.split()[0] for line in said] == ["describing", "describing"]  # nothing is known of its contents


def test_a_second_process_waits_and_takes_the_finished_store(tmp_path):
    finished = extract(tmp_path / "other", Noise(4))
    folder = planned(tmp_path / "shared", Noise(4)).folder
    folder.parent.mkdir()
    said, waiting = [], threading.Event()

    def say(message):
        said.append(message)
        waiting.set()

    second = threading.Thread(target=extract, args=(tmp_path / "shared", Unreadable(4)), kwargs={"say": say})
    with FileLock(f"{folder}.lock"):
        second.start()
        assert waiting.wait(30)
        shutil.copytree(finished, folder)
    second.join(30)
    assert said == [f"another process is extracting {folder.name}: waiting for it"]


@pytest.mark.slow
def test_two_processes_at_once(tmp_path):
    command = program(tmp_path / "both", 40)
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    outputs = [process.communicate()[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("describing" in output for output in outputs) == 1
    straight = extract(tmp_path / "one", Noise(40, corrupt=(7,)))
    assert contents(planned(tmp_path / "both", Noise(40)).folder) == contents(straight)


@pytest.mark.slow
def test_two_devices_give_the_bytes_of_one(tmp_path):
    """A program of its own, as spawned processes import the main module again."""
    subprocess.run(program(tmp_path / "two", 18, devices=2), cwd=ROOT, check=True, capture_output=True)
    straight = extract(tmp_path / "one", Noise(18, corrupt=(7,)))
    assert contents(planned(tmp_path / "two", Noise(18)).folder) == contents(straight)


def test_half_precision_has_a_key_of_its_own_and_leaves_the_backbone_as_it_was(tmp_path):
    backbone = Patches()
    folders = [
        extract(tmp_path, Noise(3), trainer={"precision": p}, chosen={"backbone": backbone})
        for p in ("bf16-true", "32-true")
    ]
    assert backbone.conv.weight.dtype == torch.float32
    assert [read_manifest(folder).precision for folder in folders] == ["bf16-true", "32-true"]
    half, full = (open_store(folder, "2x2").read(torch.arange(3), local=True) for folder in folders)
    assert not torch.equal(half.local, full.local)
    torch.testing.assert_close(half.local, full.local, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("chosen", "changes", "message"),
    [
        ({"regions": Grid("8x8", "4x4")}, {}, r"8x8 cells are finer than the backbone's 4x4 tokens"),
        ({"pooling": ClassToken(), "backbone": Patches(cls=False)}, {}, r"pooling='cls'"),
        ({}, {"batch_size": 0}, "^TrainerSettings: batch_size=0"),
        ({}, {"shard": 0}, "^Extraction: shard=0"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(tmp_path, chosen, changes, message):
    with pytest.raises(ConfigError, match=message):
        extract(tmp_path, Unreadable(4), chosen=chosen, **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("lacking", [{"accelerator": "gpu"}, {"strategy": "teleport"}])
def test_a_device_that_is_not_there_is_said_before_any_file_is_made(tmp_path, lacking):
    with pytest.raises(ConfigError, match=rf"^trainer='accelerator.*{next(iter(lacking.values()))}.*trainer=cpu"):
        extract(tmp_path, Unreadable(4), trainer=lacking)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_finished_store_still_refuses_a_grid_finer_than_the_tokens(tmp_path):
    extract(tmp_path, Noise(2), chosen={"regions": Grid("8x8", "8x8"), "encoding": FromCrops()})
    extract(tmp_path, Noise(2), chosen={"regions": Grid("2x2", "8x8")})
    with pytest.raises(ConfigError, match="finer"):
        extract(tmp_path, Noise(2), chosen={"regions": Grid("8x8", "8x8")})


def test_no_images(tmp_path):
    with pytest.raises(ConfigError, match="nothing to describe"):
        extract(tmp_path, Noise(0))


def test_plans_foresee_the_work(tmp_path):
    """9 images in shards of 4: 9 x (1 + 16) x 6 numbers of 2 bytes. Unevenly sized shards round up to whole batches."""
    ahead = planned(tmp_path, Noise(9))
    assert (ahead.finished, ahead.missing_images(), ahead.bytes()) == (False, 9, 1836)
    assert planned(tmp_path, Noise(9), shard=5).manifest.shard == 6
    folder = extract(tmp_path, Noise(9))
    done = planned(tmp_path, Unreadable(9))
    assert (done.finished, done.folder, done.key) == (True, folder, read_manifest(folder).key)


def test_extraction_leaves_nothing_else_behind(tmp_path, monkeypatch, recwarn):
    monkeypatch.chdir(tmp_path)
    folder = extract(tmp_path / "stores", Noise(3))
    assert [path.name for path in tmp_path.iterdir()] == ["stores"]
    assert {path.name for path in (tmp_path / "stores").iterdir()} <= {folder.name, f"{folder.name}.lock"}
    assert not recwarn.list
