import pickle

import numpy as np
import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection
from seekloop.images.revisited import revisited

QUERIES = [
    {"bbx": [5.0, 0.0, 15.0, 5.0], "easy": [0], "hard": [2, 3], "junk": [1]},
    {"bbx": np.array([0.0, 0.0, 20.0, 10.0]), "easy": np.array([], dtype=int), "hard": [4], "junk": [0]},
]


@pytest.fixture
def oxford(tmp_path, save_image):
    """Five images and two queries of 20 x 10 pixels."""
    images, queries = [f"hall_{i:06d}" for i in range(5)], ["all_souls_000013", "oriel_000001"]
    for name in images + queries:
        save_image(tmp_path / "roxford5k" / "jpg" / f"{name}.jpg")

    def write(**changes):
        content = {"imlist": images, "qimlist": queries, "gnd": QUERIES, **changes}
        (tmp_path / "roxford5k" / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(content))
        return tmp_path / "roxford5k"

    write()
    return write


def lists(relevance):
    return [[row.tolist() for row in rows] for rows in (relevance.positive, relevance.junk)]


def test_settings_boxes_and_names_by_hand(oxford):
    """Of the first query image 0 is easy, 2 and 3 are hard, 1 is junk: what a setting does not ask for is junk, too."""
    search = revisited("roxford5k", str(oxford()), None)
    assert isinstance(search.database, Collection)
    assert search.database.paths[2] == "jpg/hall_000002.jpg"
    assert search.queries.paths[0] == "jpg/all_souls_000013.jpg"
    assert search.names == ("all_souls", "oriel")
    assert lists(search.setups["easy"]) == [[[0], []], [[1, 2, 3], [0, 4]]]
    assert lists(search.setups["medium"]) == [[[0, 2, 3], [4]], [[1], [0]]]
    assert lists(search.setups["hard"]) == [[[2, 3], [4]], [[1, 0], [0]]]
    assert search.query_boxes(0).tolist() == [[0.25, 0.0, 0.75, 0.5]]
    assert search.query_boxes(1).tolist() == [[0.0, 0.0, 1.0, 1.0]]
    assert search.own.tolist() == [-1, -1]
    assert search.boxes == ({}, {})
    assert search.queries.read(1).size == (20, 10)


def test_the_folder_above_serves_too_and_so_do_queries_in_the_database(oxford):
    root = oxford(imlist=["hall_000000", "oriel_000001", "hall_000001", "hall_000002", "hall_000003"])
    assert revisited("roxford5k", str(root.parent), None).own.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gnd": QUERIES[:1]}, "2 queries and the truth about 1"),
        ({"gnd": [{**QUERIES[0], "junk": [5]}, QUERIES[1]]}, "positions exceed its 5 images"),
        (
            {"gnd": [{"bbx": [0.0, 0.0, 1.0, 1.0], "ok": [1], "junk": []}, QUERIES[1]]},
            "a query has no list of easy images",
        ),
        ({"gnd": [{**QUERIES[0], "bbx": []}, QUERIES[1]]}, "no bbx of four numbers"),
        ({"imlist": ["hall_000000", "gone"]}, "1 of 4 images are missing, the first is jpg/gone.jpg"),
    ],
)
def test_another_truth_is_refused(oxford, changes, message):
    with pytest.raises(ConfigError, match=f"root=.*{message}"):
        revisited("roxford5k", str(oxford(**changes)), None)


def test_what_is_missing_is_named(oxford, tmp_path):
    with pytest.raises(ConfigError, match=r"root=None .*gnd_rparis6k.pkl and jpg"):
        revisited("rparis6k", None, None)
    with pytest.raises(ConfigError, match="no such folder"):
        revisited("rparis6k", str(tmp_path / "nowhere"), None)
    with pytest.raises(ConfigError, match=r"roxford5k/gnd_rparis6k.pkl or .* is not there. It should be published"):
        revisited("rparis6k", str(oxford()), None)
    (oxford() / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(["no dictionary"]))
    with pytest.raises(ConfigError, match="it has no imlist, qimlist, gnd"):
        revisited("roxford5k", str(tmp_path / "roxford5k"), None)


def test_distractors_come_after_the_benchmark_and_show_nothing(oxford, tmp_path, save_image):
    root = oxford()
    for name in ("b", "a/c"):
        (tmp_path / "revisitop1m" / name).parent.mkdir(parents=True, exist_ok=True)
        save_image(tmp_path / "revisitop1m" / f"{name}.jpg")
    alone, search = (revisited("roxford5k", str(root), None, where) for where in (None, tmp_path / "revisitop1m"))
    assert sorted(search.database.paths[5:]) == ["../revisitop1m/a/c.jpg", "../revisitop1m/b.jpg"]
    assert lists(search.setups["hard"]) == lists(alone.setups["hard"])
    assert search.database.read(6).size == (20, 10)


@pytest.mark.parametrize(("there", "message"), [(False, "there is no such folder"), (True, "it holds no image")])
def test_missing_distractors_are_named(oxford, tmp_path, there, message):
    if there:
        (tmp_path / "far").mkdir()
    with pytest.raises(ConfigError, match=message):
        revisited("roxford5k", str(oxford()), None, tmp_path / "far")
