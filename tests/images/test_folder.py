import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import ProblemKind, counted
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


def open_folder(root, boxes=None, crowd=False, max_loss=1):
    return ImageFolder(str(root), boxes if boxes is None else str(boxes), crowd, None, max_loss, None)


def test_a_path_serves_as_a_text_does(root, tmp_path):
    (tmp_path / "boxes.csv").write_text(f"{HEADER}a/x.png,cat,0,0,1,1\n")
    images = ImageFolder(root, tmp_path / "boxes.csv", cache=tmp_path / "cache")
    assert images.paths == open_folder(root).paths
    assert len(images.annotations.image) == 1
    assert images.fingerprint() == ImageFolder(str(root), str(tmp_path / "boxes.csv")).fingerprint()


def lost(images):
    """Problems of objects that were lost."""
    return [problem for problem in images.problems if problem.kind is ProblemKind.OBJECT]


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
    assert "read as fractions of the image, though 1 of 3 rows exceed 1" in [
        problem.what for problem in images.problems
    ]


def test_what_a_csv_has_wrong_is_reported_by_line(root):
    rows = "none.png,cat,0,0,9,9\nx.png,cat,0,0,1\na/x.png,,0,0,9,9\na/x.png,cat,30,0,40,9\na/x.png,cat,0,0,9,9\n"
    (root / "boxes.csv").write_text(HEADER + rows)
    images = open_folder(root, "boxes.csv")
    assert len(images.annotations.box) == 1
    assert {problem.where for problem in lost(images)} == {f"boxes.csv, line {number}" for number in (2, 3, 4, 5)}


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
    assert [problem.where for problem in lost(images)] == ["boxes.csv, line 2"]
    with pytest.raises(UnreadableImageError, match="empty"):
        images.read(0)


@pytest.mark.parametrize("content", [b"image,class\n", b"", b"\xff\xfe\x00image"])
def test_another_csv_is_refused(root, content):
    (root / "boxes.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"boxes=.*Write UTF-8 with a first line image,class,x0"):
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
    assert [problem.where for problem in lost(images)] == ["bad.xml", "gone.xml"]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ("none.csv", "there is no .*none.csv and no .*none.csv"),
        ("notes.txt", "its format is not known"),
        ("bad.json", "not a COCO file"),
    ],
)
def test_boxes_that_cannot_be_read_are_refused(root, boxes, message):
    (root / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match=f"boxes=.*{message}"):
        open_folder(root, boxes)


def test_no_root_no_folder_and_no_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"root=None .* needs a folder"):
        ImageFolder(None, None, False, None, 0.1, None)
    with pytest.raises(ConfigError, match=r"root=.* no such folder"):
        open_folder(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"root=.* no images"):
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


def turned_photograph(path, size=(20, 10)):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", size).save(path, exif=exif)


def test_boxes_of_stored_pixels_in_xml_and_json_are_turned(root, save_xml, coco_content):
    """The left half of 20 x 10 stored pixels is the upper half of the upright picture."""
    turned_photograph(root / "a" / "x.png")
    save_xml(root / "xml" / "a" / "x.xml", "x.png", (20, 10), [("cat", 1, 1, 10, 10, 0)])
    coco_content["images"] = [{"id": 1, "file_name": "a/x.png", "width": 20, "height": 10}]
    coco_content["annotations"] = [{"image_id": 1, "category_id": 18, "bbox": [0, 0, 10, 10]}]
    (root / "boxes.json").write_text(json.dumps(coco_content))
    for boxes, name in (("xml", "cat"), ("boxes.json", "dog")):
        images = open_folder(root, boxes)
        assert objects(images) == [("a/x.png", name, [0, 0, 1, 0.5])]
        assert any("turned by EXIF" in problem.what for problem in images.problems)


def test_a_csv_of_stored_pixels_is_recognised_by_boxes_that_fit_only_them(root):
    turned_photograph(root / "a" / "x.png")
    turned_photograph(root / "b" / "x.PNG")
    (root / "boxes.csv").write_text(HEADER + "a/x.png,cat,0,0,20,5\nb/x.PNG,cat,0,0,10,10\n")
    assert objects(open_folder(root, "boxes.csv")) == [
        ("a/x.png", "cat", [0.5, 0, 1, 1]),
        ("b/x.PNG", "cat", [0, 0, 1, 0.5]),
    ]
    (root / "boxes.csv").write_text(HEADER + "a/x.png,cat,0,0,5,20\nb/x.PNG,cat,0,0,10,10\n")
    assert objects(open_folder(root, "boxes.csv")) == [
        ("a/x.png", "cat", [0, 0, 0.5, 1]),
        ("b/x.PNG", "cat", [0, 0, 1, 0.5]),
    ]


def test_a_jpeg_and_a_tiff_of_one_picture_have_the_same_box(root):
    for name in ("p.jpg", "p.tif"):
        turned_photograph(root / name)
    rows = "".join(f"{name},cat,5,10,10,20\n" for name in ("p.jpg", "p.tif"))
    (root / "boxes.csv").write_text(HEADER + rows)
    assert [box for _, _, box in objects(open_folder(root, "boxes.csv"))] == [[0.5, 0.5, 1, 1]] * 2


@pytest.mark.parametrize("stated", ["b.png", "a.png"])
def test_a_files_own_name_comes_before_the_one_it_states(tmp_path, save_image, save_xml, stated):
    for name in "ab":
        save_image(tmp_path / f"{name}.png")
        save_xml(tmp_path / "xml" / f"{name}.xml", stated, (20, 10), [(f"class {name}", 1, 1, 10, 5, 0)])
    images = open_folder(tmp_path, "xml")
    assert [(path, name) for path, name, _ in objects(images)] == [("a.png", "class a"), ("b.png", "class b")]
    told = [problem for problem in images.problems if "own name, which counts" in problem.what]
    assert [(problem.kind, problem.count) for problem in told] == [(ProblemKind.NOTE, 1)]


def test_two_files_for_one_image_are_told_and_the_one_in_its_place_counts(root, save_xml):
    save_xml(root / "xml" / "1.xml", "a/x.png", (20, 10), [("far", 1, 1, 10, 5, 0), ("far", 1, 1, 5, 5, 0)])
    save_xml(root / "xml" / "a" / "x.xml", "x.png", (20, 10), [("near", 1, 1, 10, 5, 0)])
    images = open_folder(root, "xml")
    assert [name for _, name, _ in objects(images)] == ["near"]
    (problem,) = lost(images)
    assert (problem.where, problem.what, problem.count) == (
        "1.xml", "a/x.xml describes the same image, 'a/x.png'", 2
    )  # fmt: skip


def test_xml_in_any_encoding(root, tmp_path):
    text = (
        '<?xml version="1.0" encoding="GBK"?><annotation><filename>x</filename><object><name>狗</name><bndbox>'
        "<xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>5</ymax></bndbox></object></annotation>"
    )
    (tmp_path / "xml" / "a").mkdir(parents=True)
    (tmp_path / "xml" / "a" / "x.XML").write_bytes(text.encode("gbk"))
    assert objects(open_folder(root, tmp_path / "xml", max_loss=0)) == [("a/x.png", "狗", [0, 0, 0.5, 0.5])]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_csv_with_another_separator(root, mark):
    (root / "boxes.csv").write_text((HEADER + "a/x.png,cat,0,0,10,5\n").replace(",", mark))
    assert objects(open_folder(root, "boxes.csv")) == [("a/x.png", "cat", [0, 0, 0.5, 0.5])]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("/somewhere/y.png,cat,0,0,9,9\n", "no image '/somewhere/y.png' in the collection"),
        ("a/x.png,cat,12,8,4,2\n", "has swapped corners"),
        ("a/x.png,cat,12,8,4,2\nb/x.PNG,cat,2,1,15,8\n", "look like x, y, width, height"),
        ("a/x.png,cat,0,zero,9,9\n", "should be four numbers, and are '0', 'zero', '9', '9'"),
    ],
)
def test_boxes_that_are_all_lost_say_what_they_look_like(root, rows, told):
    (root / "boxes.csv").write_text(HEADER + rows)
    with pytest.raises(ConfigError, match=told):
        open_folder(root, "boxes.csv", max_loss=0.1)


def test_a_csv_of_absolute_paths_is_read(root):
    (root / "boxes.csv").write_text(HEADER + "C:\\photos\\a\\x.png,cat,0,0,10,5\n")
    images = open_folder(root, "boxes.csv", max_loss=0)
    assert objects(images) == [("a/x.png", "cat", [0, 0, 0.5, 0.5])]
    assert any("matched by its end" in problem.what for problem in images.problems)


def test_a_csv_without_rows_says_so(root):
    (root / "boxes.csv").write_text(HEADER)
    assert "it has a header and no rows" in [problem.what for problem in open_folder(root, "boxes.csv").problems]


def test_crowds_are_taken_if_asked_for(root, coco_content):
    coco_content["images"][1]["file_name"] = "a/x.png"
    (root / "boxes.json").write_text(json.dumps(coco_content))
    assert [name for _, name, _ in objects(open_folder(root, "boxes.json", crowd=True))] == ["person"]
    assert counted(open_folder(root, "boxes.json").problems)["objects_by_rule"] == 1


def test_dark_pictures_are_told_and_white_mends_them(tmp_path):
    grey = np.array([[0, 1024, 2048, 4095]], dtype=np.uint16)
    for number in range(3):
        Image.fromarray(grey).save(tmp_path / f"{number}.tif")
    images = open_folder(tmp_path)
    assert "3 of 3 pictures of 16 bits per value" in images.problems[0].what
    mended = ImageFolder(str(tmp_path), None, False, 4095, 0.1, None)
    assert np.asarray(mended.read(0))[0, :, 0].tolist() == [0, 64, 128, 255]
    assert mended.problems == ()
    assert mended.fingerprint() != images.fingerprint()
    with pytest.raises(ConfigError, match=r"white=7 .*an int above 255 and of at most 65535"):
        ImageFolder(str(tmp_path), None, False, 7, 0.1, None)


def test_a_share_of_losses_that_is_none_is_refused(root):
    with pytest.raises(ConfigError, match=r"max_loss=2 .*at least 0 and of at most 1"):
        open_folder(root, max_loss=2)


def csv_boxes(root, text, encoding="utf-8"):
    (root / "boxes.csv").write_bytes(text.encode(encoding))
    return open_folder(root, "boxes.csv")


ONE = [("a/x.png", "cat", [0, 0, 0.5, 0.5])]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Image, CLASS ,x0,y0,x1,y1,note\n\na/x.png,cat,0,0,10,5,\n,,,,,,\n", "utf-8"),  # capitals, blank lines
        ("image;class;x0;y0;x1;y1\na/x.png;cat;0;0;10,0;5,0\n", "utf-8"),  # decimal commas
        ("sep=;\nimage;class;x0;y0;x1;y1\na/x.png;cat;0;0;10;5\n", "utf-8"),  # a spreadsheet's first line
        ("image\tclass\tx0\ty0\tx1\ty1\r\na/x.png\tcat\t0\t0\t10\t5\r\n", "utf-16"),  # "Unicode text"
    ],
)
def test_a_csv_as_spreadsheets_write_it(root, text, encoding):
    images = csv_boxes(root, text, encoding)
    assert objects(images) == ONE
    assert lost(images) == []


@pytest.mark.parametrize(
    ("row", "why", "count"),
    [
        ("a/x.png,cat,1,2,3,4,5,6,7,8", "4 fields more than the first line", 1),  # decimal commas: not (1, 2, 3, 4)
        ("a/x.png,cat,0.1,0.1,0.5,0.5", "looks like fractions", 1),
        ("a/x.png,cat,1_0,0,10,5", "should be four numbers", 1),
        ('a/x.png,"cat,0,0,10,5\na/x.png,cat,0,0,10,5\na/x.png,cat,0,0,10,5', "should be four numbers", 3),
        ('a/x.png,"cat\ncat",0,0,10,5', "holds a line break", 2),
    ],
)
def test_a_row_that_cannot_be_meant_is_lost(root, row, why, count):
    images = csv_boxes(root, f"{HEADER}a/x.png,cat,0,0,10,5\na/x.png,dog,0,0,10,5\n{row}\n")
    assert [name for _, name, _ in objects(images)] == ["cat", "dog"]
    assert counted(images.problems)["objects_lost"] == count
    assert why in lost(images)[0].what


def test_pixels_among_fractions_are_lost_and_no_whole_image(root):
    rows = "a/x.png,cat,0,0,0.5,0.5\na/x.png,cat,0,0,1,0.5\na/x.png,cat,0,0,10,5\n"
    images = csv_boxes(root, HEADER + rows)
    assert [box for _, _, box in objects(images)] == [[0, 0, 0.5, 0.5], [0, 0, 1, 0.5]]
    assert "looks like pixels" in lost(images)[0].what


def test_a_column_that_is_there_twice_is_refused(root):
    with pytest.raises(ConfigError, match="it has more than one column x0"):
        csv_boxes(root, "image,class,x0,y0,x1,y1,x0\na/x.png,cat,0,0,10,5,9\n")


@pytest.mark.parametrize("name", ["A.XML", "a.png.xml", "a.xml"])
def test_an_xml_of_the_images_own_name_in_other_letters_or_with_its_ending(tmp_path, save_image, save_xml, name):
    """Its <filename> is that of the other image, and does not count."""
    for image in "ab":
        save_image(tmp_path / f"{image}.png")
    save_xml(tmp_path / "xml" / name, "b.png", (20, 10), [("cat", 1, 1, 10, 5, 0)])
    assert objects(open_folder(tmp_path, "xml")) == [("a.png", "cat", [0, 0, 0.5, 0.5])]


def test_an_xml_for_two_images_of_one_name_and_other_endings_is_lost(tmp_path, save_image, save_xml):
    for ending in ("png", "jpg"):
        save_image(tmp_path / f"a.{ending}")
    save_xml(tmp_path / "xml" / "a.xml", "", (20, 10), [("cat", 1, 1, 10, 5, 0)])
    images = open_folder(tmp_path, "xml")
    assert objects(images) == []
    assert "2 images are meant by 'a'" in lost(images)[0].what


def test_hidden_xmls_are_none_and_linked_folders_of_them_are_read(tmp_path, save_image, save_xml):
    save_image(tmp_path / "photos" / "a.png")
    save_xml(tmp_path / "far" / "a.xml", "a.png", (20, 10), [("cat", 1, 1, 10, 5, 0)])
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "._a.xml").write_bytes(b"\0\5\x16\7")  # what macOS leaves beside a file
    (tmp_path / "xml" / "linked").symlink_to(tmp_path / "far")
    images = open_folder(tmp_path / "photos", tmp_path / "xml")
    assert objects(images) == [("a.png", "cat", [0, 0, 0.5, 0.5])]
    assert lost(images) == []


def test_xmls_beside_their_pictures(tmp_path, save_image, save_xml):
    save_image(tmp_path / "set" / "a.png")
    save_xml(tmp_path / "set" / "a.xml", "a.png", (20, 10), [("cat", 1, 1, 10, 5, 0)])
    images = open_folder(tmp_path, "set")
    assert objects(images) == [("set/a.png", "cat", [0, 0, 0.5, 0.5])]
    assert images.problems == ()


def test_a_folder_without_xmls_is_no_annotation(root):
    with pytest.raises(ConfigError, match=r"boxes=.*there are no .xml files in this folder"):
        open_folder(root, "a")
