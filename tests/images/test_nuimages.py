import json

import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import ProblemKind, counted
from seekloop.images.class_names import class_names
from seekloop.images.nuimages import NuImages
from seekloop.testing import check_collection


def picture(token, path, key=True):
    return {
        "token": token,
        "sample_token": f"sample {token}",
        "filename": path,
        "fileformat": "jpg",
        "width": 20,
        "height": 10,
        "is_key_frame": key,
    }


FRONT, BACK, SWEEP = "samples/CAM_FRONT/b.jpg", "samples/CAM_BACK/a.jpg", "sweeps/CAM_FRONT/c.jpg"


@pytest.fixture
def tables():
    """A bus and a person in front, a bus behind; between them a frame that nobody annotated."""
    return {
        "sample_data": [picture("f", FRONT), picture("s", SWEEP, key=False), picture("b", BACK)],
        "category": [
            {"token": "p", "name": "human.pedestrian.adult", "description": ""},
            {"token": "r", "name": "vehicle.bus.rigid", "description": ""},
            {"token": "e", "name": "flat.driveable_surface", "description": ""},
        ],
        "object_ann": [
            {"token": "1", "sample_data_token": "f", "category_token": "r", "bbox": [5, 0, 15, 5], "mask": None},
            {"token": "2", "sample_data_token": "f", "category_token": "p", "bbox": [0, 5, 20, 10], "mask": None},
            {"token": "3", "sample_data_token": "b", "category_token": "r", "bbox": [0, 0, 20, 10], "mask": None},
        ],
        "surface_ann": [{"token": "4", "sample_data_token": "f", "category_token": "e", "mask": None}],
    }


@pytest.fixture
def root(tmp_path, save_image):
    for path in (FRONT, BACK, SWEEP):
        save_image(tmp_path / path)
    return tmp_path


def opened(root, tables, **choices):
    (root / "v1.0-val").mkdir(exist_ok=True)
    for name, rows in tables.items():
        (root / "v1.0-val" / f"{name}.json").write_text(json.dumps(rows))
    return NuImages(str(root), **choices)


def test_key_frames_and_corners_by_hand(root, tables):
    """Left 5, top 0, right 15, bottom 5 in 20 x 10: as width and height it would reach to 1 and 0.5."""
    images = opened(root, tables, max_loss=0)
    assert images.paths == (BACK, FRONT)
    assert images.annotations.classes == ("human.pedestrian.adult", "vehicle.bus.rigid")
    assert images.annotations.image.tolist() == [0, 1, 1]
    assert images.annotations.label.tolist() == [1, 1, 0]
    assert images.annotations.box[1].tolist() == [0.25, 0, 0.75, 0.5]
    assert images.problems == ()
    check_collection(images)


def test_classes_are_searched_for_by_other_words(root, tables):
    search = class_names(opened(root, tables), {"vehicle.bus.rigid": "bus"})
    assert search.texts == ("human.pedestrian.adult", "bus")
    assert search.relevant("all").int().tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sample_data_token": "s"}, "means no key frame whose file is there"),
        ({"category_token": "x"}, "its category_token 'x' means no category"),
        ({"bbox": [0, 0, 5]}, r"four numbers \(left, top, right, bottom\), and is \[0, 0, 5\]"),
        ({"bbox": None}, "and is None"),
        ({"bbox": [15, 0, 5, 5]}, "swapped corners"),
    ],
)
def test_one_bad_object_is_one_loss_with_its_reason(root, tables, change, why):
    tables["object_ann"][0].update(change)
    images = opened(root, tables, max_loss=1)
    assert len(images.annotations.image) == 2
    (lost,) = [problem for problem in images.problems if problem.kind is ProblemKind.OBJECT]
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(lost.what)
    assert "v1.0-val/object_ann.json[0]" in lost.where


def test_files_and_rows_left_out_are_counted(root, tables):
    (root / BACK).unlink()
    tables["object_ann"].append(7)
    images = opened(root, tables, max_loss=1)
    assert images.paths == (FRONT,)
    assert counted(images.problems) == {"objects_lost": 2, "objects_by_rule": 0, "files_not_taken": 1, "notes": 0}
    with pytest.raises(ConfigError, match=r"max_loss=0.1 .*2 of 4 annotated objects"):
        NuImages(str(root))


def test_what_is_missing_is_named(root, tables):
    opened(root, tables)
    with pytest.raises(ConfigError, match=r"version='v1.0-train' .*no folder .*Tables are in: v1.0-val"):
        NuImages(str(root), version="v1.0-train")
    (root / "v1.0-val" / "category.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"root=.*v1.0-val/category.json: it holds a dict, and a table is a list"):
        NuImages(str(root))
    (root / "v1.0-val" / "category.json").unlink()
    with pytest.raises(ConfigError, match=r"root=.*v1.0-val/category.json: .*No such file"):
        NuImages(str(root))
