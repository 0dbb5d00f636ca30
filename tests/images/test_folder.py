import json
import unicodedata

import pytest
from PIL import Image

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.protocols import Collection
from seekloop.images.folder import ImageFolder

HEADER = "image,class,x0,y0,x1,y1\n"


@pytest.fixture
def root(tmp_path, save_image):
    """Three images of 20 x 10, two of one name; spaces and accents; a text file and hidden files beside them."""
    folder = tmp_path / "my images"
    for name in ("a/x.png", "b/x.PNG", "b/één foto ü.jpg"):
        save_image(folder / name)
    (folder / "notes.txt").write_text("no image")
    save_image(folder / ".thumbnails" / "x.png")
    save_image(folder / "a" / "._x.png")
    return folder


def open_folder(root, boxes=None):
    return ImageFolder(str(root), boxes if boxes is None else str(boxes), None)


def objects(images):
    """(path, class, box) of every object."""
    mine = images.annotations
    return [
        (images.paths[i], mine.classes[label], [round(v, 4) for v in box])
        for i, label, box in zip(mine.image.tolist(), mine.label.tolist(), mine.box.tolist(), strict=True)
    ]


def test_images_are_found_at_every_depth_and_known_by_their_path(root):
    images = open_folder(root)
    assert isinstance(images, Collection)
    assert images.paths == ("a/x.png", "b/x.PNG", "b/één foto ü.jpg")
    assert images.read(2).size == (20, 10)
    assert images.annotations.classes == ()
    assert len(images.annotations.box) == 0


def test_files_of_one_name_are_two_images(root, save_image):
    save_image(root / "b" / "x.PNG", colour="blue")
    images = open_folder(root)
    assert [images.read(i).getpixel((0, 0)) for i in (0, 1)] == [(255, 0, 0), (0, 0, 255)]


def test_boxes_from_a_csv_in_pixels_by_hand(root, tmp_path):
    """10 of 20 pixels is 0.5, 5 of 10 is 0.5; the last box is cut at the right edge."""
    rows = "a/x.png,cat,0,0,10,5\nb/x.PNG,dog,10,5,20,10\néén foto ü.jpg,cat,10,0,40,10\n"
    (tmp_path / "boxes.csv").write_text(HEADER + rows, encoding="utf-8-sig")
    assert objects(open_folder(root, tmp_path / "boxes.csv")) == [
        ("a/x.png", "cat", [0, 0, 0.5, 0.5]),
        ("b/x.PNG", "dog", [0.5, 0.5, 1, 1]),
        ("b/één foto ü.jpg", "cat", [0.5, 0, 1, 1]),
    ]


def test_a_csv_without_a_number_above_1_is_in_fractions(root):
    (root / "boxes.csv").write_text(HEADER + "a/x.png, cat, 0.25, 0, 1, 0.5\n")
    assert objects(open_folder(root, "boxes.csv")) == [("a/x.png", "cat", [0.25, 0, 1, 0.5])]


def test_one_box_that_sticks_out_does_not_turn_fractions_into_pixels(root):
    rows = "a/x.png,cat,0.25,0,1,0.5\na/x.png,cat,0.5,0.5,1.004,1\na/x.png,cat,0,0,0.5,1\n"
    (root / "boxes.csv").write_text(HEADER + rows)
    images = open_folder(root, "boxes.csv")
    assert images.annotations.box[1].tolist() == [0.5, 0.5, 1, 1]
    assert [problem.what for problem in images.problems] == ["read as fractions, though 1 of 3 rows exceed 1"]


def test_what_a_csv_has_wrong_is_reported_by_line(root):
    rows = "none.png,cat,0,0,9,9\nx.png,cat,0,0,1\na/x.png,,0,0,9,9\na/x.png,cat,30,0,40,9\na/x.png,cat,0,0,9,9\n"
    (root / "boxes.csv").write_text(HEADER + rows)
    images = open_folder(root, "boxes.csv")
    assert len(images.annotations.box) == 1
    assert {problem.where for problem in images.problems} == {f"boxes.csv, line {number}" for number in (2, 3, 4, 5)}


def test_pixels_refer_to_the_upright_image(root):
    """20 x 10 stored, turned by EXIF to 10 x 20: x from 0 to 5 is half the width."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(root / "a" / "x.png", exif=exif)
    (root / "boxes.csv").write_text(HEADER + "a/x.png,cat,0,0,5,10\n")
    assert objects(open_folder(root, "boxes.csv")) == [("a/x.png", "cat", [0, 0, 0.5, 0.5])]


def test_boxes_of_an_unreadable_image_are_reported(root):
    (root / "a" / "x.png").write_bytes(b"")
    (root / "boxes.csv").write_text(HEADER + "a/x.png,cat,0,0,5,10\n")
    images = open_folder(root, "boxes.csv")
    assert [problem.where for problem in images.problems] == ["boxes.csv, line 2"]
    with pytest.raises(UnreadableImageError, match="empty"):
        images.read(0)


@pytest.mark.parametrize("content", [b"image,class\n", b"", b"\xff\xfe\x00image"])
def test_another_csv_is_refused(root, content):
    (root / "boxes.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"collection.boxes=.*Write UTF-8 with a first line image,class,x0"):
        open_folder(root, "boxes.csv")


def test_boxes_from_a_coco_json(root, coco_content):
    for image, name in zip(coco_content["images"], ("a/x.png", "x.PNG", "gone.png"), strict=True):
        image["file_name"] = name
    (root / "boxes.json").write_text(json.dumps(coco_content))
    images = open_folder(root, "boxes.json")
    assert objects(images) == [("a/x.png", "dog", [0.25, 0, 0.75, 0.5])]
    assert "no image 'gone.png' in the collection" in {problem.what for problem in images.problems}


def test_a_json_that_names_two_images_is_reported(root, save_image, coco_content):
    save_image(root / "b" / "x.png")
    coco_content["images"][0]["file_name"] = "x.png"
    (root / "boxes.json").write_text(json.dumps(coco_content))
    images = open_folder(root, "boxes.json")
    assert len(images.annotations.box) == 0
    assert any("2 images are meant by 'x.png'" in problem.what for problem in images.problems)


def test_boxes_from_a_folder_of_xmls(root, tmp_path, save_xml):
    """By the same relative path, whatever name they state; by the name they state; or not at all."""
    one = [("cat", 1, 1, 10, 5, 0)]
    save_xml(tmp_path / "xml" / "a" / "x.xml", "renamed.png", (20, 10), one)
    decomposed = unicodedata.normalize("NFD", "één foto ü.jpg")
    save_xml(tmp_path / "xml" / "anything.xml", decomposed, None, one)
    save_xml(tmp_path / "xml" / "gone.xml", "gone.jpg", (20, 10), one)
    (tmp_path / "xml" / "bad.xml").write_text("<annotation>")
    images = open_folder(root, tmp_path / "xml")
    assert objects(images) == [(path, "cat", [0, 0, 0.5, 0.5]) for path in ("a/x.png", "b/één foto ü.jpg")]
    assert [problem.where for problem in images.problems] == ["bad.xml", "gone.xml"]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [("none.csv", "there is no .*none.csv"), ("notes.txt", "its format is not known"), ("bad.json", "not a COCO file")],
)
def test_boxes_that_cannot_be_read_are_refused(root, boxes, message):
    (root / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match=f"collection.boxes=.*{message}"):
        open_folder(root, boxes)


def test_no_root_no_folder_and_no_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"collection.root=None .* needs a folder"):
        ImageFolder(None, None, None)
    with pytest.raises(ConfigError, match=r"collection.root=.* no such folder"):
        open_folder(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"collection.root=.* no images"):
        open_folder(tmp_path)


def test_one_image_is_enough(tmp_path, save_image):
    save_image(tmp_path / "only.png", size=(1, 1))
    assert open_folder(tmp_path).read(0).size == (1, 1)


def test_a_file_that_is_no_image_stays_in_its_place_and_says_so_when_read(root):
    (root / "a" / "text.jpg").write_text("no image")
    images = open_folder(root)
    assert images.paths[0] == "a/text.jpg"
    with pytest.raises(UnreadableImageError, match="not an image in a known format"):
        images.read(0)
