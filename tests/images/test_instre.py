import numpy as np
import pytest
from scipy import io

from seekloop.contracts.errors import ConfigError
from seekloop.images.instre import instre

IMAGES = {
    "INSTRE-S1/01a_book/001": "0 0 10 10\n",
    "INSTRE-S1/01a_book/002": "10 0 10 10\n",
    "INSTRE-S1/01b_cup/001": "0 0 4 10\n",
    "INSTRE-S2/01_tower/001": "0 0 20 5\n",
    "INSTRE-S2/01_tower/002": "0 5 20 5\n",
    "INSTRE-M/01/001": "0 0 10 10\n10 0 10 10\n",
    "INSTRE-M/01/002": "10 0 10 5\n0 0 10 5\n",
}
DATABASE = ["INSTRE-S1/01a_book/002", "INSTRE-S1/01b_cup/001", "INSTRE-M/01/002", "INSTRE-S2/01_tower/002"]
QUERIES = ["INSTRE-S1/01a_book/001", "INSTRE-M/01/001"]
A, B = "INSTRE-S1/01a_book", "INSTRE-S1/01b_cup"


def cells(items):
    """A row of cells, as MATLAB saves lists."""
    table = np.empty((1, len(items)), dtype=object)
    for place, item in enumerate(items):
        table[0, place] = item
    return table


def save_truth(root, positives, database=DATABASE, queries=QUERIES):
    """As the published file: paths, and per query the positions from 1 and a box."""
    gnd = np.zeros((1, len(positives)), dtype=[("ok", object), ("bbx", object)])
    for query, right in enumerate(positives):
        gnd[0, query] = (np.array([right], dtype=np.uint16), np.array([[1.0, 2.0, 3.0, 4.0]]))
    lists = {"imlist": database, "qimlist": queries}
    content = {key: cells([f"{path}.jpg" for path in paths]) for key, paths in lists.items()}
    io.savemat(root / "gnd_instre.mat", {**content, "gnd": gnd})


@pytest.fixture
def root(tmp_path, save_image):
    """Seven images of 20 x 10 pixels, and the truth: of the book images 1 and 3 of the database, of both things 3."""
    for path, boxes in IMAGES.items():
        save_image(tmp_path / f"{path}.jpg")
        (tmp_path / f"{path}.txt").write_text(boxes)
    save_truth(tmp_path, [[1, 3], [3]])
    return tmp_path


def test_published_queries_by_hand(root):
    """The second query shows two objects, and is the box around them. On the image of M the book is the first box, the
    right half; what the second query is to find there is the box around both, the upper half."""
    search = instre(str(root), "gnd_instre.mat", 5, 0, None)
    assert search.names == (A, f"{A} + {B}")
    assert search.query_boxes(0).tolist() == [[0, 0, 0.5, 1]]
    assert search.query_boxes(1).tolist() == [[0, 0, 1, 1]]
    assert [row.tolist() for row in search.setups["all"].positive] == [[0, 2], [2]]
    assert [row.tolist() for row in search.setups["all"].junk] == [[], []]
    assert search.own.tolist() == [-1, -1]
    assert {image: boxes.tolist() for image, boxes in search.boxes[0].items()} == {
        0: [[0.5, 0, 1, 1]],
        2: [[0.5, 0, 1, 0.5]],
    }
    assert {image: boxes.tolist() for image, boxes in search.boxes[1].items()} == {2: [[0, 0, 1, 0.5]]}
    assert search.database.paths == tuple(f"{path}.jpg" for path in DATABASE)
    assert search.queries.paths == tuple(f"{path}.jpg" for path in QUERIES)


def test_the_queries_of_several_objects_alone(root):
    search = instre(str(root), "gnd_instre.mat", multiple=True)
    assert search.names == (f"{A} + {B}",)
    assert search.queries.paths == ("INSTRE-M/01/001.jpg",)
    assert search.database.paths == tuple(f"{path}.jpg" for path in DATABASE)
    assert [row.tolist() for row in search.setups["all"].positive] == [[2]]
    assert search.boxes[0][2].tolist() == [[0, 0, 1, 0.5]]
    with pytest.raises(ConfigError, match="multiple=True"):
        instre(str(root), None, multiple=True)


def test_drawn_queries_by_hand(root):
    """Without the published ones every image is searched. Books: S1's two and M's two; cups: S1's one and M's two."""
    search = instre(str(root), None, 9, 0, None)
    assert len(search.database.paths) == 7
    counts = {name: search.names.count(name) for name in search.names}
    assert counts == {A: 4, B: 3, "INSTRE-S2/01_tower": 2}
    cup = search.names.index(B)
    right = {search.database.paths[image] for image in search.setups["all"].positive[cup].tolist()}
    own = search.database.paths[search.own[cup]]
    expected = {"INSTRE-S1/01b_cup/001.jpg", "INSTRE-M/01/001.jpg", "INSTRE-M/01/002.jpg"}
    assert right == expected - {own}


def test_an_image_without_its_text_file_has_no_boxes(root):
    (root / "INSTRE-M" / "01" / "002.txt").unlink()
    search = instre(str(root), "gnd_instre.mat", 5, 0, None)
    assert set(search.boxes[0]) == {0}
    assert search.boxes[1] == {}


@pytest.mark.parametrize(
    ("damage", "key", "message"),
    [
        (lambda root: (root / "gnd_instre.mat").unlink(), "root", "gnd_instre.mat .*is not there"),
        (lambda root: (root / "gnd_instre.mat").write_bytes(b"no"), "ground_truth", "not of the form expected"),
        (lambda root: save_truth(root, [[1], [5]]), "ground_truth", "up to position 5 of 4"),
        (lambda root: save_truth(root, [[1]]), "ground_truth", "1 answers to 2 queries"),
        (lambda root: save_truth(root, [[1], [0]]), "ground_truth", "2 answers to 2 queries"),
        (
            lambda root: (root / "INSTRE-S1/01b_cup/001.jpg").unlink(),
            "root",
            "1 of 6 images are missing, the first is I",
        ),
        (lambda root: (root / "INSTRE-M/01/002.txt").write_text("0 0 1 1"), "root", "1 boxes, and its image shows 2"),
        (
            lambda root: (root / "INSTRE-M/01/002.txt").write_text("0 0 1\n0 0 1 1"),
            "root",
            "'0 0 1' where four numbers",
        ),
        (
            lambda root: (root / "INSTRE-S1/01b_cup").rename(root / "INSTRE-S1/02_cup"),
            "root",
            "one 01b... for INSTRE-M/01",
        ),
        (lambda root: (root / "INSTRE-S2").rename(root / "S2"), "root", "INSTRE-S2 is not there"),
    ],
)
def test_other_files_are_refused(root, damage, key, message):
    damage(root)
    with pytest.raises(ConfigError, match=rf"(?s){key}=.*{message}"):
        instre(str(root), "gnd_instre.mat", 5, 0, None)
