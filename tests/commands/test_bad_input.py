"""What a person is told when the input is bad, and that what is left behind can be used afterwards."""

import csv
import errno
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from seekloop.backbones import tiny
from seekloop.backbones.tiny import WEIGHTS
from tests.commands.runs import (
    EXTRACTED,
    SMALL,
    contents,
    folder_of,
    photograph,
    places,
    refused,
    results,
    seekloop,
    worked,
)

NOT_THE_COLLECTION = tuple(word for word in SMALL if not word.startswith(("collection", "loop.classes")))
IMAGES = 24


def search(folder, runs, stores, *changes):
    """A search among the images of a folder, with the boxes beside them where there are any."""
    boxes = [f"collection.boxes={folder / 'boxes.csv'}"] if (folder / "boxes.csv").exists() else []
    where = ["collection=folder", f"collection.root={folder}", *boxes, *places(runs, stores)]
    return seekloop("retrieve", *NOT_THE_COLLECTION, *where, *changes)


def write_boxes(folder, rows):
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "class", "x0", "y0", "x1", "y1"])
        writer.writerows(rows)


@pytest.fixture
def album(tmp_path):
    """Photographs in which every third has a cup and number 0 to 6 a plate."""
    folder = tmp_path / "album"
    for number in range(IMAGES):
        photograph(folder / f"{number:02d}.png", number)
    cups = [(f"{number:02d}.png", "cup", 4, 4, 20, 14) for number in range(0, IMAGES, 3)]
    plates = [(f"{number:02d}.png", "plate", 10, 4, 30, 30) for number in range(7)]
    write_boxes(folder, cups + plates)
    return folder


def add_boxes(album, rows):
    with (album / "boxes.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def test_no_images(tmp_path):
    (tmp_path / "empty").mkdir()
    message = refused(search(tmp_path / "empty", tmp_path / "runs", tmp_path / "stores"))
    assert "collection.root=" in message
    assert "no image" in message
    assert not (tmp_path / "runs").exists()


def test_no_folder(tmp_path):
    assert str(tmp_path / "none") in refused(search(tmp_path / "none", tmp_path / "runs", tmp_path / "stores"))
    message = refused(seekloop("retrieve", *NOT_THE_COLLECTION, "collection=voc2012", *places(tmp_path, tmp_path)))
    assert "collection.root" in message


def test_one_image(tmp_path):
    photograph(tmp_path / "one" / "only.png", 0)
    write_boxes(tmp_path / "one", [("only.png", "cup", 4, 4, 20, 14)])
    message = refused(search(tmp_path / "one", tmp_path / "runs", tmp_path / "stores"))
    assert "no class can be searched: {'cup': '1 positive (2 needed), 0 negatives (5 needed)'}" in message


def test_no_boxes(album, tmp_path):
    (album / "boxes.csv").unlink()
    message = refused(search(album, tmp_path / "runs", tmp_path / "stores"))
    assert "a simulated search needs annotated objects" in message
    assert "collection.boxes=" in message


def test_odd_files_are_left_out_reported_and_never_stop_a_run(album, tmp_path):
    """Empty, text, 1x1, large, one name in three folders, spaces, other alphabets; boxes that lie outside."""
    (album / "empty.png").write_bytes(b"")
    (album / "letter.jpg").write_text("Dear Sir or Madam")
    (album / "notes.txt").write_text("no image by its name either")
    Image.new("RGB", (1, 1), "red").save(album / "dot.png")
    Image.new("1", (2_000, 1_500), 1).save(album / "wall.png")
    for place in ("left", "right", "my files/größe 寸法"):
        photograph(album / place / "same name.png", len(place))
    same = ("my files/größe 寸法/same name.png", "Tasse à café", 4, 4, 20, 14)
    outside = [("04.png", "cup", 30, 20, 90, 99), ("05.png", "cup", 60, 4, 70, 14), ("absent.png", "cup", 1, 1, 2, 2)]
    other = [("left/same name.png", "Tasse à café", 4, 4, 20, 14), ("same name.png", "cup", 1, 1, 9, 9), same]
    add_boxes(album, [*outside, *other, ("empty.png", "cup", 1, 1, 9, 9), ("dot.png", "cup", 0, 0, 1, 1)])
    assert "4 of 23 annotated objects would be left out" in search(album, tmp_path / "runs", tmp_path / "stores").err
    outcome = worked(search(album, tmp_path / "runs", tmp_path / "stores", "collection.max_loss=1"))
    assert "2 of 31 images could not be read and are left out: empty.png (" in outcome.out
    assert "letter.jpg (" in outcome.out
    assert "4 objects lost" in outcome.out
    told = [line for line in outcome.out.splitlines() if line.startswith("  ")]
    assert any("boxes.csv, line 18" in line for line in told), told  # lies outside its image
    assert any("absent.png" in line for line in told), told
    assert any("same name.png" in line for line in told), told  # which of the three?
    folder = folder_of(outcome)
    queries = pd.read_parquet(folder / "queries.parquet")
    assert set(queries["class_name"]) == {"cup", "plate", "Tasse à café"}
    asked = pd.read_parquet(folder / "asked.parquet")
    assert not set(asked["path"]) & {"empty.png", "letter.jpg"}
    clipped = asked[(asked["path"] == "04.png") & (asked["class_name"] == "cup")]
    assert clipped[["x1", "y1"]].to_numpy().tolist() in ([[1.0, 1.0]], [])


def test_classes_that_cannot_be_searched_are_left_out_by_name(album, tmp_path, stores):
    names = [f"{number:02d}.png" for number in range(IMAGES)]
    add_boxes(album, [("01.png", "fork", 4, 4, 20, 14), *((name, "table", 0, 0, 40, 30) for name in names)])
    outcome = worked(search(album, tmp_path / "runs", stores))
    assert "class 'fork' is left out: 1 positive (2 needed), 23 negatives (5 needed)" in outcome.out
    assert "class 'table' is left out: 24 positives (2 needed), 0 negatives (5 needed)" in outcome.out
    assert "2 searches (2 classes)" in outcome.out


def test_more_questions_than_images_are_refused_with_numbers_that_work(album, tmp_path, stores):
    message = refused(search(album, tmp_path / "runs", stores, "loop.rounds=5", "loop.budget=4"))
    assert "rounds x budget = 20 exceeds the 18 candidates" in message
    assert "Lower budget to 3, or rounds to 4." in message
    worked(search(album, tmp_path / "runs", stores, "loop.rounds=4", "loop.budget=4"))


def test_an_unknown_class_lists_the_known_ones(album, tmp_path, stores):
    message = refused(search(album, tmp_path / "runs", stores, "loop.classes=[spoon]"))
    assert "['cup', 'plate']" in message


def small(tmp_path, stores, *changes):
    return seekloop("retrieve", *SMALL, *places(tmp_path / "runs", stores), *changes)


def test_a_checkpoint_of_another_architecture(tmp_path, stores):
    message = refused(small(tmp_path, stores, "backbone=resnet50_v1", f"backbone.checkpoint={WEIGHTS}"))
    assert message.startswith(f"error: backbone.checkpoint='{WEIGHTS}' cannot work: ")
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "other.safetensors")
    message = refused(small(tmp_path, stores, f"backbone.checkpoint={tmp_path / 'other.safetensors'}"))
    assert "recipe for tiny" in message


def test_no_checkpoint_and_no_network_says_both_ways_out(tmp_path, stores, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
    message = refused(small(tmp_path, stores, "backbone=dinov2_s"))
    assert "backbone.checkpoint" in message


def test_a_grid_finer_than_the_tokens(tmp_path, stores):
    message = refused(small(tmp_path, stores, "grid=17x17"))
    assert "17x17" in message
    assert "16x16" in message


@pytest.mark.parametrize("grid", ["0x2", "4", "fine"])
def test_a_grid_that_is_none(tmp_path, stores, grid):
    assert "2x2" in refused(small(tmp_path, stores, f"grid={grid}"))


def test_weights_that_are_not_numbers(tmp_path):
    about = {
        key: value if isinstance(value, str) else __import__("json").dumps(value)
        for key, value in tiny.metadata(WEIGHTS).items()
    }
    weights = {name: torch.full_like(value, torch.nan) for name, value in load_file(WEIGHTS).items()}
    save_file(weights, tmp_path / "nan.safetensors", metadata=about)
    message = refused(small(tmp_path, tmp_path / "stores", f"backbone.checkpoint={tmp_path / 'nan.safetensors'}"))
    assert "not finite for " in message
    assert not list((tmp_path / "stores").glob("*/COMPLETE"))


def test_a_collection_that_changed_gets_a_store_and_a_run_of_its_own(album, tmp_path):
    stores = tmp_path / "stores"
    first = folder_of(worked(search(album, tmp_path / "runs", stores)))
    photograph(album / "05.png", 77)
    outcome = worked(search(album, tmp_path / "runs", stores))
    assert "23 images are as in " in outcome.out
    assert "taken over, 1 are described" in outcome.out
    assert folder_of(outcome) != first
    assert len(list(stores.glob("*/COMPLETE"))) == 2
    photograph(album / "05.png", 5)
    assert worked(search(album, tmp_path / "runs", stores)).out.startswith("already finished")


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that has no room for files with a certain word in their path."""
    fsync = os.fsync

    def fill(word):
        def full(descriptor):
            if word in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", full)

    yield fill
    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_below_the_run_keeps_all_rounds_before(tmp_path, stores, full_disk, finished):
    undisturbed = finished[0]
    full_disk("parts/state-0002")
    message = refused(small(tmp_path, stores))
    assert message.startswith("error: runs_dir cannot work: ")
    assert "its disk has no space left. Free some space, or choose another runs_dir; what was finished is" in message
    folder = tmp_path / "runs" / "default" / undisturbed.name
    assert (folder / "parts" / "state-0001.pt").exists()
    assert not list(folder.rglob("*.tmp"))
    full_disk("no such file")
    outcome = worked(small(tmp_path, stores))
    assert results(folder_of(outcome)) == results(undisturbed)


def test_a_full_disk_below_the_store_keeps_all_shards_before(tmp_path, full_disk):
    full_disk("local-00001")
    message = refused(small(tmp_path, tmp_path / "stores"))
    assert message.startswith("error: store_dir cannot work: ")
    assert "its disk has no space left. Free some space, or choose another store_dir; what was finished is" in message
    full_disk("no such file")
    outcome = worked(small(tmp_path, tmp_path / "stores"))
    assert "(24 are done already)" in outcome.out  # and the first batch of the second shard
    (store,) = (path.parent for path in (tmp_path / "stores").glob("*/COMPLETE"))
    assert not [name for name in contents(store) if name.endswith(".tmp") or name.startswith("batch")]


def test_too_little_space_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    message = refused(small(tmp_path, tmp_path / "stores"))
    assert "the disk has 0 MB free" in message


def test_a_folder_that_cannot_be_written_is_named_with_its_key(tmp_path, stores):
    (tmp_path / "file").write_text("in the way")
    wrong = f"cannot be written, since {tmp_path / 'file'} is a file, and a folder belongs there. Choose another"
    message = refused(seekloop("retrieve", *SMALL, *places(tmp_path / "file", stores)))
    assert message.startswith(f"error: runs_dir cannot work: {tmp_path / 'file'}/default/")
    assert f"{wrong} runs_dir." in message
    message = refused(seekloop("retrieve", *SMALL, *places(tmp_path, tmp_path / "file")))
    assert message.startswith("error: store_dir cannot work: ")
    assert f"{wrong} store_dir." in message
    message = refused(seekloop("check", *EXTRACTED, f"check.folder={tmp_path / 'file'}"))
    assert message.startswith("error: check.folder cannot work: ")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux has it")
def test_a_folder_that_cannot_exist_is_named_with_its_key(stores):
    message = refused(seekloop("retrieve", *SMALL, *places(Path("/proc/runs"), stores)))
    assert message.startswith("error: runs_dir cannot work: /proc/runs/default/")
    assert "since /proc takes no new files and folders" in message
