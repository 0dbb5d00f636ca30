"""`seekloop check`: what was planted in a folder is found, nothing is computed, and the same is told by a run."""

import csv
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.commands.runs import SMALL, folder_of, places, seekloop, worked

NOT_THE_COLLECTION = tuple(word for word in SMALL if not word.startswith(("collection", "loop.classes")))
HEADER = ["image", "class", "x0", "y0", "x1", "y1"]


@pytest.fixture
def album(tmp_path):
    """24 photographs, no two alike, with 24 boxes; a turned one, a copy, a raw file, a thumbnail, a swapped box."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(24):
        noise = np.random.default_rng(number).integers(0, 255, (4, 6, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 2 else 1
        Image.fromarray(noise).resize((48, 32)).save(folder / f"{number:02d}.png", exif=exif)
    shutil.copy(folder / "03.png", folder / "copy.png")
    (folder / "shot.CR2").write_bytes(b"raw")
    (folder / "@eaDir").mkdir()
    shutil.copy(folder / "03.png", folder / "@eaDir" / "thumb.png")
    rows = [(f"{number:02d}.png", "cup" if number % 2 else "plate", 4, 4, 20, 14) for number in range(24)]
    rows[5] = ("05.png", "cup", 20, 14, 4, 4)
    write(folder, rows)
    return folder


def write(folder, rows):
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])


def command(name, album, tmp_path, *changes):
    where = [f"collection.root={album}", f"collection.boxes={album / 'boxes.csv'}"]
    places_of = places(tmp_path / "runs", tmp_path / "stores")
    return seekloop(name, *NOT_THE_COLLECTION, "collection=folder", *where, *places_of, *changes)


def test_more_questions_than_a_search_has_candidates_are_told(album, tmp_path):
    """25 images, less the example and the irrelevant ones to start with."""
    out = worked(command("check", album, tmp_path, "loop.rounds=9", "loop.negatives=4")).out
    assert "2 of 9 rounds x 3 questions, 54 answers in all" in out
    assert "would refuse them: rounds x budget = 27 exceeds the 20 candidates." in " ".join(out.split())


def test_what_was_planted_is_found_and_nothing_is_computed(album, tmp_path):
    checks = tmp_path / "checks"
    out = worked(command("check", album, tmp_path, f"check.folder={checks}")).out
    assert "folder: 25 images" in out
    assert "1 object lost, 1 file not taken" in out
    assert "boxes.csv, line 7: box" in out
    assert "has swapped corners" in out
    assert "shot.CR2: 1 .cr2: camera raw files; convert them" in out
    assert "03.png: the same file as copy.png" in out
    assert "EXIF orientation: 1 with 6 (such as " in out
    assert "1 folder of file servers" in out
    assert "sizes: from 48 x 32" in out
    assert "searches: 2 of 3 rounds x 3 questions, 18 answers in all" in out
    assert "s an image" in out
    assert not list((tmp_path / "stores").glob("*/manifest.json"))
    assert not (tmp_path / "runs").exists()
    problems = pd.read_csv(checks / "folder-album" / "problems.csv")
    assert problems.loc[problems["kind"] == "object", "where"].tolist() == ["boxes.csv, line 7"]
    summary = json.loads((checks / "folder-album" / "check.json").read_text())
    assert {key: summary[key] for key in ("images", "objects", "objects_lost", "files_not_taken")} == {
        "images": 25,
        "objects": 23,
        "objects_lost": 1,
        "files_not_taken": 1,
    }
    with Image.open(checks / "folder-album" / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 400


def test_a_run_tells_and_counts_the_same(album, tmp_path):
    outcome = worked(command("retrieve", album, tmp_path))
    assert "1 object lost, 1 file not taken" in outcome.out
    summary = json.loads((folder_of(outcome) / "summary.json").read_text())
    assert summary["left_out"]["objects_lost"] == 1
    assert summary["left_out"]["files_not_taken"] == 1
    assert summary["left_out"]["images_unreadable"] == 0


def test_too_many_losses_stop_every_command_until_told_to_go_on(album, tmp_path):
    rows = [(f"{number:02d}.png", "cup" if number % 2 else "plate", 4, 4, 20, 14) for number in range(20)]
    write(album, [*rows, *((f"gone_{number}.png", "cup", 4, 4, 20, 14) for number in range(3))])
    for name in ("check", "extract", "retrieve", "detect"):
        words = [word for word in NOT_THE_COLLECTION if name == "retrieve" or word.startswith(("backbone", "trainer"))]
        if name == "check":
            words.append(f"check.folder={tmp_path / 'checks'}")
        outcome = seekloop(
            name, *words, "collection=folder", f"collection.root={album}", "collection.boxes=boxes.csv",
            f"store_dir={tmp_path / 'stores'}",
        )  # fmt: skip
        assert outcome.code == 1, outcome.out
        assert "collection.max_loss=0.1 cannot work" in outcome.err
        assert ": 3 of 23 annotated objects would be left out" in outcome.err
        assert "boxes.csv, line 22: no image 'gone_0.png' in the collection" in outcome.err
    assert (tmp_path / "checks" / "folder-album" / "problems.csv").exists()  # check reports all the same
    outcome = worked(command("retrieve", album, tmp_path, "collection.max_loss=1"))
    assert json.loads((folder_of(outcome) / "summary.json").read_text())["left_out"]["objects_lost"] == 3


def test_boxes_that_are_all_crowds_say_so_where_none_is_left(album, tmp_path):
    images = [{"id": number, "file_name": f"{number:02d}.png"} for number in range(24)]
    boxes = [
        {"image_id": number % 9, "category_id": 1, "bbox": [4, number // 9, 9, 9], "iscrowd": 1} for number in range(24)
    ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cup"}]}
    (album / "boxes.json").write_text(json.dumps(content))
    outcome = command("retrieve", album, tmp_path, "collection.boxes=boxes.json")
    assert outcome.code == 1
    assert "this collection has none; what was left out:" in outcome.err
    assert "all of them are crowds (iscrowd) and left out; collection.crowd=true takes them" in outcome.err
    worked(
        command("retrieve", album, tmp_path, "collection.boxes=boxes.json", "collection.crowd=true", "loop.rounds=1")
    )


def test_names_that_are_not_utf8_come_to_the_end(album, tmp_path):
    latin = os.fsdecode(os.fsencode(album) + b"/caf\xe9.png")
    shutil.copy(album / "07.png", latin)
    (album / os.fsdecode(b"bad\xe9.png")).write_bytes(b"no picture")
    with (album / "boxes.csv").open("a", encoding="utf-8") as file:
        file.write("caf\\xe9.png,cup,4,4,20,14\n")
    outcome = worked(command("retrieve", album, tmp_path))
    folder = folder_of(outcome)
    assert r"bad\xe9.png" in outcome.out
    assert json.loads((folder / "summary.json").read_text())["left_out"]["images_unreadable"] == 1
    assert pd.read_parquet(folder / "asked.parquet")["path"].notna().all()


def test_a_collection_without_boxes_or_files_can_be_checked(tmp_path):
    where = [f"store_dir={tmp_path / 'stores'}", f"check.folder={tmp_path / 'checks'}"]
    out = worked(seekloop("check", "collection=scenes", "collection.images=40", "backbone=tiny", *where)).out
    assert "scenes: 40 images" in out
    assert "nothing is wrong with it" in out
    assert (tmp_path / "checks" / "scenes" / "contact_sheet.png").exists()


def test_a_run_that_is_finished_already_tells_what_was_left_out(album, tmp_path):
    for _ in range(2):
        out = worked(command("retrieve", album, tmp_path, "loop.rounds=1", "loop.queries=1")).out
        assert "1 object lost, 1 file not taken" in out
        assert "has swapped corners" in out
    assert "already finished" in out


def test_what_a_source_of_pasted_objects_loses_is_reported_before_it_stops(album, tmp_path):
    rows = [(f"{number:02d}.png", "cup", 4, 4, 20, 14) for number in range(12)]
    write(album, [*rows, *((f"gone_{number}.png", "cup", 4, 4, 20, 14) for number in range(3))])
    source = [f"collection.source.root={album}", "collection.source.boxes=boxes.csv"]
    small = ["collection.instances=2", "collection.copies=2", "collection.distractors=2", "backbone=tiny"]
    where = [f"store_dir={tmp_path / 'stores'}", f"check.folder={tmp_path / 'checks'}"]
    outcome = seekloop("check", "collection=pasted", *source, *small, *where)
    assert outcome.code == 1
    assert "3 objects lost" in outcome.out
    assert "gone_0.png" in outcome.err
    assert (tmp_path / "checks" / "pasted" / "problems.csv").exists()
