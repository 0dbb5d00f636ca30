import json

import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.images.coco import Coco2017, load_coco


def open_coco(root, split="val", crowd=False):
    return Coco2017(str(root), split, crowd, False, None)


def test_images_boxes_and_classes_by_hand(coco):
    """Left 5, top 0, width 10, height 5 in 20 x 10: 0.25 to 0.75, 0 to 0.5. Images are ordered by id."""
    images = open_coco(coco)
    assert images.paths == ("val2017/000000000003.jpg", "val2017/000000000007.jpg")
    assert images.annotations.classes == ("dog",)
    assert images.annotations.image.tolist() == [1]
    assert images.annotations.box.tolist() == [[0.25, 0, 0.75, 0.5]]
    assert images.read(1).size == (20, 10)


def test_crowds_count_only_if_asked_for(coco):
    mine = open_coco(coco, crowd=True).annotations
    assert mine.classes == ("person", "dog")  # by category number
    assert mine.crowd.tolist() == [True, False]
    assert not open_coco(coco).annotations.crowd.any()


def test_what_is_left_out_is_reported_once(coco):
    found = {problem.where: problem.what for problem in open_coco(coco).problems}
    file = "annotations/instances_val2017.json"
    assert set(found) == {"val2017/000000000009.jpg", *(f"{file}, annotation {number}" for number in (3, 4, 5))}
    assert "no image with id 99" in found[f"{file}, annotation 4"]


def test_pycocotools_is_silent(coco, capsys):
    open_coco(coco)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "collection.root=None .* needs a folder"),
        ({"split": "test"}, "collection.split='test' .*One of: train, val"),
        ({"split": "train"}, "it holds no annotations/instances_train2017.json"),
    ],
)
def test_what_is_missing_is_named(coco, arguments, message):
    given = {"root": str(coco), "split": "val", "crowd": False, "download": False, "cache": None}
    with pytest.raises(ConfigError, match=message):
        Coco2017(**{**given, **arguments})


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"images": []}', '{"annotations": [{}]}'])
def test_another_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match="not a COCO file of instances"):
        load_coco(tmp_path / "a.json")


def test_a_size_of_zero_is_reported(coco, coco_content):
    coco_content["images"][0]["width"] = 0
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(coco_content))
    assert any("ZeroDivisionError" in problem.what for problem in open_coco(coco).problems)
