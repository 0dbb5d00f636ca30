import shutil
from pathlib import Path

import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import ProblemKind, counted
from seekloop.contracts.protocols import Collection
from seekloop.images import voc as voc_module
from seekloop.images.download import Archive
from seekloop.images.voc import Voc2012


def open_voc(root, image_set="trainval", difficult=True, download=False, max_loss=1):
    return Voc2012(str(root), image_set, difficult, max_loss, download, None)


def test_images_boxes_and_classes_by_hand(voc):
    """Corners count from 1 and are inclusive: 1..10 of 20 pixels is 0 to 0.5, 11..20 is 0.5 to 1."""
    images = open_voc(voc)
    assert isinstance(images, Collection)
    assert images.paths == ("JPEGImages/2.jpg", "JPEGImages/1.jpg", "JPEGImages/3.jpg")
    mine = images.annotations
    assert mine.classes == ("dog", "person", "zebra")  # VOC's order, then what VOC does not know
    assert [mine.classes[label] for label in mine.label] == ["zebra", "person", "dog"]
    assert mine.image.tolist() == [0, 1, 1]
    assert mine.box.tolist() == [[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    assert mine.difficult.tolist() == [False, False, True]
    assert images.read(0).size == (20, 10)


def test_what_is_left_out_is_reported(voc):
    found = {problem.where: problem.what for problem in open_voc(voc).problems}
    assert set(found) == {"JPEGImages/4.jpg", "Annotations/3.xml", "Annotations/1.xml, object 3"}
    assert "no such file" in found["JPEGImages/4.jpg"]
    assert "showing nothing" in found["Annotations/3.xml"]
    assert "no area" in found["Annotations/1.xml, object 3"]


def test_difficult_objects_can_be_left_out(voc):
    assert open_voc(voc, difficult=False).annotations.classes == ("person", "zebra")


def test_the_inner_folder_and_lists_of_single_classes_serve_too(voc):
    assert open_voc(voc / "VOC2012", "dog_val").paths == ("JPEGImages/1.jpg", "JPEGImages/2.jpg")


@pytest.mark.parametrize("content", ["<annotation>", "", "<annotation><object/></annotation>"])
def test_a_damaged_xml_is_reported_and_its_image_kept(voc, content):
    (voc / "VOC2012" / "Annotations" / "2.xml").write_text(content)
    images = open_voc(voc)
    assert len(images.paths) == 3
    assert any(problem.where.startswith("Annotations/2.xml") for problem in images.problems)


def test_a_missing_size_is_read_from_the_image(voc, save_xml):
    save_xml(voc / "VOC2012" / "Annotations" / "2.xml", "2.jpg", None, [("cat", 11, 1, 20, 10, 0)])
    assert open_voc(voc).annotations.box[0].tolist() == [0.5, 0, 1, 1]
    (voc / "VOC2012" / "JPEGImages" / "2.jpg").write_bytes(b"")
    assert any("no image size" in problem.what for problem in open_voc(voc).problems)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, r"root=None .* needs a folder"),
        ({"root": "nowhere"}, "root='nowhere' .* no such folder"),
        ({"image_set": "test"}, "image_set='test' .*Those there: dog_val, trainval"),
    ],
)
def test_what_is_missing_is_named(voc, arguments, message):
    given = {
        "root": str(voc),
        "image_set": "trainval",
        "difficult": True,
        "max_loss": 1,
        "download": False,
        "cache": None,
    }
    with pytest.raises(ConfigError, match=message):
        Voc2012(**{**given, **arguments})


def test_another_layout_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="neither VOC2012/ImageSets/Main nor"):
        open_voc(tmp_path)


def test_a_download_is_fetched_once(voc, tmp_path, monkeypatch):
    archive = shutil.make_archive(str(tmp_path / "voc"), "tar", voc.parent, "VOCdevkit")
    url = (tmp_path / "voc.tar").as_uri()
    monkeypatch.setattr(voc_module, "ARCHIVE", Archive(url, None, "VOCdevkit/VOC2012", "VOC2012"))
    assert len(open_voc(tmp_path / "new", download=True).paths) == 3
    (tmp_path / archive).unlink()
    assert len(open_voc(tmp_path / "new", download=True).paths) == 3


def test_left_out_difficult_objects_are_counted_and_no_loss(voc):
    images = open_voc(voc, difficult=False)
    told = [problem for problem in images.problems if "difficult" in problem.what]
    assert [(problem.kind, problem.count) for problem in told] == [(ProblemKind.BY_RULE, 1)]
    assert counted(images.problems)["objects_lost"] == 1  # the box outside its image


@pytest.mark.parametrize(("name", "listed"), [("5.png", "5"), ("5.JPG", "5"), ("5.jpg", "5.jpg"), ("X5.jpeg", "x5")])
def test_images_of_any_ending_and_case_are_found_by_their_listed_name(voc, save_image, save_xml, name, listed):
    folder = voc / "VOC2012"
    save_image(folder / "JPEGImages" / name)
    save_xml(folder / "Annotations" / f"{Path(name).stem}.xml", name, (20, 10), [("dog", 1, 1, 10, 5, 0)])
    (folder / "ImageSets" / "Main" / "new.txt").write_text(f"{listed}\n{listed}\n")
    images = open_voc(voc, "new", max_loss=0)
    assert images.paths == (f"JPEGImages/{name}",)
    assert images.annotations.box.tolist() == [[0, 0, 0.5, 0.5]]


def test_the_error_of_an_empty_collection_shows_what_was_looked_for(voc):
    (voc / "VOC2012" / "ImageSets" / "Main" / "none.txt").write_text("gone\n")
    with pytest.raises(ConfigError, match=r"JPEGImages/gone.jpg: listed in none.txt, but there is no such file"):
        open_voc(voc, "none")


def test_a_file_that_states_another_name_than_its_own_is_told(voc, save_xml):
    save_xml(voc / "VOC2012" / "Annotations" / "2.xml", "1.jpg", (20, 10), [("zebra", 1, 1, 20, 10, 0)])
    images = open_voc(voc)
    zebra = images.annotations.classes.index("zebra")
    assert images.paths[int(images.annotations.image[images.annotations.label == zebra])] == "JPEGImages/2.jpg"
    assert any("2.xml states '1.jpg'" in problem.what for problem in images.problems)


def test_an_xml_in_other_letters_than_its_image(voc):
    base = voc / "VOC2012"
    for folder, ending, new in (("JPEGImages", "jpg", "B.JPG"), ("Annotations", "xml", "b.XML")):
        (base / folder / f"1.{ending}").rename(base / folder / new)
    (base / "ImageSets" / "Main" / "one.txt").write_text("B\n")
    images = open_voc(voc, "one")
    assert images.paths == ("JPEGImages/B.JPG",)
    assert images.annotations.classes == ("dog", "person")


def test_names_with_blanks_are_listed_whole_and_only_full_second_columns_are_cut(voc, save_image):
    base = voc / "VOC2012"
    save_image(base / "JPEGImages" / "1 b.jpg")
    save_image(base / "JPEGImages" / "b 1.jpg")
    (base / "ImageSets" / "Main" / "blanks.txt").write_text("1 b\nb 1\n")
    assert open_voc(voc, "blanks").paths == ("JPEGImages/1 b.jpg", "JPEGImages/b 1.jpg")
    assert open_voc(voc, "dog_val").paths == ("JPEGImages/1.jpg", "JPEGImages/2.jpg")


def test_a_list_that_is_no_text_is_refused(voc):
    (voc / "VOC2012" / "ImageSets" / "Main" / "latin.txt").write_bytes("1\ncaf\u00e9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"image_set='latin' .*is no UTF-8 text"):
        open_voc(voc, "latin")
