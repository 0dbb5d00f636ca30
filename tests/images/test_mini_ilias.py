import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.images.mini_ilias import mini_ilias

BOXES = {
    "bimp_000/query/Q000_00": "0 0 5 5\n10 5 5 5\n",
    "bimp_000/pos/P000_00": "0 0 10 10\n",
    "bimp_000/pos/P000_01": "0 0 10 5\n10 5 10 5\n",
    "zippy_999/query/Q999_00": "0 0 20 10\n",
    "zippy_999/query/Q999_01": "5 0 10 10\n",
    "zippy_999/pos/P999_00": "10 0 10 10\n",
}


@pytest.fixture
def root(tmp_path, save_image):
    """Two objects, and three distractors in two folders; all 20 x 10 pixels."""
    for path, boxes in BOXES.items():
        save_image(tmp_path / "ilias_core" / f"{path}.jpg")
        (tmp_path / "ilias_core" / f"{path}_bbox.txt").write_text(boxes)
    for path in ("0/a", "0/b", "1/c"):
        save_image(tmp_path / "yfcc100m" / f"{path}.jpg")
    return tmp_path


def test_objects_and_distractors_by_hand(root):
    """The first query's two boxes are parts of one object: from (0, 0) to (15, 10)."""
    search = mini_ilias(str(root), "yfcc100m", None)
    assert search.names == ("bimp_000", "zippy_999", "zippy_999")
    assert search.query_boxes(0).tolist() == [[0, 0, 0.75, 1]]
    assert search.query_boxes(2).tolist() == [[0.25, 0, 0.75, 1]]
    assert len(search.database.paths) == 6
    assert search.database.paths[3:] == ("yfcc100m/0/a.jpg", "yfcc100m/0/b.jpg", "yfcc100m/1/c.jpg")
    assert [row.tolist() for row in search.setups["all"].positive] == [[0, 1], [2], [2]]
    assert search.boxes[0][1].tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    assert search.own.tolist() == [-1, -1, -1]


def test_distractors_can_be_left_out_or_listed(root):
    assert len(mini_ilias(str(root), None, None).database.paths) == 3
    (root / "image_ids").mkdir()
    (root / "image_ids" / "mini_ilias_yfcc100m_ids.txt").write_text("b\n1/c\n0/zzz\n")
    paths = mini_ilias(str(root), "yfcc100m", None).database.paths
    assert paths[3:] == ("yfcc100m/0/b.jpg", "yfcc100m/1/c.jpg")


@pytest.mark.parametrize(
    ("damage", "distractors", "message"),
    [
        (lambda root: (root / "ilias_core").rename(root / "core"), None, "root=.*ilias_core is not there"),
        (lambda root: (root / "ilias_core/zippy_999/query/Q999_01_bbox.txt").unlink(), None, "root=.*cannot be read"),
        (lambda root: (root / "ilias_core/zippy_999/query/Q999_01_bbox.txt").write_text(""), None, "root=.*is empty"),
        (lambda root: None, "none", "distractors='none' .*there is no folder"),
        (lambda root: (root / "packed").mkdir(), "packed", "distractors='packed' .*no image .* 0 tar files. Unpack"),
        (lambda root: (root / "ilias_core/bimp_000/pos").rename(root / "p"), None, None),
    ],
)
def test_other_files_are_refused(root, damage, distractors, message):
    damage(root)
    if message is None:  # an object without positives has none, and the others are searched for all the same
        assert [len(row) for row in mini_ilias(str(root), distractors, None).setups["all"].positive] == [0, 1, 1]
    else:
        with pytest.raises(ConfigError, match=message):
            mini_ilias(str(root), distractors, None)


@pytest.fixture
def described(root):
    (root / "ilias_core/bimp_000/query/T000.txt").write_text("a bold bimp,\n with  ears\n", encoding="utf-8")
    (root / "ilias_core/zippy_999/query/T999.txt").write_text("a zippy zoot \u00e0 pois", encoding="utf-8")
    return root


def test_descriptions_are_queries_by_hand(described):
    """One a object, though one of them has two query images; right are the same images as of its boxes."""
    search = mini_ilias(str(described), "yfcc100m", None, "texts")
    boxes = mini_ilias(str(described), "yfcc100m", None)
    assert search.names == ("bimp_000", "zippy_999")
    assert search.texts == ("a bold bimp, with ears", "a zippy zoot \u00e0 pois")
    assert [row.tolist() for row in search.setups["all"].positive] == [[0, 1], [2]]
    assert search.database.paths == boxes.database.paths
    assert search.database.annotations.fingerprint() == boxes.database.annotations.fingerprint()
    assert (len(search.queries.paths), search.own.tolist()) == (0, [-1, -1])
    assert search.boxes[1][2].tolist() == boxes.boxes[1][2].tolist()


def test_an_object_without_a_description_is_refused(described):
    file = described / "ilias_core/zippy_999/query/T999.txt"
    file.write_text(" \n")
    with pytest.raises(ConfigError, match=r"root=.*T999.txt.*it is empty"):
        mini_ilias(str(described), None, None, "texts")
    file.unlink()
    with pytest.raises(ConfigError, match=r"root=.*zippy_999/query.*no description T\*.txt.*queries=images"):
        mini_ilias(str(described), None, None, "texts")
    with pytest.raises(ConfigError, match=r"queries='words'.*one of: images, texts"):
        mini_ilias(str(described), None, None, "words")
