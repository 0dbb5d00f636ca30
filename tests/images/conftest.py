"""Small collections on disk, in the layouts of the public ones."""

import json
from xml.sax.saxutils import escape

import pytest
from PIL import Image


def xml(name, size, objects):
    """VOC's XML; objects are (class, xmin, ymin, xmax, ymax, difficult)."""
    parts = "".join(
        f"<object><name>{escape(label)}</name><difficult>{difficult}</difficult><bndbox><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>"
        f"<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
        for label, x0, y0, x1, y1, difficult in objects
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    return f"<annotation><filename>{escape(name)}</filename>{stated}{parts}</annotation>"


@pytest.fixture
def save_image():
    def save(path, size=(20, 10), colour="red"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)

    return save


@pytest.fixture
def save_xml():
    def save(path, name, size, objects):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml(name, size, objects), encoding="utf-8")

    return save


@pytest.fixture
def voc(tmp_path, save_image, save_xml):
    """Images 1 and 2 with objects, 3 without an XML file, 4 listed without a file. Returns VOCdevkit."""
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for number in "123":
        save_image(base / "JPEGImages" / f"{number}.jpg")
    objects = [("person", 1, 1, 10, 5, 0), ("dog", 11, 6, 20, 10, 1), ("dog", 30, 1, 40, 5, 0)]
    save_xml(base / "Annotations" / "1.xml", "1.jpg", (20, 10), objects)
    save_xml(base / "Annotations" / "2.xml", "2.jpg", (20, 10), [("zebra", 1, 1, 20, 10, 0)])
    (base / "ImageSets" / "Main").mkdir(parents=True)
    (base / "ImageSets" / "Main" / "trainval.txt").write_text("2\n1\n3\n4\n\n")
    (base / "ImageSets" / "Main" / "dog_val.txt").write_text("1  1\n2 -1\n")
    return tmp_path / "VOCdevkit"


@pytest.fixture
def coco_content():
    """Images 7, 3 and 9, the last without a file; a crowd, a box outside, an unknown image, an unreadable row."""
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "width": 20, "height": 10} for i in (7, 3, 9)]
    boxes = [
        {"id": 1, "image_id": 7, "category_id": 18, "bbox": [5, 0, 10, 5], "iscrowd": 0},
        {"id": 2, "image_id": 3, "category_id": 1, "bbox": [0, 0, 20, 10], "iscrowd": 1},
        {"id": 3, "image_id": 3, "category_id": 1, "bbox": [25, 0, 5, 5], "iscrowd": 0},
        {"id": 4, "image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0},
        {"id": 5, "image_id": 3, "category_id": 1, "iscrowd": 0},
        {"id": 6, "image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0},
    ]
    categories = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 5, "name": "airplane"}]
    return {"images": images, "annotations": boxes, "categories": categories}


@pytest.fixture
def coco(tmp_path, save_image, coco_content):
    """A folder in COCO's layout, split val."""
    for number in (3, 7):
        save_image(tmp_path / "coco" / "val2017" / f"{number:012d}.jpg")
    (tmp_path / "coco" / "annotations").mkdir()
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text(json.dumps(coco_content))
    return tmp_path / "coco"
