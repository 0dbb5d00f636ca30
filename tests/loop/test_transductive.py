"""Rounds with classifiers and criteria that use the graph of the collection."""

import pytest
import torch

from seekloop.classifiers.diffusion import Diffusion
from seekloop.classifiers.svm_propagated import SvmPropagated
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Example, Query
from seekloop.criteria.graphs import Jlp
from seekloop.loop.engine import Loop
from seekloop.loop.session import Session
from seekloop.loop.shortlist import require_linear
from seekloop.loop.state import State
from seekloop.protocol.queries import draw_queries
from seekloop.representations.fusion import NoFusion
from seekloop.representations.local import All
from seekloop.representations.representation import Representation
from tests.loop.parts import loop, perfect_user
from tests.worlds import ArrayDescriptors, World, blobs

GRAPH = {"neighbours": 6, "kind": "sum", "power": 3, "clamp": True, "alpha": 0.9, "iterations": 20, "tolerance": 1e-6}
SVM = {"cost": 1.0, "class_weight": "none", "tol": 1e-8, "max_iter": 100_000, "threads": 1}
CLASSIFIERS = {
    "amount": Diffusion(**GRAPH, normalise=False),
    "share": Diffusion(**GRAPH, normalise=True),
    "svm": SvmPropagated(**SVM, **GRAPH, pseudo=8, strength=0.5),
}


@pytest.fixture(params=CLASSIFIERS)
def classifier(request):
    return CLASSIFIERS[request.param]


def world(noise=0.1):
    return blobs(60, classes=("star", "moon"), noise=noise, dtype=torch.float64)


def play(place, classifier, resume=None, **settings):
    queries, _ = draw_queries(
        place.annotations, place.descriptors.readable, queries=2, negatives=3, classes=None, seed=0
    )
    engine = loop(place.descriptors, classifier=classifier, precision="float64", **settings)
    state = engine.start(queries, [0.0] * len(queries))
    if resume is not None:
        state = State.unpack(resume, queries, place.descriptors.images)
    user = perfect_user(place.annotations)
    return [(done, after.pack()) for done, after in engine.rounds(state, user, rounds=4, budget=3)], queries


def test_everything_is_found_in_an_easy_world(classifier):
    place = world()
    played, queries = play(place, classifier)
    for query, scores in zip(queries, played[-1][0].scores, strict=True):
        relevant = place.relevant[place.annotations.classes.index(query.class_name)]
        assert scores[relevant].min() > scores[~relevant].max()


@pytest.mark.parametrize("criterion", [None, Jlp(**GRAPH)], ids=["nearest", "jlp"])
def test_searches_together_ask_what_each_asks_alone(classifier, criterion):
    place = world(noise=0.6)
    together, _ = play(place, classifier, criterion=criterion)
    alone, _ = play(place, classifier, criterion=criterion, together=False)
    for (one, _), (other, _) in zip(together, alone, strict=True):
        assert one.asked.equal(other.asked)
        torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=1e-9)


def test_a_search_goes_on_where_it_stood(classifier):
    place = world(noise=0.6)
    whole, _ = play(place, classifier)
    rest, _ = play(place, classifier, resume=whole[1][1])
    assert [done.number for done, _ in rest] == [2, 3, 4]
    assert all(
        a.asked.equal(b.asked) and a.scores.equal(b.scores) for (a, _), (b, _) in zip(whole[2:], rest, strict=True)
    )


def test_unreadable_images_are_never_asked_about(classifier):
    place = world(noise=0.6)
    given = place.descriptors
    readable = torch.arange(60) % 7 != 3
    known = place.annotations.keep(readable[place.annotations.image])
    descriptors = ArrayDescriptors(given.global_, given.local, given.regions, readable)
    played, _ = play(World(descriptors, known), classifier, criterion=Jlp(**GRAPH))
    for done, _ in played:
        assert done.scores[:, ~readable].eq(-torch.inf).all()
        assert done.scores[:, readable].isfinite().all()
        assert readable[done.asked].all()


def test_a_person_can_search_with_it(classifier):
    place = world()
    star = place.relevant[0]
    session = Session.start(
        loop(place.descriptors, classifier=classifier), int(star.int().argmax()), None, negatives=4, budget=5
    )
    for _ in range(3):
        session.answer({image: bool(star[image]) for image in (item.image for item in session.ask())})
    assert star[session.ranking(15)].all()


def test_regions_are_refused_with_what_goes_together(classifier):
    with pytest.raises(ConfigError, match=r"classifier=.*whole images.*representation=go"):
        loop(world().descriptors, Representation(All(), NoFusion()), classifier=classifier)


def test_an_index_serves_the_one_with_a_hyperplane_only():
    require_linear(CLASSIFIERS["svm"])
    with pytest.raises(ConfigError, match="hyperplane"):
        require_linear(CLASSIFIERS["amount"])


def test_the_graph_is_built_once_for_all_rounds_and_shared(monkeypatch):
    built = []
    module = __import__("seekloop.graphs.affinity", fromlist=["affinity"])
    plain = module.affinity

    def counted(*settings):
        built.append(settings[1:])
        return plain(*settings)

    monkeypatch.setattr(module, "affinity", counted)
    play(world(), CLASSIFIERS["amount"], criterion=Jlp(**GRAPH))
    assert len(built) == 1


def test_the_rows_say_which_images_they_are_from():
    """Two searches of different length: positions in the collection, as they were answered."""
    seen = []

    class Spy:
        def fit(self, rows, previous):
            seen.append(rows.image[rows.mask].tolist())
            return loop(place.descriptors).classifier.fit(rows, previous)

    place = world()
    engine: Loop = loop(place.descriptors, classifier=Spy())
    searches = (Query("star", 0, (Example(0),), (4, 1)), Query("moon", 0, (Example(7),), (2, 9, 5)))
    engine.fit(engine.start(searches, [0.0, 0.0]))
    assert seen == [[0, 4, 1, 7, 2, 9, 5]]
