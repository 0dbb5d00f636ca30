"""Recall before and after feedback, of rankings that are known."""

import pytest
import torch

from seekloop.classifiers.diffusion import Diffusion
from seekloop.classifiers.nearest_filter import NearestFilter
from seekloop.classifiers.rocchio import Rocchio
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.images.instance_files import without_junk
from seekloop.matching.instance_search import GLOBAL, Found
from seekloop.protocol.feedback import FeedbackMeasures, FeedbackProtocol, said
from tests.images.test_feedback_tasks import Pictures
from tests.matching.test_feedback import PLANE, QUERY, SCORES, judged

LEFT = torch.tensor([2, 4, 6])
"""Images at -12, -25 and -45 degrees are wanted; the first ranking is 0, 1, 2, ... and image 0 is the query's own."""


def measures(sizes, wanted=LEFT, same=True, known=None, **options):
    pictures = Pictures(*[{"dog"}] * 7)
    search = InstanceSearch(
        pictures, pictures, ("dog",), torch.tensor([0]), without_junk([wanted]), ({},), shows_wanted=True
    )
    found = Found(SCORES, torch.full((1, 7), GLOBAL, dtype=torch.int32))
    ranking = found.ranking(search.ignored("all"), max(sizes))
    answers = known or judged(PLANE, ranking, search.relevant("all"))
    if same:
        names = {str(image): path for image, path in enumerate(pictures.paths)}
        answers = type(answers)(**{**vars(answers), "paths": tuple(names.get(path, path) for path in answers.paths)})
    protocol = FeedbackProtocol(sizes=sizes, **options)
    return FeedbackMeasures(protocol, search, torch.tensor([0]), found, QUERY, QUERY, answers, same, PLANE)


def row(results, size, way):
    ((_, found),) = results[(results["size"] == size) & (results["judged"] == way)].iterrows()
    return [found[name] for name in ("first_1", "recall_1", "first_5", "recall_5")]


def test_recall_by_hand():
    """Two are judged: 10 degrees disliked, -12 liked. Then -12, -25, -45 come before 10, 20, 40.

    Judged images kept: the first is at 10 degrees before, at -12 after, which was judged. Left out: 20 before, -25
    after. One judged, disliked: nothing changes.
    """
    measured = measures((1, 2))
    results = measured.results()
    assert row(results, 2, "kept") == [0, 1, 1, 1]
    assert row(results, 2, "left_out") == [0, 1, 1, 1]
    assert row(results, 1, "kept") == [0, 0, 1, 1]
    assert row(results, 1, "left_out") == [1, 1, 1, 1]
    assert results[["size", "likes", "dislikes"]].drop_duplicates().values.tolist() == [[1, 0, 1], [2, 1, 1]]
    summary = measured.summary(results)
    assert (summary["recall_1"], summary["first_1"]) == (1, 0)
    assert (summary["recall_1_1"], summary["first_1_1"]) == (1, 1)
    assert (summary["kept_recall_1_1"], summary["kept_first_1_1"]) == (0, 0)
    assert (summary["unchanged"], summary["nothing_left"], summary["queries"]) == (0, 0, 1)
    assert measured.feedback().values.tolist() == [[0, 1, "pictures/1", False], [0, 2, "pictures/2", True]]


def test_a_query_with_nothing_left_to_find_is_not_counted():
    """Only -12 is wanted, and it is judged: without the judged images there is nothing to find, with them there is."""
    measured = measures((2,), wanted=torch.tensor([2]))
    results = measured.results()
    assert row(results, 2, "kept") == [0, 1, 1, 1]
    assert results[results["judged"] == "left_out"][["first_1", "recall_1"]].isna().all(axis=None)
    summary = measured.summary(results)
    assert (summary["nothing_left"], summary["recall_1"]) == (1, None)


def test_feedback_of_one_kind_is_counted_unless_the_query_is_liked():
    """10 degrees is disliked; the query itself, at 0, turns that into feedback of both kinds."""
    for with_query, unchanged in ((False, 1), (True, 0)):
        measured = measures((1,), with_query=with_query)
        assert measured.summary(measured.results())["unchanged"] == unchanged
    assert said({"unchanged": 1, "queries": 3}, 5).startswith("1 of 3 queries have no likes or no dislikes among 5")


def test_feedback_of_another_collection_is_about_images_elsewhere():
    answers = judged(PLANE, torch.tensor([[1, 2]]), torch.arange(7)[None] == 2)
    measured = measures((2,), same=False, known=answers)
    assert row(measured.results(), 2, "elsewhere") == [0, 1, 1, 1]
    assert set(measured.results()["judged"]) == {"elsewhere"}


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="NearestFilter has no anchor"):
        FeedbackProtocol(anchor="text")
    FeedbackProtocol(Rocchio(), anchor="text")
    with pytest.raises(ConfigError, match="classifier='Diffusion' cannot work: it learns from the images of one"):
        FeedbackProtocol(Diffusion())
    with pytest.raises(ConfigError, match="nothing would be judged"):
        FeedbackProtocol(NearestFilter(), sizes=())
    search = measures((1,)).instances
    changed = InstanceSearch(**{**vars(search), "shows_wanted": False})
    FeedbackProtocol(with_query=True).check(search)
    with pytest.raises(ConfigError, match="with_query=True cannot work: a query's image shows the property that is"):
        FeedbackProtocol(with_query=True).check(changed)
