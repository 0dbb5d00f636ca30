"""Readers of Fashion200k and MIT-States, on tiny files in the layouts in which they are published."""

import pytest
from PIL import Image

from seekloop.contracts.errors import ConfigError
from seekloop.images.fashion200k import Fashion200k, classes_of
from seekloop.images.feedback_tasks import feedback_tasks
from seekloop.images.mit_states import MitStates
from seekloop.testing import check_collection


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (len(path.name) * 9 % 256, 40, 90)).save(path)


def shown(collection):
    """Classes of every image, by its path."""
    known = collection.annotations
    names = {path: [] for path in collection.paths}
    for image, label in zip(known.image.tolist(), known.label.tolist(), strict=True):
        names[collection.paths[image]].append(known.classes[label])
    return names


@pytest.fixture
def states(tmp_path):
    for name in ("clean shirt/a.jpg", "clean shirt/b.jpg", "dirty shirt/a.jpg", "adj shirt/a.jpg", "loose.jpg"):
        picture(tmp_path / "images" / name)
    return MitStates(tmp_path)


def test_states(states):
    """Objects without a state, and pictures beside the folders, are left out and counted."""
    assert shown(states) == {
        "images/clean shirt/a.jpg": ["clean shirt"],
        "images/clean shirt/b.jpg": ["clean shirt"],
        "images/dirty shirt/a.jpg": ["dirty shirt"],
    }
    assert [one.count for one in states.problems] == [2]
    assert states.annotations.box.tolist() == [[0, 0, 1, 1]] * 3
    check_collection(states)


def test_states_are_properties(states):
    search = feedback_tasks(states, task="changed", properties="name")
    assert sorted(search.names) == ["clean shirt", "dirty shirt", "dirty shirt"]
    assert search.relevant("all")[search.names.index("clean shirt")].tolist() == [True, True, False]


def test_no_states(tmp_path):
    with pytest.raises(ConfigError, match="it holds no folder images"):
        MitStates(tmp_path)
    picture(tmp_path / "images" / "adj shirt" / "a.jpg")
    with pytest.raises(ConfigError, match="left out"):
        MitStates(tmp_path)


@pytest.fixture
def clothes(tmp_path):
    for name in ("dresses/1/1_0.jpeg", "dresses/1/1_1.jpeg", "tops/2/2_0.jpeg"):
        picture(tmp_path / "women" / name)
    (tmp_path / "labels").mkdir()
    lines = [
        "women/dresses/1/1_0.jpeg\t0.998\tblack knee-length dress",
        "women/dresses/1/1_0.jpeg\t0.7\tblack knee-length dress",
        "women/dresses/1/1_9.jpeg\t0.998\tgone dress",
        "women/dresses/1/1_1.jpeg\t0.5",
    ]
    (tmp_path / "labels" / "dress_test_detect_all.txt").write_text("\n".join(lines))
    (tmp_path / "labels" / "top_train_detect_all.txt").write_text("women/tops/2/2_0.jpeg\t0.9\tBlack tops & lace top\n")
    return tmp_path


def test_clothes(clothes):
    """Each word of a description is a property; an image that is listed twice is one; what is wrong is named."""
    found = Fashion200k(clothes)
    assert shown(found) == {"women/dresses/1/1_0.jpeg": ["black dress", "knee-length dress"]}
    assert {(one.where, one.kind.value) for one in found.problems} == {
        ("labels/dress_test_detect_all.txt, line 3", "file"),
        ("labels/dress_test_detect_all.txt, line 4", "object"),
    }
    everything = Fashion200k(clothes, split="all")
    assert shown(everything)["women/tops/2/2_0.jpeg"] == ["black top", "lace top"]
    assert shown(Fashion200k(clothes, split="train")) == {"women/tops/2/2_0.jpeg": ["black top", "lace top"]}
    check_collection(everything)


def test_black_is_shared_by_kinds_of_clothes(clothes):
    search = feedback_tasks(Fashion200k(clothes, split="all"), task="property", properties="name")
    assert search.names == ("black", "black")


def test_no_clothes(tmp_path):
    with pytest.raises(ConfigError, match=r"it holds no labels/\*_test_detect_all.txt"):
        Fashion200k(tmp_path)


def test_the_kind_is_no_property():
    assert classes_of("pants", "Blue 5-pocket pants.") == ["blue pants", "5-pocket pants"]
    assert classes_of("skirt", "skirts") == ["skirt"]
