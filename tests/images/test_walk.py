import os

import pytest
from PIL import Image

from seekloop.contracts.problems import ProblemKind
from seekloop.images import decoding, walk
from seekloop.images.walk import find_images, printable


def told(found, kind=ProblemKind.FILE):
    return {problem.where: (problem.what, problem.count) for problem in found.problems if problem.kind is kind}


def test_links_to_folders_are_followed_and_every_folder_is_read_once(tmp_path, save_image):
    """A circle, a link to the folder around, a second way into a folder, and a link that sorts before its target."""
    save_image(tmp_path / "elsewhere" / "far.jpg")
    root = tmp_path / "root"
    save_image(root / "b" / "near.jpg")
    (root / "shelf").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(tmp_path / "elsewhere")
    (root / "a").symlink_to(root / "b")
    (root / "b" / "up").symlink_to(root)
    (root / "around").symlink_to(tmp_path)
    found = find_images(root)
    assert found.paths == ("again/far.jpg", "b/near.jpg")
    assert set(told(found, ProblemKind.NOTE)) == {"a", "around", "b/up", "shelf"}


def test_a_link_to_a_picture_that_is_there_is_passed_over(tmp_path, save_image):
    save_image(tmp_path / "root" / "z.jpg")
    save_image(tmp_path / "out.jpg")
    (tmp_path / "root" / "a.jpg").symlink_to(tmp_path / "root" / "z.jpg")
    (tmp_path / "root" / "b.jpg").symlink_to(tmp_path / "out.jpg")
    (tmp_path / "root" / "c.jpg").symlink_to(tmp_path / "out.jpg")
    (tmp_path / "root" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = find_images(tmp_path / "root")
    assert found.paths == ("b.jpg", "z.jpg")
    assert told(found) == {"gone.jpg": ("a link to nothing", 1)}
    assert [problem.count for problem in found.problems if "lead to pictures" in problem.what] == [2]


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "$RECYCLE.BIN", "@Recycle", "lost+found", "__MACOSX"])
def test_folders_of_systems_and_hidden_ones_are_passed_over(tmp_path, save_image, name):
    save_image(tmp_path / "a.jpg")
    save_image(tmp_path / "deep" / name / "a.jpg" / "THUMB_M.jpg")
    save_image(tmp_path / ".thumbnails" / "a.jpg")
    found = find_images(tmp_path)
    assert found.paths == ("a.jpg",)
    assert (
        sorted(what for what, _ in told(found, ProblemKind.NOTE).values())
        == ["1 folders of file servers or operating systems were passed over"]
        or len(found.problems) == 2
    )


def test_files_that_are_not_taken_are_counted_by_their_ending(tmp_path, save_image, monkeypatch):
    monkeypatch.setattr(decoding, "formats", lambda: decoding.FORMATS)
    monkeypatch.setattr(walk, "suffixes", lambda: decoding.SUFFIXES)
    save_image(tmp_path / "a.jpg")
    save_image(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "nameless")
    for name in ("1.CR2", "2.cr2", "3.NEF", "4.HEIC", "5.mov", "notes.txt", "LICENSE"):
        (tmp_path / name).write_bytes(b"no picture")
    found = find_images(tmp_path)
    assert found.paths == ("a.jpg",)
    files = told(found)
    assert files["1.CR2"][0].startswith("2 .cr2, 1 .nef: camera raw files; convert them to JPEG or TIFF")
    assert files["1.CR2"][1] == 3
    assert files["4.HEIC"] == ("1 .heic: HEIC files need pillow-heif: pip install 'seekloop[heif]'", 1)
    assert files["5.mov"][1] == 1
    assert files["nameless"] == (
        "1 without an ending: pictures, but not by their endings; rename them to .jpg, .png, ...",
        1,
    )
    assert told(found, ProblemKind.NOTE)["LICENSE"] == (
        "1 without an ending, 1 .txt: no pictures, so not taken",
        2,
    )


def test_annotations_beside_the_pictures_are_not_mentioned(tmp_path, save_image):
    save_image(tmp_path / "a.jpg")
    (tmp_path / "boxes.csv").touch()
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "a.xml").touch()
    assert find_images(tmp_path, [tmp_path / "boxes.csv", tmp_path / "xml"]).problems == ()


def test_names_that_are_not_utf8_can_be_printed_and_read(tmp_path):
    file = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    Image.new("RGB", (4, 3), "red").save(file)
    found = find_images(tmp_path)
    assert found.paths == (r"caf\xe9.jpg",)
    assert found.paths[0].encode()
    assert os.fsencode(found.real[0]) == b"caf\xe9.jpg"
    assert decoding.read_rgb(tmp_path / found.real[0]).size == (4, 3)
    assert printable("é.jpg") == "é.jpg"


def test_a_folder_that_may_not_be_read_is_told(tmp_path, save_image, monkeypatch):
    save_image(tmp_path / "a.jpg")
    save_image(tmp_path / "closed" / "b.jpg")
    scandir = os.scandir

    def refusing(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_images(tmp_path)
    assert found.paths == ("a.jpg",)
    assert told(found) == {"closed": ("not read: Permission denied", 1)}


def test_a_pipe_that_is_called_like_a_picture_is_not_opened(tmp_path, save_image):
    save_image(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    found = find_images(tmp_path)
    assert found.paths == ("a.jpg",)
    assert told(found) == {"b.jpg": ("neither a file nor a folder", 1)}


def test_a_link_in_a_circle_is_told(tmp_path, save_image):
    save_image(tmp_path / "a.jpg")
    (tmp_path / "circle").symlink_to("circle")
    assert told(find_images(tmp_path)) == {"circle": ("a link to nothing", 1)}


def test_a_folder_of_annotations_may_hold_pictures_and_hides_no_raw_file(tmp_path, save_image):
    save_image(tmp_path / "both" / "a.jpg")
    for name in ("a.xml", "b.cr2"):
        (tmp_path / "both" / name).write_bytes(b"no picture")
    found = find_images(tmp_path, [tmp_path / "both"])
    assert found.paths == ("both/a.jpg",)
    assert [(problem.where, problem.kind) for problem in found.problems] == [("both/b.cr2", ProblemKind.FILE)]


def test_pictures_with_a_wrong_ending_are_named(tmp_path, save_image):
    save_image(tmp_path / "a.jpg")
    for name in ("a.jpg_large", "b.bak"):
        (tmp_path / name).write_bytes((tmp_path / "a.jpg").read_bytes())
    why = "1 .bak, 1 .jpg_large: pictures, but not by their endings; rename them to .jpg, .png, ..."
    assert told(find_images(tmp_path)) == {"a.jpg_large": (why, 2)}


@pytest.mark.parametrize(
    "name", ["@eaDir", "@Recycle", "#recycle", "$RECYCLE.BIN", "lost+found", "FOUND.000", "@__thumb"]
)
def test_folders_that_systems_keep_are_passed_over_and_counted(tmp_path, save_image, name):
    save_image(tmp_path / "a.jpg")
    save_image(tmp_path / "b" / name / "a.jpg")
    found = find_images(tmp_path)
    assert found.paths == ("a.jpg",)
    assert [problem.what[:30] for problem in found.problems] == ["1 folder of file servers or op"]


def test_a_stamp_changes_with_pictures_and_with_nothing_else(tmp_path, save_image):
    root = tmp_path / "root"
    assert walk.stamp(root) == ""
    save_image(root / "b" / "near.jpg")
    stamps = [walk.stamp(root)]
    (root / "b" / "near.xmp").write_text("keywords")
    (root / "b" / ".hidden.jpg").write_bytes(b"")
    assert walk.stamp(root) == stamps[0]
    save_image(root / "b" / "deeper" / "far.jpg")  # added
    stamps.append(walk.stamp(root))
    (root / "b" / "near.jpg").rename(root / "b" / "renamed.jpg")
    stamps.append(walk.stamp(root))
    os.utime(root / "b" / "renamed.jpg", ns=(0, 1_000))  # written again, as large as before
    stamps.append(walk.stamp(root))
    (root / "b" / "deeper" / "far.jpg").unlink()
    stamps.append(walk.stamp(root))
    assert len(set(stamps)) == 5
