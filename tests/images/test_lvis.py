import json

import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import counted
from seekloop.images.class_names import class_names
from seekloop.images.lvis import Lvis
from seekloop.metrics.ranked import finite_sum_average_precision
from seekloop.metrics.ranks import ranks_of_positives
from seekloop.testing import check_collection

ADDRESS = "http://images.cocodataset.org/{}/{:012d}.jpg"
IMAGES = {7: ("val2017", [2]), 3: ("train2017", [1, 99]), 5: ("val2017", []), 9: ("train2017", [1])}
"""Folder of each image, and the classes that it was verified not to show; 99 is none."""


@pytest.fixture
def content():
    """Cans on images 7 and 5, where they are not all annotated; a bow on 3, too many cans to annotate on 9."""
    images = [
        {
            "id": number,
            "coco_url": ADDRESS.format(folder, number),
            "width": 20,
            "height": 10,
            "neg_category_ids": absent,
            "not_exhaustive_category_ids": [1] if number in (5, 9) else [],
        }
        for number, (folder, absent) in IMAGES.items()
    ]
    objects = [(7, 1, [5, 0, 5, 2.5]), (5, 1, [0, 0, 20, 10]), (3, 2, [0, 5, 20, 5]), (3, 3, [0, 0, 20, 5])]
    names = {1: ("aerosol_can", "c"), 2: ("bow_(weapon)", "r"), 3: ("zebra", "f")}
    return {
        "images": images,
        "annotations": [
            {"id": number, "image_id": image, "category_id": key, "bbox": box, "area": 1.0, "segmentation": [[0, 0, 1]]}
            for number, (image, key, box) in enumerate(objects, start=1)
        ],
        "categories": [
            {"id": key, "name": name, "synonyms": [name], "synset": f"{name}.n.01", "frequency": letter, "def": ""}
            for key, (name, letter) in names.items()
        ],
    }


@pytest.fixture
def root(tmp_path, save_image):
    for number, (folder, _) in IMAGES.items():
        save_image(tmp_path / folder / f"{number:012d}.jpg")
    return tmp_path


def opened(root, content, place="annotations", **choices):
    (root / place).mkdir(exist_ok=True)
    (root / place / "lvis_v1_val.json").write_text(json.dumps(content))
    return Lvis(str(root), **choices)


def test_images_of_both_folders_and_classes_by_words(root, content):
    """Ordered by id: 3, 5, 7, 9. Left 5, top 0, width 5, height 2.5 in 20 x 10: 0.25 to 0.5, 0 to 0.25."""
    images = opened(root, content, max_loss=0)
    assert images.paths == tuple(f"{IMAGES[number][0]}/{number:012d}.jpg" for number in (3, 5, 7, 9))
    assert images.annotations.classes == ("aerosol can", "bow (weapon)", "zebra")
    assert images.annotations.image.tolist() == [0, 0, 1, 2]
    assert images.annotations.box[3].tolist() == [0.25, 0, 0.5, 0.25]
    assert images.problems == ()
    assert images.absent() == {"aerosol can": (0, 3), "bow (weapon)": (2,)}
    check_collection(images)


def test_unknown_images_leave_the_ranking_by_hand(root, content):
    """Cans: 5 and 7 right, 3 and 9 wrong. Bows: 3 right, 7 wrong, 5 and 9 unknown. Zebras: nothing is wrong."""
    search = class_names(opened(root, content))
    assert search.texts == ("aerosol can", "bow (weapon)")
    assert search.relevant("all").int().tolist() == [[0, 1, 1, 0], [1, 0, 0, 0]]
    assert search.ignored("all").int().tolist() == [[0, 0, 0, 0], [0, 1, 0, 1]]
    assert search.relevant("medium").int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]  # the can of 0.25 x 0.25
    assert search.ignored("medium").int().tolist() == [[0, 1, 0, 0], [1, 1, 0, 1]]
    (problem,) = search.queries.problems
    assert (problem.where, problem.what) == ("zebra", "not searched for: it is known to be absent from no image")


def test_rare_common_and_frequent_classes_are_measured_apart_by_hand(root, content):
    """Bows are rare and cans common; zebras, the only frequent ones, are not searched for, as nothing is wrong.

    Cans are found at once (AP 1), the bow behind its only wrong image, 7 (AP 1/2). A kind's other queries have no right
    images, so no average precision; they do not count as 0.
    """
    images = opened(root, content)
    assert images.frequency() == {"aerosol can": "common", "bow (weapon)": "rare", "zebra": "frequent"}
    search = class_names(images)
    assert list(search.setups) == ["all", "small", "medium", "large", "rare", "common"]
    assert search.relevant("rare").int().tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert search.relevant("common").int().tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]
    assert torch.equal(search.ignored("rare"), search.ignored("all"))
    scores = torch.tensor([[0.2, 0.9, 0.8, 0.1], [0.5, 0.9, 0.6, 0.9]])
    means = {
        kind: finite_sum_average_precision(
            ranks_of_positives(scores, search.relevant(kind), search.ignored(kind))
        ).nanmean()
        for kind in ("all", "rare", "common")
    }
    assert {kind: value.item() for kind, value in means.items()} == {"all": 0.75, "rare": 0.5, "common": 1.0}


def test_a_file_without_frequencies_has_none(root, content):
    for entry, letter in zip(content["categories"], (None, "x", "f"), strict=True):
        entry["frequency"] = letter
    images = opened(root, content)
    assert images.frequency() == {"zebra": "frequent"}
    assert list(class_names(images).setups) == ["all", "small", "medium", "large"]


def test_an_image_with_the_class_is_right_whatever_else_the_file_says(root, content):
    content["images"][0]["neg_category_ids"] = [1, 2]
    search = class_names(opened(root, content))
    assert search.relevant("all")[0].int().tolist() == [0, 1, 1, 0]
    assert not search.ignored("all")[0].any()


def test_an_image_whose_box_is_lost_is_unknown(root, content):
    content["annotations"][1]["bbox"] = [0, 0, 0, 10]
    search = class_names(opened(root, content, max_loss=1))
    assert search.relevant("all")[0].int().tolist() == [0, 0, 1, 0]
    assert search.ignored("all")[0].int().tolist() == [0, 1, 0, 0]


def test_missing_files_and_bad_entries_are_counted(root, content):
    (root / "val2017" / f"{7:012d}.jpg").unlink()
    content["annotations"].append({"image_id": 3})
    del content["images"][3]["coco_url"]
    images = opened(root, content, max_loss=1)
    assert images.paths == (f"train2017/{3:012d}.jpg", f"val2017/{5:012d}.jpg")
    assert counted(images.problems) == {"objects_lost": 2, "objects_by_rule": 0, "files_not_taken": 2, "notes": 0}
    with pytest.raises(ConfigError, match=r"max_loss=0.1 .*2 of 5 annotated objects"):
        Lvis(str(root))


def test_the_file_is_found_where_it_is_usually_put(root, content):
    assert opened(root, content, "lvis").annotations.classes[0] == "aerosol can"
    assert opened(root, content, ".").annotations.classes[0] == "aerosol can"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content.pop("categories"), "root=.*annotations/lvis_v1_val.json: .*it has no categories"),
        (lambda content: [one.pop("neg_category_ids") for one in content["images"]], "no file of LVIS; .*coco2017"),
    ],
)
def test_other_files_are_refused(root, content, damage, message):
    damage(content)
    with pytest.raises(ConfigError, match=message):
        opened(root, content)


def test_what_is_missing_is_named(root):
    with pytest.raises(
        ConfigError, match=r"root=.*lvis_v1_val.json is not there. .*unpacked from lvis_v1_val.json.zip"
    ):
        Lvis(str(root))
    with pytest.raises(ConfigError, match="split='test'"):
        Lvis(str(root), split="test")
