import contextlib
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.boxes import pixels
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Example
from seekloop.criteria.scores import PfMa, Top
from seekloop.loop.events import Answered
from seekloop.loop.items import Images
from seekloop.loop.questions import box_wanted
from seekloop.loop.session import Session
from seekloop.representations.fusion import NoFusion
from seekloop.representations.local import All
from seekloop.representations.representation import Representation
from tests.loop.parts import loop
from tests.worlds import ArrayDescriptors, blobs

WORLD = blobs(60, classes=("star",))
STARS = set(WORLD.relevant[0].nonzero()[:, 0].tolist())
REGIONS = Representation(All(), NoFusion())


def session(box=None, seed=0, **settings):
    first = min(STARS)
    if box is None:
        box = WORLD.annotations.largest_box(first, 0).tolist()
    return Session.start(loop(WORLD.descriptors, REGIONS, seed=seed), first, box, negatives=5, budget=6, **settings)


def truth(image):
    return WORLD.annotations.largest_box(image, 0).tolist() if image in STARS else False


def asked(search):
    return [item.image for item in search.ask()]


def test_a_person_finds_everything_in_an_easy_world():
    search = session()
    for _ in range(3):
        search.answer({image: truth(image) for image in asked(search)})
    assert set(search.ranking(len(STARS))) == STARS


def test_a_question_stays_until_it_is_answered_and_never_comes_back():
    search = session()
    first = search.ask()
    assert search.ask() == first
    search.answer({item.image: truth(item.image) for item in first})
    assert not set(asked(search)) & {item.image for item in first}


def test_a_short_answer_leaves_the_rest_among_the_candidates():
    search = session()
    first = asked(search)
    search.answer({first[0]: None})
    assert int((search.answers != 0).sum()) == 6  # the first image and five presumed negatives
    seen = []
    while question := asked(search):
        seen += question
        search.answer({image: truth(image) for image in question})
    assert set(first[1:]) <= set(seen)
    assert first[0] not in seen


@pytest.mark.parametrize("first", range(4))
def test_the_querys_own_image_is_never_presumed_irrelevant(first):
    """Of four images one is unreadable and one is the query's: nine negatives to draw take both of the others."""
    unreadable = 3 if first < 3 else 0
    world = blobs(4).descriptors
    descriptors = ArrayDescriptors(world.global_, world.local, world.regions, torch.arange(4) != unreadable)
    search = Session.start(loop(descriptors), first, None, negatives=9, budget=1)
    assert sorted(search.query.negatives) == [image for image in range(4) if image not in (first, unreadable)]
    expected = torch.full((4,), -1, dtype=torch.int8)
    expected[first], expected[unreadable] = 1, 0
    assert search.answers.tolist() == expected.tolist()


def test_an_item_shows_the_best_region_and_its_score():
    """The region of an item scores highest of its image's regions, and that is the image's score."""
    search = session(images=Images(60, paths=[f"{i}.jpg" for i in range(60)]))
    boxes, weights = WORLD.descriptors.regions.boxes, search._now.state.scorer
    for item in search.ask():
        cells = weights.scores(WORLD.descriptors.read(torch.tensor([item.image]), local=True).local)[0]
        assert item.box == tuple(boxes[int(cells.argmax())].tolist())
        assert item.score == pytest.approx(float(cells.max()))
        assert item.score == float(search.scores[item.image])
        assert item.box_wanted == box_wanted(cells, boxes)
        assert (item.path, item.name) == (f"{item.image}.jpg", str(item.image))
    (item, *_) = Session.start(loop(WORLD.descriptors), min(STARS)).ask()
    assert (item.box, item.path) == (None, None)


def test_seconds_are_measured_and_shared_by_the_answers():
    """Shown at 10; two answers at 16 cost 3 s each; shown anew at 20, one answer at 21 costs 1 s: 7 s in all."""
    times = iter([0.0, 10.0, 16.0, 20.0, 21.0])
    search = session(clock=lambda: next(times))
    first = asked(search)
    search.answer({first[0]: None, first[1]: truth(first[1])})
    assert [reply.seconds for reply in search.events[-1].replies] == [3.0, 3.0]
    search.answer({asked(search)[0]: None})
    assert search.seconds == 7.0


def test_boxes_in_pixels_are_boxes_in_fractions():
    """A box from (16, 32) to (48, 64) of a 64 x 128 picture: 1/4 to 3/4 across, 1/4 to 1/2 down."""
    given = [pixels(16, 32, 48, 64, width=64, height=128), (0.25, 0.25, 0.75, 0.5)]
    first, second = (session(box) for box in given)
    assert first.query.first.box.tolist() == [0.25, 0.25, 0.75, 0.5]
    assert first.scores.equal(second.scores)


def test_an_answer_taken_back_was_never_given():
    """Rows and candidates are those of a search that never heard it, and so are the scores: nothing is warm-started."""
    search = session()
    first = asked(search)
    search.answer({first[0]: truth(first[0]), first[1]: not truth(first[1])})
    search.revoke([first[1]])
    assert search._now.state.candidate[0, first[1]]
    assert search.answers[first[1]] == 0
    other = session()
    asked(other)
    other.answer({first[0]: truth(first[0])})
    torch.testing.assert_close(search.scores, other.scores)
    with pytest.raises(ValueError, match="have no answer"):
        search.revoke([first[1]])


def test_a_second_example_is_relevant_and_no_candidate():
    search = session()
    image = max(STARS)
    search.add_example(image, truth(image))
    assert [example.image for example in search.query.examples] == [min(STARS), image]
    assert search.answers[image] == 1
    assert not search._now.state.candidate[0, image]


def test_a_search_may_begin_with_several_examples():
    """Two of six images are examples: nine negatives to draw take the four others."""
    world = blobs(6).descriptors
    box = torch.tensor([0.0, 0.0, 0.5, 0.5])
    search = Session.start(loop(world), 2, None, examples=[Example(4, box)], negatives=9, budget=1)
    assert [example.image for example in search.query.examples] == [2, 4]
    assert search.query.examples[1].box.equal(box)
    assert search.answers.tolist() == [-1, -1, 1, -1, 1, -1]
    alone = Session.start(loop(world), examples=[Example(2), Example(4, box)], negatives=9, budget=1)
    assert alone.events == search.events


def test_undoing_gives_back_the_question_and_the_scores():
    search = session()
    question, scores = search.ask(), search.scores
    search.answer({item.image: truth(item.image) for item in question})
    search.ask()
    search.undo()
    assert search.ask() == question
    assert search.scores.equal(scores)
    with pytest.raises(ValueError, match="nothing is left to undo"):
        search.undo()


def test_mistakes_are_refused_in_words():
    search = session()
    first = asked(search)
    with pytest.raises(ValueError, match="were not asked about"):
        search.answer({min(STARS): True})
    with pytest.raises(ValueError, match="no area inside the image"):
        search.answer({first[0]: [1.2, 0.1, 1.5, 0.2]})
    with pytest.raises(ValueError, match=r"looks like pixels.*contracts.boxes.pixels"):
        search.answer({first[0]: [10, 20, 300, 200]})
    with pytest.raises(ValueError, match="not one of the 60 readable images"):
        Session.start(loop(WORLD.descriptors), 60)
    with pytest.raises(ValueError, match="an image to start from, or a text and a loop with a prior"):
        Session.start(loop(WORLD.descriptors))
    with pytest.raises(ValueError, match=r"criterion 'top' is not among those of this session: \['nearest'\]"):
        search.use("top")
    assert asked(search) == first  # none of it has happened


@pytest.mark.parametrize("kind", [tuple, np.array, torch.tensor, lambda box: torch.tensor(box, requires_grad=True)])
def test_a_box_may_be_any_sequence_of_four_numbers(kind):
    """(0.25, -0.5, 0.75, 1.5) is cut to (0.25, 0, 0.75, 1)."""
    search = session()
    image = asked(search)[0]
    search.answer({image: kind([0.25, -0.5, 0.75, 1.5])})
    (reply,) = search.events[-1].replies
    assert (reply.answer, reply.box) == ("relevant", (0.25, 0.0, 0.75, 1.0))


@pytest.mark.parametrize("value", [1, 0, (), "yes", (0.0, 0.0, 1.0), [[0.0, 0.0, 1.0, 1.0]], object()])
def test_what_is_neither_yes_nor_no_nor_a_box_is_refused(value):
    search = session()
    question = asked(search)
    with pytest.raises(ValueError, match=r"is no box: give \(x0, y0, x1, y1\), or answer with True, False or None"):
        search.answer({question[0]: value})
    assert asked(search) == question


@pytest.mark.parametrize("box", [(-50, -50, 1, 1), (0, 0, 2.5, 1), (-1.25, 0, 1, 1)])
def test_a_box_far_outside_the_image_is_taken_for_pixels(box):
    search = session()
    with pytest.raises(ValueError, match="looks like pixels"):
        search.answer({asked(search)[0]: box})


@pytest.mark.parametrize("number", [np.int64, torch.tensor])
def test_an_image_may_be_any_integer(number):
    """An image that is named by a number of NumPy or PyTorch is the one that the plain number names."""
    search, plain = session(), session()
    search.add_example(number(max(STARS)), truth(max(STARS)))
    plain.add_example(max(STARS), truth(max(STARS)))
    assert search.events == plain.events
    started = [Session.start(loop(WORLD.descriptors), kind(min(STARS))).events for kind in (int, number)]
    assert started[0] == started[1]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"budget": 0}, "start: budget=0 cannot work: it must be an int of at least 1"),
        ({"budget": -1}, "start: budget=-1 cannot work: it must be an int of at least 1"),
        ({"negatives": -1}, "start: negatives=-1 cannot work: it must be an int of at least 0"),
        ({"negatives": 0}, "start: negatives=0 cannot work: .* Use 1 or more"),
    ],
)
def test_numbers_out_of_their_range_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        Session.start(loop(WORLD.descriptors), min(STARS), **settings)


def test_the_loops_own_criterion_has_the_name_of_its_class():
    """From `Nearest` to the highest and back: the question is the first one, though nothing was undone."""
    search = session(criteria={"top": Top()})
    first = asked(search)
    search.use("top")
    assert asked(search) != first
    search.use("nearest")
    assert asked(search) == first
    another = Session.start(loop(WORLD.descriptors, criterion=PfMa()), min(STARS))
    another.use("pf_ma")


def test_the_same_seed_asks_the_same():
    assert session(seed=1).ask() == session(seed=1).ask()
    assert torch.equal(session(seed=1).scores, session(seed=1).scores)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, -torch.inf]), min_size=3, max_size=12), st.integers(1, 14))
def test_the_first_of_a_ranking_are_the_first_of_the_whole_ranking(scores, top):
    """Equal scores are common: the same image twice."""
    search = session()
    shown = torch.tensor([scores + [-torch.inf] * (60 - len(scores))])
    search._now = replace(search._now, state=replace(search._now.state, scores=shown))
    assert search.ranking(top) == search.ranking()[:top]


@settings(deadline=None, max_examples=15)
@given(st.lists(st.sampled_from(["answer", "unsure", "revoke", "example", "undo"]), max_size=8))
def test_undoing_everything_leads_back_to_the_start(steps):
    """Whatever was done and undone between: as many undos as there are standing steps give the first scores back."""
    search = session()
    scores, stars = search.scores, itertools.cycle(sorted(STARS))
    for step in steps:
        answered = [one.image for event in search.events if isinstance(event, Answered) for one in event.replies]
        with contextlib.suppress(ValueError):  # nothing is left to undo, or the answer was taken back before
            if step in ("answer", "unsure"):
                first = asked(search)[0]
                search.answer({first: None if step == "unsure" else truth(first)})
            elif step == "revoke" and answered:
                search.revoke([int(answered[-1])])
            elif step == "example":
                search.add_example(next(stars))
            elif step == "undo":
                search.undo()
    with contextlib.suppress(ValueError):
        while search.undo():
            pass
    assert search.scores.equal(scores)
