import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.images.instance_frames import instance_frames

FRAMES = ["carA/carA_01", "carA/carA_02", "carA/carA_03", "dogB/dogB_01", "dogB/dogB_02"]


@pytest.fixture
def root(tmp_path, save_image):
    """Three frames of a car, two of a dog, 20 x 10 pixels; no box for the car's second frame."""
    for path in FRAMES:
        save_image(tmp_path / "Images" / f"{path}.jpg")
    (tmp_path / "bbox").mkdir()
    (tmp_path / "bbox" / "carA.txt").write_text("carA_01 0 0 10 5\ncarA_03 10 5 10 5\n")
    (tmp_path / "bbox" / "dogB.txt").write_text("dogB_01 0 0 20 10\ndogB_02 0 0 5 10\n")
    return tmp_path


def test_first_frames_are_queries_by_hand(root):
    """They leave the database, so that its images are the car's second and third and the dog's second frame."""
    search = instance_frames("instance-160", str(root), None, None)
    assert search.names == ("carA", "dogB")
    assert search.queries.paths == ("Images/carA/carA_01.jpg", "Images/dogB/dogB_01.jpg")
    assert search.database.paths == tuple(f"Images/{FRAMES[i]}.jpg" for i in (1, 2, 4))
    assert search.query_boxes(0).tolist() == [[0, 0, 0.5, 0.5]]
    assert [row.tolist() for row in search.setups["all"].positive] == [[0, 1], [2]]
    assert [set(known) for known in search.boxes] == [{1}, {2}]
    assert search.boxes[0][1].tolist() == [[0.5, 0.5, 1, 1]]
    assert search.own.tolist() == [-1, -1]


def test_queries_from_a_file_by_hand(root):
    """Corners there, extents in the box files; two queries of one object, and the dog is none."""
    (root / "queries.txt").write_text("/somewhere/carA_02.jpg>0000 5 0 15 10\n\ncarA_03.jpg 10 5 20 10\n")
    search = instance_frames("instance-160", str(root), "queries.txt", None)
    assert search.names == ("carA", "carA")
    assert search.query_boxes(0).tolist() == [[0.25, 0, 0.75, 1]]
    assert search.query_boxes(1).tolist() == [[0.5, 0.5, 1, 1]]
    assert search.database.paths == tuple(f"Images/{FRAMES[i]}.jpg" for i in (0, 3, 4))
    assert [row.tolist() for row in search.setups["all"].positive] == [[0], [0]]


@pytest.mark.parametrize(
    ("damage", "queries", "message"),
    [
        (lambda root: (root / "Images").rename(root / "images_"), None, "root=.*Images is not there"),
        (lambda root: (root / "bbox").rename(root / "boxes"), None, "root=.*bbox or .*merge_bbox is not there"),
        (lambda root: (root / "bbox" / "dogB.txt").unlink(), None, "root=.*no box file has a line for dogB_01"),
        (lambda root: (root / "bbox" / "dogB.txt").write_text("dogB_01 0 0"), None, "root=.*'0 0' where four numbers"),
        (lambda root: None, "none.txt", "queries=.*there is no such file"),
        (lambda root: (root / "q.txt").write_text("\n"), "q.txt", "queries=.*it is empty"),
        (lambda root: (root / "q.txt").write_text("cat_01.jpg 0 0 1 1"), "q.txt", "queries=.*no frame cat_01.jpg"),
    ],
)
def test_other_files_are_refused(root, damage, queries, message):
    damage(root)
    with pytest.raises(ConfigError, match=message):
        instance_frames("instance-160", str(root), queries, None)
