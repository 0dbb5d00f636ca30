import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.images.image_retrieval import holidays, landmarks
from seekloop.metrics.ranked import trapezoid_average_precision
from seekloop.metrics.ranks import ranks_of_positives


def average_precision(search, scores):
    """By the trapezoid, as the benchmarks' own programs compute it."""
    relevant, ignored = search.relevant("all"), search.ignored("all")
    return trapezoid_average_precision(ranks_of_positives(torch.tensor(scores), relevant, ignored)).tolist()


@pytest.fixture
def scenes(tmp_path, save_image):
    for name in ("100000", "100001", "100002", "100100", "100101"):
        save_image(tmp_path / "jpg" / f"{name}.jpg")
    return tmp_path


def test_holidays_by_hand(scenes):
    """Two scenes; a query finds itself first, which does not count: for the first one 4, 1, 3, 2 remain.

    1 is right and comes second, 2 is right and last: precisions 0 and 1/2 around the first, 1/3 and 1/2 around the
    other; (1/4 + 5/12) / 2 = 1/3. With the query in the ranking it would be more.
    """
    search = holidays(str(scenes))
    assert search.names == ("1000", "1001")
    assert search.queries.paths == ("jpg/100000.jpg", "jpg/100100.jpg")
    assert len(search.database.paths) == 5
    assert search.own.tolist() == [0, 3]
    assert [row.tolist() for row in search.setups["all"].positive] == [[1, 2], [4]]
    assert search.query_boxes(0).shape == (0, 4)  # the whole photograph
    scores = [[9.0, 3.0, 1.0, 2.0, 4.0], [0.0, 0.1, 0.2, 9.0, 1.0]]
    assert average_precision(search, scores) == pytest.approx([1 / 3, 1.0])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda jpg: (jpg / "100000.jpg").unlink(), "scene 1000 has 2 photographs, of which 0 end in 00"),
        (lambda jpg: (jpg / "100101.jpg").unlink(), "scene 1001 has 1 photographs, of which 1 end in 00"),
        (lambda jpg: (jpg / "100101.jpg").rename(jpg / "beach.jpg"), "jpg/beach.jpg is not named by six digits"),
        (lambda jpg: [path.unlink() for path in jpg.iterdir()], "there are no images"),
    ],
)
def test_other_photographs_are_refused(scenes, damage, message):
    damage(scenes / "jpg")
    with pytest.raises(ConfigError, match=f"root=.*{message}"):
        holidays(str(scenes))


TRUTH = {
    "all_souls_1_query": "oxc1_all_souls_000013 5.0 0.0 15.0 5.0\n",
    "all_souls_1_good": "all_souls_000013\n",
    "all_souls_1_ok": "oriel_000001\n",
    "all_souls_1_junk": "cornmarket_000004\n",
    "all_souls_2_query": "oxc1_oriel_000001 0 0 20 10\n",
    "all_souls_2_good": "",
    "all_souls_2_ok": "all_souls_000013\nbodleian_000007\n",
    "all_souls_2_junk": "",
}


@pytest.fixture
def oxford(tmp_path, save_image):
    """Four images of 20 x 10 pixels, in two folders as Paris's are, and two queries of one landmark."""
    for path in ("a/all_souls_000013", "a/bodleian_000007", "b/cornmarket_000004", "b/oriel_000001"):
        save_image(tmp_path / "images" / f"{path}.jpg")
    (tmp_path / "gt_files_170407").mkdir()
    for name, text in TRUTH.items():
        (tmp_path / "gt_files_170407" / f"{name}.txt").write_text(text)
    return tmp_path


def test_landmarks_by_hand(oxford):
    """For the first query 0 (itself, good) and 3 are right, 2 is junk. Ranked 2, 0, 1, 3: without junk 0, 1, 3.

    Precisions 1 and 1, then 1/2 and 2/3: (1 + 7/12) / 2. Without the query's own image it would be 1/4, with junk less.
    """
    search = landmarks("oxford5k", str(oxford))
    assert search.names == ("all_souls", "all_souls")
    assert search.queries.paths == ("images/a/all_souls_000013.jpg", "images/b/oriel_000001.jpg")
    assert search.query_boxes(0).tolist() == [[0.25, 0.0, 0.75, 0.5]]
    assert search.query_boxes(1).tolist() == [[0.0, 0.0, 1.0, 1.0]]
    assert search.own.tolist() == [-1, -1]
    assert [row.tolist() for row in search.setups["all"].positive] == [[0, 3], [0, 1]]
    assert [row.tolist() for row in search.setups["all"].junk] == [[2], []]
    scores = [[3.0, 2.0, 4.0, 1.0], [2.0, 1.0, 0.0, 3.0]]
    first, second = average_precision(search, scores)
    assert first == pytest.approx((1 + 7 / 12) / 2)
    assert second == pytest.approx(((0 + 1 / 2) / 2 + (1 / 2 + 2 / 3) / 2) / 2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("all_souls_1_good", "gone_000001\n", "it names gone_000001, and there is no such image"),
        ("all_souls_1_query", "oxc1_all_souls_000013 5.0 0.0\n", "a line has '5.0 0.0' where four numbers"),
        ("all_souls_1_query", "", "it has 0 lines, and not one"),
        ("../other/all_souls_1_query", "oxc1_all_souls_000013 5 0 15 5\n", "are in 2 folders"),
        ("all_souls_1_junk", None, "it cannot be read"),
    ],
)
def test_another_truth_is_refused(oxford, name, text, message):
    file = oxford / "gt_files_170407" / f"{name}.txt"
    (oxford / "other").mkdir()
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s)root=.*{message}"):
        landmarks("oxford5k", str(oxford))


def test_a_folder_without_ground_truth_is_refused(scenes):
    with pytest.raises(ConfigError, match="are in 0 folders"):
        landmarks("paris6k", str(scenes))
