import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.loop.session import Session
from seekloop.representations.fusion import NoFusion
from seekloop.representations.local import All
from seekloop.representations.representation import Representation
from tests.loop.parts import loop
from tests.worlds import ArrayDescriptors, blobs

WORLD = blobs(60, classes=("star",))
STARS = set(WORLD.relevant[0].nonzero()[:, 0].tolist())


def session(box=None, seed=0):
    first = min(STARS)
    if box is None:
        box = WORLD.annotations.largest_box(first, 0).tolist()
    return Session(
        loop(WORLD.descriptors, Representation(All(), NoFusion()), seed=seed), first, box, negatives=5, budget=6
    )


def truth(image):
    return WORLD.annotations.largest_box(image, 0).tolist() if image in STARS else False


def test_a_person_finds_everything_in_an_easy_world():
    search = session()
    for _ in range(3):
        search.answer({image: truth(image) for image in search.ask()})
    assert set(search.ranking(len(STARS))) == STARS


def test_a_question_stays_until_it_is_answered_and_never_comes_back():
    search = session()
    first = search.ask()
    assert search.ask() == first
    search.answer({image: truth(image) for image in first})
    assert not set(search.ask()) & set(first)


def test_a_short_answer_leaves_the_rest_in_the_pool():
    search = session()
    first = search.ask()
    search.answer({first[0]: None})
    assert int((search.answers != 0).sum()) == 6  # the first image and five presumed negatives
    seen = []
    while search.ask():
        seen += search.ask()
        search.answer({image: truth(image) for image in search.ask()})
    assert set(first[1:]) <= set(seen)
    assert first[0] not in seen


@pytest.mark.parametrize("first", range(4))
def test_the_querys_own_image_is_never_presumed_irrelevant(first):
    """Of four images one is unreadable and one is the query's: nine negatives to draw take both of the others."""
    unreadable = 3 if first < 3 else 0
    world = blobs(4).descriptors
    descriptors = ArrayDescriptors(world.whole, world.local, world.regions, torch.arange(4) != unreadable)
    search = Session(loop(descriptors), first, None, negatives=9, budget=1)
    (query,) = search._state.queries
    assert sorted(query.negatives) == [image for image in range(4) if image not in (first, unreadable)]
    expected = torch.full((4,), -1, dtype=torch.int8)
    expected[first], expected[unreadable] = 1, 0
    assert search.answers.tolist() == expected.tolist()


def test_mistakes_are_refused_in_words():
    search = session()
    with pytest.raises(ValueError, match="were not asked about"):
        search.answer({min(STARS): True})
    with pytest.raises(ValueError, match="no area inside the image"):
        search.answer({search.ask()[0]: [1.2, 0.1, 1.5, 0.2]})
    with pytest.raises(ValueError, match="looks like pixels"):
        search.answer({search.ask()[0]: [10, 20, 300, 200]})
    with pytest.raises(ValueError, match="not one of the 60 readable images"):
        Session(loop(WORLD.descriptors), 60, None, negatives=5, budget=6)


def test_the_same_seed_asks_the_same():
    assert session(seed=1).ask() == session(seed=1).ask()
    assert torch.equal(session(seed=1).scores, session(seed=1).scores)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, -torch.inf]), min_size=3, max_size=12), st.integers(1, 14))
def test_the_first_of_a_ranking_are_the_first_of_the_whole_ranking(scores, top):
    """Equal scores are common: the same image twice."""
    search = session()
    search._scores = torch.tensor([scores])
    assert search.ranking(top) == search.ranking()[:top]
