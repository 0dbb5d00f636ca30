"""Lockstep against the loop by the book: same picks in float64, same areas in float32."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.classifiers.svm_sklearn import SvmSklearn
from seekloop.classifiers.svm_torch import SvmTorch
from seekloop.contracts.records import Text
from seekloop.criteria.scores import Uncertainty
from seekloop.loop.placement import Engine, Placed
from seekloop.loop.prior import Prior
from seekloop.loop.row_table import RowTable
from seekloop.metrics.average_precision import average_precision
from seekloop.metrics.curves import area_under_curve
from seekloop.protocol.queries import Words, draw_queries
from seekloop.representations.fusion import Concat, NoFusion, Pool
from seekloop.representations.local import All, GlobalOnly
from seekloop.representations.representation import Representation
from tests.loop.by_the_book import Images, areas, search, search_by_words
from tests.loop.parts import loop, perfect_user
from tests.worlds import ArrayDescriptors, blobs

ROUNDS, BUDGET = 6, 4
KINDS = {
    "global": Representation(GlobalOnly(), NoFusion()),
    "none": Representation(All(), NoFusion()),
    "concat": Representation(All(), Concat(keep_pos_negatives=False, renorm=False)),
    "pool": Representation(All(), Pool()),
}
EXACT = {
    "numba": SvmNumba(1.0, "none", 1e-11, 1_000_000, 2),
    "torch": SvmTorch(1.0, "none", 1e-12, 1000, "cpu", "float64"),
}


def world(ragged, dtype=torch.float64):
    """Hard enough that rankings are not perfect, so that picks matter."""
    return blobs(90, 12, classes=("star", "moon", "sun"), ragged=ragged, noise=0.55, seed=3, dtype=dtype)


def queries_of(place):
    known = place.annotations, place.descriptors.readable
    return draw_queries(*known, queries=4, negatives=3, classes=None, seed=1)[0]


def with_words(place, box):
    """The same searches, begun by vague words: the vector of a class lies 45 degrees from its images'."""
    drift = torch.randn(3, 12, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    vectors = torch.eye(12, dtype=torch.float64)[:3] + torch.nn.functional.normalize(drift, dim=1)
    texts = zip(place.annotations.classes, vectors, strict=True)
    return Words({name: Text(name, 2 * vector) for name, vector in texts}, box).begin(queries_of(place)[::2])


def by_the_book(place, kind, begun=None, **words):
    """Scores (q, t, n), questions (q, t, b) and areas (q)."""
    images, played, found = Images(place.descriptors, kind), [], []
    for query in begun or queries_of(place):
        label = place.annotations.classes.index(query.class_name)
        boxes = [place.annotations.largest_box(i, label) for i in range(place.descriptors.images)]
        boxes = [None if box is None else box.double().numpy() for box in boxes]
        play = search_by_words if begun else search
        played.append(play(images, query, boxes, ROUNDS, BUDGET, **words))
        found.append(areas(played[-1][0], boxes))
    return np.stack([p[0] for p in played]), np.stack([p[1] for p in played]), np.array(found)


def lockstep(place, kind, classifier, begun=None, prior=None, **engine):
    """The same by the loop, all searches together."""
    searches = begun or queries_of(place)
    machine = loop(place.descriptors, KINDS[kind], Uncertainty(), classifier, prior=prior, **engine)
    state = machine.start(searches, [0.0] * len(searches))
    user = perfect_user(place.annotations)
    rounds = [done for done, _ in machine.rounds(state, user, rounds=ROUNDS, budget=BUDGET)]
    relevant = place.relevant[[place.annotations.classes.index(query.class_name) for query in searches]]
    precision = torch.stack([average_precision(done.scores, relevant, None) for done in rounds], dim=1)
    scores = torch.stack([done.scores for done in rounds], dim=1).double().numpy()
    asked = torch.stack([done.asked for done in rounds[1:]], dim=1).numpy()
    return scores, asked, area_under_curve(precision).numpy()


@pytest.mark.parametrize("ragged", [False, True], ids=["fixed", "ragged"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", EXACT)
def test_in_float64_lockstep_makes_the_same_picks(kind, ragged, solver):
    place = world(ragged)
    scores, asked, found = by_the_book(place, kind)
    mine, picks, area = lockstep(place, kind, EXACT[solver], precision="float64")
    np.testing.assert_array_equal(picks, asked)
    np.testing.assert_allclose(mine, scores, atol=1e-6)
    np.testing.assert_allclose(area, found, atol=1e-12)
    assert 0.4 < found.mean() < 0.98  # neither hopeless nor trivial


def test_the_reference_mode_is_the_loop_by_the_book():
    place = world(ragged=False)
    _, asked, found = by_the_book(place, "none")
    reference = {"precision": "float64", "together": False}
    _, picks, area = lockstep(place, "none", SvmSklearn(1.0, "none", 1e-10, 10_000_000), **reference)
    np.testing.assert_array_equal(picks, asked)
    np.testing.assert_allclose(area, found, atol=1e-12)


@pytest.mark.parametrize("box", [False, True], ids=["words", "words and box"])
@pytest.mark.parametrize("kind", KINDS)
def test_searches_that_begin_with_words_are_those_by_the_book(kind, box):
    """A trust of 2 lets the words' share fall to less than a half within the rounds."""
    place = world(ragged=False)
    begun = with_words(place, box)
    scores, asked, found = by_the_book(place, kind, begun, trust=2.0, deviations=1.0)
    prior, reference = Prior(trust=2.0, deviations=1.0), SvmSklearn(1.0, "none", 1e-10, 10_000_000)
    for classifier, together in [(EXACT["numba"], True), (EXACT["torch"], True), (reference, False)]:
        engine = {"precision": "float64", "together": together}
        mine, picks, area = lockstep(place, kind, classifier, begun, prior, **engine)
        np.testing.assert_array_equal(picks, asked)
        np.testing.assert_allclose(mine, scores, atol=1e-6)
        np.testing.assert_allclose(area, found, atol=1e-12)
    assert (scores[:, 0] != scores[:, 3]).any()
    assert 0.4 < found.mean() < 0.98


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("ragged", [False, True], ids=["fixed", "ragged"])
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_too(kind, ragged):
    place = world(ragged)
    _, asked, found = by_the_book(place, kind)
    solver = SvmTorch(1.0, "none", 1e-12, 1000, "cuda", "float64")
    _, picks, area = lockstep(place, kind, solver, device="cuda", precision="float64")
    np.testing.assert_array_equal(picks, asked)
    np.testing.assert_allclose(area, found, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_in_float32_areas_agree_and_picks_differ_only_where_scores_are_equal_to_rounding(kind):
    place = world(ragged=False, dtype=torch.float32)
    scores, asked, found = by_the_book(place, kind)
    _, picks, area = lockstep(place, kind, SvmNumba(1.0, "none", 1e-8, 1_000_000, 2))
    assert abs(area.mean() - found.mean()) < 1e-3
    for q, (mine, theirs) in enumerate(zip(picks, asked, strict=True)):
        differ = (mine != theirs).any(axis=1).nonzero()[0]
        if len(differ):  # from the first difference on the searches are not the same any more
            t = differ[0]
            resolved = 1e-5 * np.abs(scores[q, t]).max()
            np.testing.assert_allclose(np.abs(scores[q, t, mine[t]]), np.abs(scores[q, t, theirs[t]]), atol=resolved)


def test_at_the_default_tolerance_areas_agree():
    place = world(ragged=False, dtype=torch.float32)
    found = by_the_book(place, "none")[2]
    area = lockstep(place, "none", SvmNumba(1.0, "none", 1e-4, 10_000, 2))[2]
    assert abs(area.mean() - found.mean()) < 1e-3


@pytest.mark.parametrize("ragged", [False, True], ids=["fixed", "ragged"])
@pytest.mark.parametrize("local", [False, True])
def test_what_is_held_is_what_would_be_read(ragged, local):
    descriptors = world(ragged, torch.float32).descriptors
    engine = Engine(1.0, "cpu", "float64", True)
    held, streamed = (Placed(descriptors, engine, local=local, memory=memory) for memory in (2**30, 1))
    held.hold()
    streamed.hold()
    for images in (torch.arange(90), torch.arange(7, 30), torch.tensor([4, 88, 0, 4]), torch.arange(0)):
        ours, theirs = held.read(images, local), streamed.read(images, local)
        assert ours.global_.dtype == torch.float64
        assert ours.global_.equal(theirs.global_)
        assert ours.image.equal(theirs.image)
        if local:
            assert ours.local.equal(theirs.local)
            assert ours.offsets.equal(theirs.offsets)


def test_a_pass_over_the_store_takes_no_more_than_its_share_of_memory():
    """An image: 1 + 4 descriptors of 12 numbers and 8 scores each, 4 bytes a number: 400. An eighth of 8000 holds 2."""
    descriptors = world(False, torch.float32).descriptors
    placed = Placed(descriptors, Engine(1.0, "cpu", "float32", True), local=True, memory=8000)
    sizes = [len(images) for images in placed.blocks(8)]
    assert sum(sizes) == 90
    assert max(sizes) == 2


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.lists(st.lists(st.integers(0, 89), min_size=1, max_size=8), min_size=1, max_size=6))
def test_the_table_of_rows_gives_what_is_asked_for_and_keeps_to_its_limit(limit, asked):
    descriptors = world(False, torch.float32).descriptors
    table = RowTable(descriptors, KINDS["none"], limit)
    for images in asked:
        image = torch.tensor(images).repeat_interleave(2)
        region = torch.tensor([0, 3] * len(images))
        place = table.index(image, region)
        assert table.vectors[place].equal(descriptors.local[image * 4 + region])
        assert len(table.vectors) <= max(limit, 2 * len(set(images)))


def test_rows_asked_for_again_are_not_read_again():
    class Counting(ArrayDescriptors):
        reads = 0

        def read(self, images, local):
            Counting.reads += len(images)
            return super().read(images, local)

    known = world(False, torch.float32).descriptors
    table = RowTable(Counting(known.global_, known.local, known.regions), KINDS["none"], 100)
    for images in ([3, 5], [5, 3, 5], [5, 8]):
        table.index(torch.tensor(images), torch.zeros(len(images), dtype=torch.long))
    assert Counting.reads == 3


@pytest.mark.parametrize("elsewhere", [True, False])
def test_descriptors_go_to_another_device_once_also_for_a_single_search(elsewhere, monkeypatch):
    """Two passes over 90 images: 90 are read where the first pass leaves them there, 180 where each reads anew."""
    place = world(False, torch.float32)
    monkeypatch.setattr(Placed, "elsewhere", property(lambda self: elsewhere))
    found = loop(place.descriptors, KINDS["none"], Uncertainty(), SvmNumba(1.0, "none", 1e-4, 10_000, 2))
    state = found.fit(found.start(queries_of(place)[:1], [0.0]))
    read, asked = type(place.descriptors).read, []
    monkeypatch.setattr(
        type(place.descriptors),
        "read",
        lambda self, images, local: (asked.append(images), read(self, images, local))[1],
    )
    assert found.score(state).equal(found.score(state))
    assert sum(len(images) for images in asked) == (90 if elsewhere else 180)
