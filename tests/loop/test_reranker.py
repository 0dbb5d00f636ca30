"""The ranking that a person sees, where a re-ranker has the last word."""

import torch

from seekloop.contracts.ranking import Ranking
from seekloop.contracts.records import Answer, Feedback
from seekloop.loop.session import Session
from tests.loop.parts import GO, loop
from tests.loop.test_engine import queries_of
from tests.worlds import blobs


class Backwards:
    """Turns every ranking round, and notes what it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, ranking):
        self.seen.append(ranking)
        return Ranking(-ranking.scores, ranking.vectors, ranking.examples)


def test_metrics_see_the_new_ranking_and_the_criterion_its_own():
    world, reranker = blobs(40, classes=("star",)), Backwards()
    plain, turned = loop(world.descriptors, GO), loop(world.descriptors, GO, reranker=reranker)
    queries = queries_of(world)
    states = [one.update(one.start(queries, [0.0, 0.0])) for one in (plain, turned)]
    assert torch.equal(turned.shown(states[1]), -plain.shown(states[0]))
    assert torch.equal(turned.propose(states[1], budget=3).image, plain.propose(states[0], budget=3).image)


def test_a_reranker_is_told_the_examples_with_their_boxes_and_then_the_relevant_answers():
    world, reranker = blobs(40, classes=("star",)), Backwards()
    turned = loop(world.descriptors, GO, reranker=reranker)
    (query,) = queries_of(world, count=1)
    shows, not_it = 20, 21  # image i shows a star where i is even
    given = [Feedback(shows, Answer.RELEVANT, None, 1.0), Feedback(not_it, Answer.IRRELEVANT, None, 1.0)]
    state = turned.update(turned.update(turned.start((query,), [0.0])), [given])
    turned.shown(state)
    (examples,), (vectors,) = reranker.seen[-1].examples, reranker.seen[-1].vectors
    assert [one.image for one in examples] == [query.first.image, shows]
    assert torch.equal(examples[0].box, query.first.box)
    assert examples[1].box is None
    assert torch.equal(vectors, turned.global_descriptors[[query.first.image, shows]])


def test_a_persons_ranking_is_the_rerankers_and_is_made_once_for_each_state():
    world, reranker = blobs(40, classes=("star",)), Backwards()
    session = Session.start(loop(world.descriptors, GO, reranker=reranker), 0, negatives=3, budget=2)
    backwards = (-session.scores).argsort(descending=True, stable=True).tolist()
    assert session.ranking() == backwards
    assert session.ranking(5) == backwards[:5]
    assert len(reranker.seen) == 1
    session.answer({session.ask()[0].image: True})
    session.ranking()
    assert len(reranker.seen) == 2
