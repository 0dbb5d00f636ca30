import json

import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import ProblemKind, counted
from seekloop.images.coco import Coco2017, read_coco


def open_coco(root, split="val", crowd=False, max_loss=1):
    return Coco2017(str(root), split, crowd, max_loss, False, None)


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


def test_stuff_counts_only_if_asked_for(coco):
    """Grass below the middle of image 7, sky on image 3; `other` covers the dog, which is annotated itself."""
    entries = [(7, 123, [0, 5, 20, 5]), (7, 183, [5, 0, 10, 5]), (3, 157, [0, 0, 20, 2])]
    names = {123: "grass", 157: "sky-other", 183: "other"}
    content = json.loads((coco / "annotations" / "instances_val2017.json").read_text())
    content["categories"] = [{"id": key, "name": name, "supercategory": "stuff"} for key, name in names.items()]
    content["annotations"] = [
        {"id": number, "image_id": image, "category_id": key, "bbox": box, "iscrowd": 0, "area": 1.0}
        for number, (image, key, box) in enumerate(entries, start=90)
    ]
    (coco / "annotations" / "stuff_val2017.json").write_text(json.dumps(content))
    assert open_coco(coco).annotations.classes == ("dog",)
    both = Coco2017(str(coco), "val", max_loss=1, stuff=True)
    assert both.annotations.classes == ("dog", "grass", "sky-other")
    rows = sorted(
        (image, both.annotations.classes[label], [round(value, 6) for value in box])
        for image, label, box in zip(
            *(getattr(both.annotations, key).tolist() for key in ("image", "label", "box")), strict=True
        )
    )
    assert rows == [(0, "sky-other", [0, 0, 1, 0.2]), (1, "dog", [0.25, 0, 0.75, 0.5]), (1, "grass", [0, 0.5, 1, 1])]
    (coco / "annotations" / "stuff_val2017.json").unlink()
    with pytest.raises(ConfigError, match=r"root=.*stuff_val2017.json: "):
        Coco2017(str(coco), "val", max_loss=1, stuff=True)


def test_what_is_left_out_is_reported_and_counted(coco):
    problems = open_coco(coco).problems
    found = {problem.where: problem.what for problem in problems}
    file = "annotations/instances_val2017.json"
    places = [f"annotations[{entry}] (id {entry + 1})" for entry in range(1, 6)]
    assert set(found) == {f"{file}, image '000000000009.jpg'", *(f"{file}, {place}" for place in places)}
    assert "no image with id 99" in found[f"{file}, {places[2]}"]
    assert counted(problems) == {"objects_lost": 4, "objects_by_rule": 1, "files_not_taken": 1, "notes": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "root=None .* needs a folder"),
        ({"split": "test"}, "split='test' .*one of: train, val"),
        ({"split": "train"}, "it holds no annotations/instances_train2017.json"),
    ],
)
def test_what_is_missing_is_named(coco, arguments, message):
    given = {"root": str(coco), "split": "val", "crowd": False, "max_loss": 1, "download": False, "cache": None}
    with pytest.raises(ConfigError, match=message):
        Coco2017(**{**given, **arguments})


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"images": []}', '{"annotations": [{}]}'])
def test_another_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match="not a COCO file of instances"):
        read_coco(tmp_path / "a.json")


def boxes_of(coco, change, **choices):
    """The objects of a collection whose file was changed: (image's id, class, box)."""
    file = coco / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"] = [content["annotations"][0], {**content["annotations"][0], "image_id": 3, "bbox": BOX}]
    content["images"].pop()
    change(content)
    file.write_text(json.dumps(content))
    images = open_coco(coco, **choices)
    mine = images.annotations
    rows = [
        (int(images.paths[i][-6:-4]), mine.classes[label], box)
        for i, label, box in zip(mine.image.tolist(), mine.label.tolist(), mine.box.tolist(), strict=True)
    ]
    return rows, images.problems


BOX = [0, 5, 20, 5]
BOTH = [(3, "dog", [0, 0.5, 1, 1]), (7, "dog", [0.25, 0, 0.75, 0.5])]


def every(part, **values):
    """A change of every entry of one part; a value of None takes the key out."""

    def change(content):
        for entry in content[part]:
            for key, value in values.items():
                entry.pop(key) if value is None else entry.update({key: value(entry) if callable(value) else value})

    return change


def twice(content):
    content["images"].append({**content["images"][0], "id": 70})
    content["annotations"][0]["image_id"] = 70


@pytest.mark.parametrize(
    "change",
    [
        every("annotations", id=1),
        every("annotations", id=0),
        every("annotations", id=None),
        every("annotations", id=lambda one: [one["image_id"]]),
        every("annotations", image_id=lambda one: str(one["image_id"])),
        every("annotations", image_id=lambda one: float(one["image_id"])),
        every("images", id=lambda one: f" {one['id']} "),
        every("categories", id=lambda one: str(one["id"])),
        every("annotations", category_id="18"),
        every("annotations", bbox=lambda one: [str(v) for v in one["bbox"]]),
        every("annotations", iscrowd="0"),
        every("annotations", iscrowd=None),
        every("annotations", iscrowd="false"),
        every("images", width=None, height=None),
        every("images", width=-1, height=-1),
        every("images", width=0),
        every("images", width="20.0", height="10"),
        every("images", file_name=lambda one: f"https://example.org/train/{one['file_name']}?x=1"),
        every("images", file_name=lambda one: f"D:\\\\data\\\\{one['file_name']}"),
        lambda content: content["categories"].append({"id": 18, "name": "dog"}),
        twice,
    ],
)
def test_what_other_tools_write_means_the_same(coco, change):
    assert boxes_of(coco, change, max_loss=0)[0] == BOTH


def test_one_bad_entry_is_one_problem(coco):
    bad = [None, {}, {"image_id": 7}, {"image_id": 7, "category_id": 18, "bbox": [1, 2]}, [1], "x"]
    bad += [{"image_id": 7, "category_id": 18, "bbox": [0, 0, 5, 5], "iscrowd": "maybe"}]
    rows, problems = boxes_of(coco, lambda content: content["annotations"].extend(bad))
    assert rows == BOTH
    assert counted(problems)["objects_lost"] == len(bad)


def test_two_images_of_one_id_lose_their_annotations_and_are_told(coco):
    rows, problems = boxes_of(coco, every("images", id=7))
    assert rows == []
    assert counted(problems)["objects_lost"] == 2
    assert any("2 images have the id 7" in problem.what for problem in problems)


def test_an_image_listed_twice_is_one_image(coco):
    boxes_of(coco, twice)
    images = open_coco(coco)
    assert images.paths == ("val2017/000000000003.jpg", "val2017/000000000007.jpg")
    assert any("listed more than once" in problem.what for problem in images.problems)


def test_categories_of_one_name_are_one_class(coco):
    def another_dog(content):
        content["categories"].append({"id": 44, "name": "dog"})
        content["annotations"][1]["category_id"] = 44

    rows, problems = boxes_of(coco, another_dog, max_loss=0)
    assert rows == BOTH
    assert open_coco(coco).annotations.classes == ("dog",)
    assert any("several categories are called 'dog'" in problem.what for problem in problems)


@pytest.mark.parametrize(
    "entry", [{"id": 18}, {"id": 18, "name": None}, {"name": "dog"}, "dog", {"id": 18, "name": " "}]
)
def test_a_category_without_a_name_loses_its_objects_only(coco, entry):
    def nameless(content):
        content["categories"][0] = entry
        content["annotations"][1]["category_id"] = 1

    rows, problems = boxes_of(coco, nameless)
    assert rows == [(3, "person", [0, 0.5, 1, 1])]
    assert any("needs an id and a name" in problem.what for problem in problems)


def test_swapped_corners_are_named(coco):
    rows, problems = boxes_of(coco, lambda content: content["annotations"][0].update(bbox=[15, 5, -10, -5]))
    assert rows == BOTH[:1]
    assert [problem.what.split(" of ", 1)[1] for problem in problems] == [
        "'dog' has swapped corners (the second lies left of or above the first)"
    ]


def test_boxes_that_are_corners_are_not_taken_for_sizes(coco):
    """[12, 0, 20, 10] as left, top, width, height reaches to 32 of 20 pixels."""

    def corners(content):
        content["annotations"] = [{**content["annotations"][0], "bbox": [12, 6 - n, 20, 10]} for n in range(3)]

    with pytest.raises(ConfigError, match=r"3 of 3 annotated objects .*\n.*look like corners \(x0, y0, x1, y1\)"):
        boxes_of(coco, corners, max_loss=0.1)


def test_a_byte_order_mark_is_passed_over(coco):
    file = coco / "annotations" / "instances_val2017.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(open_coco(coco).annotations.box) == 1


def test_too_many_losses_stop_with_the_reasons_and_crowds_are_none(coco):
    with pytest.raises(ConfigError, match=r"max_loss=0.1 .*4 of 5 annotated objects(.|\n)*no image with id 99"):
        open_coco(coco, max_loss=0.1)
    everything = every("annotations", iscrowd=1)
    assert boxes_of(coco, everything, max_loss=0)[0] == []
    assert any("all of them are crowds" in problem.what for problem in open_coco(coco).problems)


def test_a_file_of_detections_is_called_one(tmp_path):
    (tmp_path / "a.json").write_text('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]')
    with pytest.raises(ValueError, match="it looks like a file of detections"):
        read_coco(tmp_path / "a.json")


def lost_whys(coco, content):
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return [problem.what for problem in open_coco(coco).problems if problem.kind is ProblemKind.OBJECT]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bbox": [0, 0, 10**400, 5]}, "bbox should be four numbers"),
        ({"bbox": [0, 0, None, 5]}, "bbox should be four numbers"),
        ({"bbox": "1234"}, "bbox should be four numbers"),
        ({"bbox": [True, False, True, True]}, "bbox should be four numbers"),
        ({"bbox": [0, 0, float("nan"), 5]}, "has no area"),
        ({"bbox": [0, 0, float("inf"), 5]}, "sticks out of the image"),
        ({"bbox": [0.1, 0.1, 0.5, 0.5]}, "looks like fractions"),
        ({"bbox": None, "segmentation": [[1, 1, 2, 2, 3, 3]]}, "it has no bbox; its segmentation is not read"),
        ({"category_id": None}, "it has no category_id"),
        ({"image_id": [1]}, "there is no image with id [1]"),
        ({"iscrowd": 2}, "iscrowd should be 0 or 1, and is 2"),
    ],
)
def test_one_bad_object_is_one_loss_with_its_reason(coco, coco_content, change, why):
    good = coco_content["annotations"][0]
    coco_content["annotations"] = [good, {**good, **change}]
    (told,) = lost_whys(coco, coco_content)
    assert why in told


def test_a_box_of_one_pixel_is_no_fraction(coco, coco_content):
    coco_content["annotations"] = [{**coco_content["annotations"][0], "bbox": [0, 0, 1, 1]}]
    assert lost_whys(coco, coco_content) == []
    assert open_coco(coco).annotations.box[0].tolist() == pytest.approx([0, 0, 1 / 20, 1 / 10])


def test_an_image_listed_with_two_sizes_has_no_boxes(coco, coco_content):
    """In 20 x 10 the box would be 0.25 to 0.75, in 40 x 20 0.125 to 0.375."""
    coco_content["annotations"] = coco_content["annotations"][:1]
    coco_content["images"].append({**coco_content["images"][0], "width": 40, "height": 20})
    assert lost_whys(coco, coco_content) == [
        "its image '000000000007.jpg' is listed with 2 sizes, and the box may be of any"
    ]
    del coco_content["images"][-1]["width"]
    assert lost_whys(coco, coco_content) == []


def test_class_names_that_differ_in_blanks_or_composed_letters_are_one_class(coco, coco_content):
    coco_content["categories"] = [{"id": 18, "name": "caf\u00e9  au lait"}, {"id": 1, "name": " cafe\u0301 au lait "}]
    coco_content["annotations"] = [
        {**coco_content["annotations"][0], "category_id": number, "bbox": [0, 0, number, 5]} for number in (1, 18)
    ]
    assert lost_whys(coco, coco_content) == []
    assert open_coco(coco).annotations.classes == ("caf\u00e9 au lait",)
    assert len(open_coco(coco).annotations.image) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_json_in_any_form_of_unicode(tmp_path, coco_content, encoding):
    (tmp_path / "a.json").write_bytes(json.dumps(coco_content).encode(encoding))
    assert len(read_coco(tmp_path / "a.json").images) == 3


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\x1f\x8b\x08", r"compressed \(gzip\)"),
        (b"[" * 200_000, "recursion"),
        (b"{} {}", "Extra data"),
    ],
)
def test_what_is_no_json_is_named(tmp_path, content, why):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.json is not a COCO file of instances: .*{why}"):
        read_coco(tmp_path / "a.json")


def test_two_images_of_one_id_are_told_and_lose_their_objects(coco, coco_content):
    coco_content["annotations"] = coco_content["annotations"][:1]
    coco_content["images"][1]["id"] = 7
    (why,) = lost_whys(coco, coco_content)
    assert "2 images have the id 7, such as 000000000003.jpg, 000000000007.jpg" in why
    notes = [problem.what for problem in open_coco(coco).problems if problem.kind is ProblemKind.NOTE]
    assert any("2 images have the id 7" in note for note in notes)
