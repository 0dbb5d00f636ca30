import itertools
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.records import Answer, Example, Feedback, Query, Regions
from seekloop.loop.engine import check_pool
from seekloop.loop.questions import Question, box_wanted
from seekloop.loop.state import State
from seekloop.protocol.queries import draw_queries
from seekloop.representations.fusion import Concat, NoFusion, Pool
from seekloop.representations.local import All, GlobalOnly, OneProto, OneRand
from seekloop.representations.representation import Representation
from tests.loop.parts import GO, MeanDifference, Nearest, loop, perfect_user
from tests.worlds import ArrayDescriptors, blobs

CONCAT, POOL = Concat(), Pool()
EVERY = [
    GO,
    *[Representation(local, NoFusion()) for local in (OneRand(), OneProto(renorm=False), All())],
    Representation(All(), CONCAT),
    Representation(OneRand(), POOL),
]


def queries_of(world, count=2, seed=0):
    drawn, _ = draw_queries(
        world.annotations, world.descriptors.readable, queries=count, negatives=3, classes=None, seed=seed
    )
    return drawn


def play(world, representation=GO, rounds=4, budget=3, user=None, queries=None, **settings_):
    engine = loop(world.descriptors, representation, **settings_)
    queries = queries or queries_of(world)
    state = engine.start(queries, [0.0] * len(queries))
    user = user or perfect_user(world.annotations)
    return [(done, after.pack()) for done, after in engine.rounds(state, user, rounds=rounds, budget=budget)]


def test_first_round_by_hand():
    """On a line through angles: query at 0 degrees, negative at 180; images at 60 and 80 degrees.

    w = (1, 0) - (-1, 0) = (2, 0), boundary half-way: scores 2 cos: 1 for 60 degrees, 0.35 for 80. The nearer to the
    boundary is asked first. Both seeds have left the pool.
    """
    angles = torch.deg2rad(torch.tensor([0.0, 180, 60, 80]))
    points = torch.stack([angles.cos(), angles.sin()], dim=1)
    world = ArrayDescriptors(points, points, Regions(torch.tensor([[0.0, 0, 1, 1]]), None))
    engine = loop(world)
    state = engine.update(engine.start((Query("x", 0, (Example(0),), (1,)),), [5.0]))
    torch.testing.assert_close(state.scores, 2 * points[None, :, 0])
    assert engine.propose(state, budget=2).image.tolist() == [[3, 2]]
    assert engine.propose(state, budget=9).image.tolist() == [[3, 2]]  # fewer left than asked for
    assert state.seconds.tolist() == [5.0]


@pytest.mark.parametrize("representation", EVERY, ids=lambda r: f"{type(r.local).__name__}-{type(r.fusion).__name__}")
@pytest.mark.parametrize("ragged", [False, True], ids=["fixed", "ragged"])
def test_every_representation_finds_everything_in_an_easy_world(representation, ragged):
    world = blobs(60, classes=("star", "moon"), ragged=ragged)
    final = play(world, representation)[-1][0]
    for query, scores in zip(queries_of(world), final.scores, strict=True):
        relevant = world.relevant[world.annotations.classes.index(query.class_name)]
        assert scores[relevant].min() > scores[~relevant].max()


def test_each_round_adds_its_budget_and_never_forgets():
    world = blobs(60, classes=("star", "moon"))
    previous = None
    for number, (done, packed) in enumerate(play(world)):
        known = {tuple(pair) for pair in packed["answered"].tolist()}
        assert done.number == number
        assert len(known) == len(queries_of(world)) * (1 + 3 + 3 * number)
        if previous is not None:
            assert previous < known
        previous = known


def test_answers_are_the_truth():
    world = blobs(60, classes=("star", "moon"))
    queries = queries_of(world)
    packed = play(world)[-1][1]
    for (position, image), answer in zip(packed["answered"].tolist(), packed["answers"].tolist(), strict=True):
        label = world.annotations.classes.index(queries[position].class_name)
        assert (answer == 1) == bool(world.relevant[label, image])


@settings(deadline=None, max_examples=10)
@given(st.sampled_from(EVERY), st.integers(0, 5))
def test_searches_do_not_notice_each_other_nor_the_size_of_a_block(representation, seed):
    """Together or one by one, in one block or image by image: the same questions and the same scores."""
    world = blobs(40, classes=("star", "moon"), seed=seed, dtype=torch.float32)
    queries = queries_of(world)
    together = play(world, representation, queries=queries)[-1][0]
    for position, query in enumerate(queries):
        alone = play(world, representation, queries=(query,), memory=1e-6)[-1][0]
        assert alone.asked.tolist() == together.asked[position : position + 1].tolist()
        torch.testing.assert_close(alone.scores, together.scores[position : position + 1])


@pytest.mark.parametrize("stop", [0, 2])
def test_a_search_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(stop):
    world = blobs(60, classes=("star", "moon"))
    queries = queries_of(world)
    whole = play(world, Representation(OneRand(), NoFusion()), user=perfect_user(world.annotations, label_noise=0.2))
    state = State.unpack(whole[stop][1], queries, world.descriptors.images)
    engine = loop(world.descriptors, Representation(OneRand(), NoFusion()))
    rest = list(engine.rounds(state, perfect_user(world.annotations, label_noise=0.2), rounds=4, budget=3))
    assert [done.number for done, _ in rest] == list(range(stop + 1, 5))
    for (resumed, _), (uninterrupted, _) in zip(rest, whole[stop + 1 :], strict=True):
        assert resumed.asked.equal(uninterrupted.asked)
        assert resumed.scores.equal(uninterrupted.scores)


def test_a_search_that_uses_up_its_pool_may_go_on():
    """40 images, 4 known at the start: 12 rounds of 3 are all the rest, wherever the search is taken up again."""
    world = blobs(40, classes=("star",))
    queries = queries_of(world)
    whole = play(world, rounds=12, budget=3)
    state = State.unpack(whole[6][1], queries, world.descriptors.images)
    rest = list(loop(world.descriptors).rounds(state, perfect_user(world.annotations), rounds=12, budget=3))
    assert rest[-1][0].number == 12
    assert not rest[-1][1].candidate.any()


def test_all_with_a_single_region_is_go_on_that_region():
    """A law of the definitions: one region, the local descriptor equal to the global one."""
    world = blobs(40, classes=("star",), noise=0.6)
    single = ArrayDescriptors(
        world.descriptors.global_, world.descriptors.global_, Regions(torch.tensor([[0.0, 0, 1, 1]]), None)
    )
    queries = queries_of(world)
    runs = []
    for representation in (GO, Representation(All(), NoFusion())):
        engine = loop(single, representation)
        state = engine.start(queries, [0.0] * len(queries))
        runs.append([r for r, _ in engine.rounds(state, perfect_user(world.annotations), rounds=4, budget=3)])
    for go, all_ in zip(*runs, strict=True):
        assert go.asked.equal(all_.asked)
        torch.testing.assert_close(go.scores, all_.scores)


def test_concatenation_with_zeros_ranks_like_go():
    """A law of the definitions: one row per image and l = 0. (Many rows would change the weight of C.)"""
    world = blobs(40, classes=("star",), noise=0.6)
    zeros = ArrayDescriptors(
        world.descriptors.global_, torch.zeros(40, 8), Regions(torch.tensor([[0.0, 0, 1, 1]]), None)
    )
    queries = queries_of(world)
    runs = []
    for representation in (GO, Representation(OneRand(), CONCAT)):
        engine = loop(zeros, representation)
        state = engine.start(queries, [0.0] * len(queries))
        runs.append([r.scores for r, _ in engine.rounds(state, perfect_user(world.annotations), rounds=3, budget=3)])
    for go, concat in zip(*runs, strict=True):
        assert go.argsort(dim=1, stable=True).equal(concat.argsort(dim=1, stable=True))


def test_unreadable_images_are_never_asked_about_and_rank_last():
    world = blobs(40, classes=("star",))
    readable = torch.ones(40, dtype=torch.bool)
    readable[5:15] = False
    broken = ArrayDescriptors(world.descriptors.global_, world.descriptors.local, world.descriptors.regions, readable)
    queries, _ = draw_queries(world.annotations, readable, queries=2, negatives=3, classes=None, seed=0)
    engine = loop(broken, Representation(All(), NoFusion()))
    state = engine.start(queries, [0.0, 0.0])
    for done, _ in engine.rounds(state, perfect_user(world.annotations), rounds=5, budget=4):
        assert readable[done.asked].all()
        assert (done.scores[:, ~readable] == -torch.inf).all()


def test_unsure_leaves_the_pool_costs_time_and_trains_nothing():
    world = blobs(40, classes=("star",))
    engine = loop(world.descriptors)
    state = engine.start(queries_of(world, 1), [0.0])
    before = engine.update(state)
    image = int(engine.propose(before, budget=1).image[0, 0])
    after = engine.update(before, [[Feedback(image, Answer.UNSURE, None, 1.8)]])
    assert not after.candidate[0, image]
    assert after.answers[0, image] == 0
    assert after.seconds[0] == pytest.approx(1.8)
    assert len(after.rows[0].image) == len(before.rows[0].image)


def test_a_relevant_image_without_a_box_trains_on_the_region_that_scored_highest():
    world = blobs(40, classes=("star",))
    engine = loop(world.descriptors, Representation(OneRand(), NoFusion()))
    state = engine.start(queries_of(world, 1), [0.0])
    question = Question(*(torch.tensor([[value]]) for value in (7, 2, 0.0, False)))
    state = engine.update(state, question.with_regions([[Feedback(7, Answer.RELEVANT, None, 1.8)]]))
    assert (int(state.rows[0].image[-1]), int(state.rows[0].region[-1])) == (7, 2)


@pytest.mark.parametrize(
    ("above", "wanted"),
    [
        ([], False),
        ([4], False),
        ([0, 1], False),
        ([0, 4], False),
        ([0, 2], True),
        ([0, 1, 2], False),
        ([0, 5, 6], True),
    ],
)
def test_a_box_is_wanted_where_regions_above_the_boundary_lie_apart(above, wanted):
    """Cells of 3 x 3, numbered by rows: none, one, two that share an edge, two that share a corner.

    0 and 2 do not touch, but through 1 they do. 0, 5 and 6 are all apart. Cell 8, on the boundary, is not above it.

    Counting the regions above would want a box for 0 and 1, the margin of the best two one for all but the first two.
    """
    cells = grid_boxes(((3, 3),))
    scores = torch.full((9,), -1.0).index_fill(0, torch.tensor(above, dtype=torch.long), 0.5)
    scores[8] = 0.0
    assert box_wanted(scores, cells) == wanted


@settings(deadline=None, max_examples=10)
@given(st.sampled_from(EVERY), st.integers(0, 5))
def test_boxes_are_wanted_alike_together_and_alone(representation, seed):
    """And never where images have no regions."""
    world = blobs(40, classes=("star", "moon"), seed=seed, noise=0.6)
    engine, queries = loop(world.descriptors, representation), queries_of(world)
    state = engine.update(engine.start(queries, [0.0] * len(queries)))
    together = engine.propose(state, budget=8)
    for position, query in enumerate(queries):
        alone = engine.propose(engine.update(engine.start((query,), [0.0])), budget=8)
        assert alone.box_wanted.tolist() == together.box_wanted[position : position + 1].tolist()
    assert representation.local.uses_regions or not together.box_wanted.any()


@pytest.mark.parametrize("ragged", [False, True], ids=["fixed", "ragged"])
@pytest.mark.parametrize("representation", EVERY, ids=lambda r: f"{type(r.local).__name__}-{type(r.fusion).__name__}")
def test_a_criterion_sees_the_vectors_that_gave_images_their_scores(representation, ragged):
    """The law: the classifier's value of an image's vector is the image's score. A prototype may score higher."""
    world = blobs(24, ragged=ragged)
    engine = loop(world.descriptors, representation)
    queries = queries_of(world)
    state = engine.update(engine.start(queries, [0.0] * len(queries)))
    images = torch.tensor([5, 17, 2])
    seen = []

    def criterion(view, budget, rngs):
        seen.append(view)
        return Nearest()(view, budget, rngs)

    engine.propose(state, criterion, budget=2)
    (view,) = seen
    for query in range(len(queries)):
        scores = view.rescore(query, view.vectors(query, images, "classified"))
        expected = view.scores[query, images]
        if representation.local.scores_prototype:
            assert bool((scores <= expected + 1e-5).all())
        else:
            torch.testing.assert_close(scores, expected)
        assert torch.equal(view.vectors(query, images, "global"), view.descriptors[images])


def test_too_many_questions_are_refused_with_numbers_that_fit():
    with pytest.raises(
        ConfigError, match=r"budget=20.*rounds x budget = 60 exceeds the 38 candidates.*Lower budget to 12.*rounds to 1"
    ):
        check_pool(38, 3, 20)
    check_pool(60, 3, 20)


def advice(error):
    """Each way out of a refusal, as changes of its settings."""
    for way in re.split(r", or |\. Or ", error.fix):
        changes = {name: int(value) for name, value in re.findall(r"(budget|rounds) to (-?\d+)", way)}
        added = re.search(r"[Aa]dd (\d+) image", way)
        yield changes | ({"more": int(added[1])} if added else {})


@pytest.mark.parametrize("played", [0, 2])
def test_every_advice_of_a_refusal_can_be_followed(played):
    """With 2 images for 3 rounds of 3, half of the budget would be none: one round of one image each is left."""
    refused = 0
    for pool, rounds, budget in itertools.product(range(-4, 20), range(8), range(1, 9)):
        try:
            check_pool(pool, rounds, budget, played)
        except ConfigError as error:
            refused += 1
            ways = list(advice(error))
            assert len(ways) > (pool > 0)
            for way in ways:
                after = {"rounds": rounds + played, "budget": budget, **way}
                more = after.pop("more", 0)
                check_pool(max(pool, 0) + more, after["rounds"] - played, after["budget"], played)
                assert after["rounds"] - played > 0
        else:
            assert rounds * budget <= max(pool, 0)
    assert refused > 500


def test_no_advice_names_no_images():
    """18 images: 20 rounds of 3 cannot have a budget of 0, and 6 rounds of 3 fit."""
    with pytest.raises(ConfigError, match=r"18 candidates\. Lower rounds to 6\. Or add 42 images or more"):
        check_pool(18, 20, 3)
    with pytest.raises(ConfigError, match=r"Lower budget to 1 and rounds to 2\. Or add 7 images"):
        check_pool(2, 3, 3)
    with pytest.raises(ConfigError, match=r"= 1 exceeds the 0 candidates\. Add 1 image or more"):
        check_pool(-3, 1, 1)


@pytest.mark.parametrize(("rounds", "budget", "key"), [(3, 0, "budget=0"), (-1, 3, "rounds=-1")])
def test_rounds_without_meaning_are_refused(rounds, budget, key):
    with pytest.raises(ConfigError, match=key):
        check_pool(10, rounds, budget)


def test_go_reads_no_local_descriptors():
    world = blobs(20, classes=("star",))
    reads = []
    original = world.descriptors.read
    world.descriptors.read = lambda images, local: (reads.append(local), original(images, local))[1]
    play(world, Representation(GlobalOnly(), NoFusion()), rounds=1)
    assert set(reads) == {False}


def test_a_pool_used_up_leaves_nothing_to_ask():
    world = blobs(40, classes=("star",))

    def refuses(*_):
        raise AssertionError("a criterion is not asked for nothing")

    engine = loop(world.descriptors, criterion=refuses)
    state = engine.start(queries_of(world, 2), [0.0, 0.0])
    used = replace(state, candidate=torch.zeros_like(state.candidate))
    assert engine.propose(engine.update(used), budget=3).image.shape == (2, 0)


class Remembering(MeanDifference):
    """Checks that what comes back as `previous` is what it gave for the very same queries a round before."""

    def fit(self, rows, previous):
        keys = [tuple(query.tolist()) for query in rows.query]
        if previous is not None:
            assert previous.weights.equal(torch.stack([GIVEN[key] for key in keys]))
        fitted = super().fit(rows, previous)
        GIVEN.update(zip(keys, fitted.weights, strict=True))
        return fitted


GIVEN = {}


@pytest.mark.parametrize("memory", [1.0, 1e-6], ids=["together", "one by one"])
def test_a_classifier_gets_its_own_queries_back(memory):
    world = blobs(40, classes=("star", "moon"))
    engine = loop(world.descriptors, classifier=Remembering(), memory=memory)
    queries = queries_of(world)
    state = engine.start(queries, [0.0] * len(queries))
    assert len(list(engine.rounds(state, perfect_user(world.annotations), rounds=2, budget=3))) == 3
