"""Relevance feedback on pictures that are vectors in a plane."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seekloop.classifiers.nearest import NearestNeighbour
from seekloop.classifiers.nearest_filter import NearestFilter
from seekloop.classifiers.rocchio import Rocchio
from seekloop.classifiers.svm_anchored import SvmAnchored
from seekloop.contracts.errors import StoreError
from seekloop.contracts.records import ArrayBlock, Regions
from seekloop.matching.feedback import JudgedImages, open_feedback, refined, reranked


class Plane:
    """Images as vectors of unit length."""

    def __init__(self, vectors):
        self.vectors = F.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=1)
        self.images, self.dim = self.vectors.shape
        self.regions = Regions(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), None)
        self.readable = torch.ones(self.images, dtype=torch.bool)

    def read(self, images, local):
        assert not local
        return ArrayBlock(images, self.vectors[images], None, None)


def at(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return Plane(torch.stack([angles.cos(), angles.sin()], dim=1))


def judged(plane, ranking, relevant, queries=1):
    paths = [str(image) for image in range(plane.images)]
    names = [(f"q{query}", "dog") for query in range(queries)]
    return JudgedImages.of_ranking(names, ranking, relevant, "here", "space", paths, plane)


QUERY = torch.tensor([[1.0, 0.0]])
PLANE = at(0, 10, -12, 20, -25, 40, -45)
SCORES = QUERY @ PLANE.vectors.T
"""The first ranking is 0, 1, 2, ... by angle."""


def test_the_filter_is_a_stable_partition_by_hand():
    """Images at 0 and 10 degrees are disliked, the one at -12 is liked: what turns right comes first, in its old order.

    0: disliked, itself. 10: itself. -12: liked, itself. 20, 40: nearest to 10. -25, -45: nearest to -12. Ranked by the
    score of the nearest rows in place of the first ranking, -45 would come before -12.
    """
    answers = judged(PLANE, torch.tensor([[0, 1, 2]]), torch.arange(7)[None] == 2)
    assert answers.counts() == (torch.tensor([1]), torch.tensor([2]))
    order = refined(NearestFilter(), answers, QUERY, SCORES, PLANE)
    assert order.tolist() == [[2, 4, 6, 0, 1, 3, 5]]
    assert refined(NearestNeighbour(), answers, QUERY, SCORES, PLANE)[0].tolist()[:3] != [2, 4, 6]


@pytest.mark.parametrize("classifier", [NearestFilter(), NearestNeighbour(), Rocchio(), SvmAnchored()])
@pytest.mark.parametrize("relevant", [True, False])
def test_answers_of_one_kind_change_nothing(classifier, relevant):
    """All predicted alike: liked without dislikes, disliked without likes. A query beside it may have both."""
    both = torch.stack([torch.full((7,), relevant), torch.arange(7) == 1])
    answers = judged(PLANE, torch.tensor([[0, 1, 2], [0, 1, 2]]), both, queries=2)
    twice = SCORES.repeat(2, 1)
    order = refined(classifier, answers, QUERY.repeat(2, 1), twice, PLANE)
    assert order[0].tolist() == list(range(7))
    assert order[1].tolist() != list(range(7))
    alone = refined(classifier, answers.select(torch.tensor([1])), QUERY, SCORES, PLANE)
    assert alone.tolist() == order[1:].tolist()


def test_the_query_is_feedback_only_where_it_is_asked_for():
    """Only the image at 10 degrees is judged, and disliked. With the query, liked, 6 falls behind -30: 4 from 10."""
    plane = at(10, 6, -30, 2)
    scores = QUERY @ plane.vectors.T
    answers = judged(plane, torch.tensor([[0]]), torch.zeros(1, 4, dtype=torch.bool))
    assert refined(NearestFilter(), answers, QUERY, scores, plane).tolist() == [[3, 1, 0, 2]]
    assert refined(NearestFilter(), answers, QUERY, scores, plane, images=QUERY).tolist() == [[3, 2, 1, 0]]


def test_feedback_of_one_collection_filters_another(tmp_path):
    """Saved, read again, and used on images that nobody has judged: those near the liked one come first."""
    answers = judged(PLANE, torch.tensor([[0, 1, 2]]), torch.arange(7)[None] == 2)
    answers.keep(tmp_path, "runs_dir")
    known = open_feedback(tmp_path)
    assert (known.queries, known.paths) == ((("q0", "dog"),), ("0", "1", "2"))
    other = at(5, -20, 30, -60)
    order = refined(NearestFilter(), known, QUERY, QUERY @ other.vectors.T, other)
    assert order.tolist() == [[1, 3, 0, 2]]
    assert order.tolist() == refined(NearestFilter(), answers, QUERY, QUERY @ other.vectors.T, other).tolist()


def test_what_is_no_feedback_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"there is no .*feedback\.pt"):
        open_feedback(tmp_path)
    (tmp_path / "feedback.pt").write_bytes(b"something else")
    with pytest.raises(StoreError, match="damaged"):
        open_feedback(tmp_path)


def test_rankings_shorter_than_the_number_judged():
    """Query 0 has three images to judge, query 1 one: only real answers count, and only its own."""
    ranking = torch.tensor([[0, 1, 2], [3, -1, -1]])
    answers = judged(PLANE, ranking, torch.tensor([[0, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0]]).bool(), queries=2)
    assert [one.tolist() for one in answers.counts()] == [[1, 1], [2, 0]]
    assert answers.among([str(image) for image in range(7)]).int().tolist() == [
        [1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 1] + [0] * 3,
    ]
    assert [one.tolist() for one in answers.first(1).counts()] == [[0, 1], [1, 0]]
    rows = answers.rows(QUERY.repeat(2, 1), None)
    assert rows.labels.tolist() == [[-1, 1, -1], [1, 0, 0]]
    assert rows.mask.tolist() == [[True, True, True], [True, False, False]]


def test_rocchio_moves_the_vector_that_it_is_given_by_hand():
    """Liked at 30, disliked at 0 degrees: from the query at 0, w = (1.50, 0.38); from words at -80, (0.67, -0.61)."""
    plane = at(0, 30, -90, 90)
    answers = judged(plane, torch.tensor([[0, 1]]), torch.tensor([[False, True, False, False]]))
    scores, words = QUERY @ plane.vectors.T, at(-80).vectors
    assert refined(Rocchio(), answers, QUERY, scores, plane).tolist() == [[0, 1, 3, 2]]
    assert refined(Rocchio(), answers, words, scores, plane).tolist() == [[0, 2, 1, 3]]


def test_the_anchored_machine_is_anchored_at_once():
    """Its second fit is the one that ranks: the first, which is plain, only says how long the anchor is."""
    rng = torch.Generator().manual_seed(3)
    plane, relevant = Plane(torch.randn(200, 8, generator=rng)), torch.rand(1, 200, generator=rng) < 0.5
    query = Plane(torch.randn(1, 8, generator=rng)).vectors
    scores = query @ plane.vectors.T
    answers = judged(plane, scores.argsort(dim=1, descending=True)[:, :6], relevant)
    order = refined(SvmAnchored(), answers, query, scores, plane)
    rows = answers.rows(query, None)
    plain = SvmAnchored().fit(rows, None)
    assert order.equal(SvmAnchored().fit(rows, plain).scores(plane.vectors).argsort(descending=True, stable=True))
    assert not order.equal(plain.scores(plane.vectors).argsort(descending=True, stable=True))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), most=st.integers(2, 12))
def test_laws_of_feedback(seed, most):
    """The order of judging changes nothing; each group keeps its order; copies of liked images are kept."""
    rng = torch.Generator().manual_seed(seed)
    vectors = torch.randn(30, 6, generator=rng)
    plane = Plane(torch.cat([vectors, vectors]))
    relevant = torch.rand(2, 60, generator=rng) < 0.5
    queries = F.normalize(torch.randn(2, 6, generator=rng), dim=1)
    scores = torch.rand(2, 60, generator=rng)  # whatever the first ranking is by
    first = scores.argsort(dim=1, descending=True, stable=True)
    answers = judged(plane, first[:, :most], relevant, queries=2)
    order = refined(NearestFilter(), answers, queries, scores, plane)
    shuffled = torch.randperm(most, generator=rng)
    other = replace(answers, index=answers.index[:, shuffled], liked=answers.liked[:, shuffled])
    assert refined(NearestFilter(), other, queries, scores, plane).equal(order)
    for query in range(2):
        place = {image: rank for rank, image in enumerate(first[query].tolist())}
        ranks = [place[image] for image in order[query].tolist()]
        assert sorted(ranks) == list(range(60))
        assert sum(later < sooner for sooner, later in pairwise(ranks)) <= 1
        liked, disliked = (one[query] for one in answers.counts())
        if liked and disliked:
            kept = {first[query, rank].item() for rank in range(most) if relevant[query, first[query, rank]]}
            copies = {(image + 30) % 60 for image in kept}
            worst = max(order[query].tolist().index(image) for image in kept | copies)
            falls = next((i for i, (a, b) in enumerate(pairwise(ranks)) if b < a), 59)
            assert worst <= falls


def test_equal_keys_keep_the_first_order():
    assert reranked(torch.tensor([[3, 1, 2, 0]]), torch.tensor([[1.0, 0.0, 2.0, 1.0]])).tolist() == [[2, 3, 0, 1]]
