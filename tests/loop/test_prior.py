"""Searches by words, and by what an example looks like, while there are few answers."""

import pytest
import torch

from seekloop.classifiers.nearest import NearestNeighbour
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Answer, Example, Feedback, Query, Regions, Text
from seekloop.contracts.scorers import LinearScorer
from seekloop.criteria.scores import Top
from seekloop.loop.engine import Loop
from seekloop.loop.placement import Engine
from seekloop.loop.prior import Prior
from seekloop.loop.session import Session
from seekloop.loop.state import State
from seekloop.representations.fusion import Concat, NoFusion
from seekloop.representations.local import All
from seekloop.representations.representation import Representation
from tests.loop.parts import GO, MeanDifference, Nearest, perfect_user
from tests.worlds import ArrayDescriptors, blobs

WORDS = Text("a star", torch.tensor([3.0, 0.0]))


def line(x):
    """Images with these first coordinates, on the unit circle."""
    x = torch.tensor(x)
    points = torch.stack([x, (1 - x**2).sqrt()], dim=1)
    return ArrayDescriptors(points, points, Regions(torch.tensor([[0.0, 0, 1, 1]]), None))


def with_prior(descriptors, representation=GO, **settings):
    return Loop(descriptors, representation, MeanDifference(), Top(), prior=Prior(**settings))


def test_a_text_ranks_round_0_by_hand():
    """Similarities to (1, 0): 0.9, 0.1, -0.4, 0.6. Mean 0.3, deviation sqrt((.36 + .04 + .49 + .09) / 4) = 0.495; the
    boundary lies half a deviation above the mean, so scores are (c - 0.3) / 0.495 - 0.5."""
    machine = with_prior(line([0.9, 0.1, -0.4, 0.6]), deviations=0.5)
    state = machine.update(machine.start((Query("star", 0, (), text=WORDS),), [0.0]))
    wanted = (torch.tensor([[0.9, 0.1, -0.4, 0.6]]) - 0.3) / (0.98 / 4) ** 0.5 - 0.5
    torch.testing.assert_close(state.scores, wanted)
    assert machine.propose(state, budget=2).image.tolist() == [[0, 3]]
    assert state.scorer is None


def test_without_answers_of_both_kinds_the_prior_alone_decides():
    machine = with_prior(line([0.9, 0.1, -0.4, 0.6]))
    before = machine.update(machine.start((Query("star", 0, (), text=WORDS),), [0.0]))
    after = machine.update(before, [[Feedback(0, Answer.RELEVANT, None, 0.0), Feedback(3, Answer.UNSURE, None, 0.0)]])
    assert after.scores.equal(before.scores)
    assert after.scorer is None
    assert (after.round, after.fitted) == (1, ())


def test_the_classifier_takes_over_as_relevant_images_come():
    """Of two labels one is relevant: with a trust of 3 the prior's share is 3 / (3 + 1) = 3/4, with a tiny one nothing.

    The prior: (c - 0.3) / 0.495 - 2. The classifier: w = x_0 - x_2 = (1.3, 0.436 - 0.917), boundary half-way.
    """
    points = line([0.9, 0.1, -0.4, 0.6])
    query = Query("star", 0, (), text=WORDS)
    answers = [[Feedback(0, Answer.RELEVANT, None, 0.0), Feedback(2, Answer.IRRELEVANT, None, 0.0)]]
    x = points.global_
    own = x @ (x[0] - x[2]) - (x[0] - x[2]) @ (x[0] + x[2]) / 2
    prior = (x[:, 0] - 0.3) / (0.98 / 4) ** 0.5 - 2
    for trust, share in ((3.0, 0.75), (1e-6, 0.0)):
        machine = with_prior(points, trust=trust)
        state = machine.update(machine.start((query,), [0.0]), answers)
        torch.testing.assert_close(state.scores[0], share * prior + (1 - share) * own, atol=1e-5, rtol=0)


def test_before_a_classifier_the_highest_scores_are_asked_about_whatever_the_criterion():
    """Scores (c - 0.3) / 0.495 - 0.5: 0.71, -0.90, -1.91, 0.11; nearest to 0 is image 3, highest image 0.

    The other search has labels of both kinds, so that its criterion decides: with f = (x_2 - x_0) . x, and its boundary
    half-way, image 1 is nearest, and image 3 lowest.
    """
    machine = Loop(
        line([0.9, 0.1, -0.4, 0.6]), GO, MeanDifference(), Nearest(), prior=Prior(deviations=0.5, trust=1e-6)
    )
    queries = (Query("star", 0, (), text=WORDS), Query("moon", 0, (Example(2),), (0,)))
    state = machine.update(machine.start(queries, [0.0, 0.0]))
    assert machine.propose(state, budget=2).image.tolist() == [[0, 3], [1, 3]]
    assert machine.propose(state, Top(), budget=1).image.tolist() == [[0], [1]]
    swapped = machine.update(machine.start(queries[::-1], [0.0, 0.0]))
    assert machine.propose(swapped, budget=2).image.tolist() == [[1, 3], [0, 3]]


class Own:
    """Keeps the vector of each query's own object."""

    def fit(self, rows, previous):
        return LinearScorer(rows.query.clone(), torch.zeros(len(rows.query)))


@pytest.mark.parametrize("fusion", [NoFusion(), Concat(keep_pos_negatives=False, renorm=False)])
def test_the_anchor_is_the_object_the_words_or_the_mean_of_both(fusion):
    """Image 0 is at (1, 0), the words point along (0, 1): half-way lies (1/2, 1/2); of both halves where they join."""
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    descriptors = ArrayDescriptors(points, points, Regions(torch.tensor([[0.0, 0, 1, 1]]), None))
    machine = Loop(descriptors, Representation(All(), fusion), Own(), Top(), prior=Prior())
    up, shown = Text("up", torch.tensor([0.0, 5.0])), (Example(0),)
    queries = [Query("a", 0, shown, (1,)), Query("b", 0, (), (1,), up), Query("c", 0, shown, (1,), up)]
    state = machine.learn(machine.start(tuple(queries), [0.0] * 3), [[], [Feedback(0, Answer.RELEVANT, None, 0.0)], []])
    own = machine.fit(state).scorer.weights
    wanted = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    torch.testing.assert_close(own, wanted if own.shape[1] == 2 else torch.cat([wanted, wanted], dim=1))


def test_searches_with_and_without_labels_go_side_by_side():
    """One search has both kinds of labels, the other none yet: each is scored as it is alone."""
    machine = with_prior(line([0.9, 0.1, -0.4, 0.6]))
    queries = (Query("star", 0, (), text=WORDS), Query("moon", 0, (Example(2),), (0,)))
    together = machine.update(machine.start(queries, [0.0, 0.0]))
    assert together.fitted == (1,)
    alone = [machine.update(machine.start((query,), [0.0])).scores for query in queries]
    torch.testing.assert_close(together.scores, torch.cat(alone))
    answers = [[Feedback(0, Answer.RELEVANT, None, 0.0), Feedback(1, Answer.IRRELEVANT, None, 0.0)], []]
    assert machine.update(together, answers).fitted == (0, 1)


class RoundsSinceTheFirst(MeanDifference):
    """Intercept: 0 without a warm start, else one more than before."""

    def fit(self, rows, previous):
        fitted = super().fit(rows, previous)
        since = torch.zeros_like(fitted.intercept) if previous is None else previous.intercept + 1
        return LinearScorer(fitted.weights, since)


@pytest.mark.parametrize("memory", [1.0, 1e-7])
def test_a_search_that_begins_leaves_the_others_their_warm_start(memory):
    """The middle one has labels from the start, the last from round 1, the first from round 2, whatever the memory."""
    parts = (GO, RoundsSinceTheFirst(), Top())
    machine = Loop(line([0.9, 0.1, -0.4, 0.6]), *parts, prior=Prior(), engine=Engine(memory=memory))
    text = Query("star", 0, (), text=WORDS)
    state = machine.update(machine.start((text, Query("moon", 0, (Example(2),), (0,)), text), [0.0, 0.0, 0.0]))
    both = [Feedback(0, Answer.RELEVANT, None, 0.0), Feedback(1, Answer.IRRELEVANT, None, 0.0)]
    for answers, intercepts in (([[], [], both], [1.0, 0.0]), ([both, [], []], [0.0, 2.0, 1.0])):
        state = machine.update(state, answers)
        assert state.scorer.intercept.tolist() == intercepts
    assert state.fitted == (0, 1, 2)
    x = machine.descriptors.global_
    torch.testing.assert_close(state.scorer.weights, torch.stack([x[0] - x[1], x[2] - x[0], x[0] - x[1]]))


def test_the_mean_of_the_examples_is_what_they_are_searched_by():
    """Images 0 and 1 point 60 degrees apart, so their mean points half-way, which is where image 2 is."""
    angle = torch.deg2rad(torch.tensor([0.0, 60, 30, 90, 180]))
    points = torch.stack([angle.cos(), angle.sin()], dim=1)
    machine = with_prior(ArrayDescriptors(points, points, Regions(torch.tensor([[0.0, 0, 1, 1]]), None)))
    query = Query("star", 0, (Example(0), Example(1)))
    state = machine.update(machine.start((query,), [0.0]))
    assert state.scores[0].argsort(descending=True).tolist()[0] == 2
    assert state.scores[0, 0] == pytest.approx(float(state.scores[0, 1]), abs=1e-5)
    assert state.answers[0].tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("fusion", [NoFusion(), Concat(keep_pos_negatives=False, renorm=False)])
def test_words_find_the_region(fusion):
    """Local descriptors of stars lie around +e_1, everything else lies on the other side."""
    world = blobs(40, classes=("star",))
    machine = with_prior(world.descriptors, Representation(All(), fusion))
    text = Text("a star", torch.eye(8)[0])
    state = machine.update(machine.start((Query("star", 0, (), text=text),), [0.0]))
    assert state.scores[0, world.relevant[0]].min() > state.scores[0, ~world.relevant[0]].max()
    question = machine.propose(state, budget=3)
    for image, region in zip(question.image[0].tolist(), question.region[0].tolist(), strict=True):
        assert torch.equal(world.descriptors.regions.boxes[region], world.annotations.largest_box(image, 0))


def test_a_simulation_with_a_prior_goes_on_from_a_checkpoint():
    world = blobs(40, classes=("star",), noise=0.5)
    queries = (Query("star", 0, (), text=Text("a star", torch.eye(8)[0])), Query("star", 1, (Example(0),), (1,)))
    user = perfect_user(world.annotations)

    def play(state):
        machine = with_prior(world.descriptors)
        state = machine.start(queries, [0.0, 0.0]) if state is None else state
        return [(done, after.pack()) for done, after in machine.rounds(state, user, rounds=4, budget=3)]

    played = play(None)
    for stop in (0, 2):
        rest = play(State.unpack(played[stop][1], queries, 40))
        for (resumed, _), (whole, _) in zip(rest, played[stop + 1 :], strict=True):
            assert resumed.asked.equal(whole.asked)
            assert resumed.scores.equal(whole.scores)


def test_a_person_searches_by_words():
    world = blobs(60, classes=("star",), noise=0.5)
    machine = with_prior(world.descriptors)
    search = Session.start(machine, text=Text("a star", torch.eye(8)[0]), negatives=0, budget=6)
    for _ in range(3):
        search.answer({item.image: bool(world.relevant[0, item.image]) for item in search.ask()})
    before = search.scores
    search.undo()
    search.answer({item.image: bool(world.relevant[0, item.image]) for item in search.ask()})
    assert search.scores.equal(before)
    assert world.relevant[0, search.ranking(10)].float().mean() >= 0.9


def test_what_a_prior_cannot_do_is_refused():
    points = line([0.9, 0.1, -0.4, 0.6])
    with pytest.raises(ConfigError, match=r"NearestNeighbour.*a prior is blended with a hyperplane"):
        Loop(points, GO, NearestNeighbour(), Top(), prior=Prior())
    with pytest.raises(ConfigError, match=r"Prior: trust=0\.0"):
        Prior(trust=0.0)
    machine = with_prior(points, source="text")
    with pytest.raises(ConfigError, match=r"Prior: source='text'.*query 0 of class 'star' has nothing to be similar"):
        machine.update(machine.start((Query("star", 0, (Example(0),), (1,)),), [0.0]))
    wrong = Query("star", 0, (), text=Text("a star", torch.ones(3)))
    with pytest.raises(ValueError, match=r"the text of query 0 of class 'star' has a vector of shape \(3,\), not 2"):
        machine.update(machine.start((wrong,), [0.0]))


def test_equal_similarities_are_all_at_the_same_distance_from_the_boundary():
    prior = Prior(deviations=2.0).standardised(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5, -torch.inf]]))
    assert isinstance(prior, LinearScorer)
    assert prior.scores(torch.tensor([[0.5, 0.1]])).tolist() == [[-2.0]]
