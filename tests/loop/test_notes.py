"""Answers that are kept one by one, and taken in together."""

import pytest
import torch

from seekloop.criteria.scores import Top
from seekloop.loop.events import Answered, MemoryLog, Noted
from seekloop.loop.items import Images
from seekloop.loop.session import Session
from seekloop.representations.fusion import NoFusion
from seekloop.representations.local import All
from seekloop.representations.representation import Representation
from tests.loop.parts import loop
from tests.worlds import blobs

WORLD = blobs(60, classes=("star",))
STARS = set(WORLD.relevant[0].nonzero()[:, 0].tolist())
REGIONS = Representation(All(), NoFusion())
FIRST = min(STARS)


def session(**settings):
    box = WORLD.annotations.largest_box(FIRST, 0).tolist()
    return Session.start(loop(WORLD.descriptors, REGIONS), FIRST, box, negatives=5, budget=6, **settings)


def asked(search):
    return [item.image for item in search.ask()]


def truth(images):
    return {image: image in STARS for image in images}


def labels_of(search, image):
    rows = search.state.rows[0]
    return rows.label[rows.image == image].tolist()


def test_notes_one_by_one_in_any_order_lead_to_the_bits_of_one_answer():
    at_once, noted = session(), session()
    for _ in range(3):
        question = asked(at_once)
        assert asked(noted) == question
        at_once.answer(truth(question))
        for image in reversed(question):
            noted.note(truth([image]))
            assert asked(noted) == question, "the question stays"
        noted.advance()
    assert torch.equal(at_once.scores, noted.scores)
    assert len(noted.rounds) == 3
    shown = next(event for event in noted.events if event.event == "asked")
    assert [one.image for one in noted.rounds[0].replies] == [one.image for one in shown.images]


def test_a_fit_made_in_advance_is_the_one_that_is_used():
    search, plain = session(), session()
    for one in (search, plain):
        one.note(truth(asked(one)))
    scores = search.scores
    search.prepare()
    assert torch.equal(search.scores, scores), "nothing happens before the answers are taken in"
    prepared = search._prepared[1]
    search.advance()
    plain.advance()
    assert search.state is prepared
    assert torch.equal(search.scores, plain.scores)


def test_a_fit_made_in_advance_is_not_used_after_another_note():
    search, plain = session(), session()
    question = asked(search)
    asked(plain)
    search.note({question[0]: True})
    search.prepare()
    search.note({question[1]: False})
    search.advance()
    plain.answer({question[0]: True, question[1]: False})
    assert torch.equal(search.scores, plain.scores)


def test_the_last_note_about_an_image_counts_and_a_withdrawn_one_does_not():
    search = session()
    first, second, third = asked(search)[:3]
    search.note({first: True, second: True, third: False})
    search.note({first: False}, withdrawn=[second])
    search.advance()
    assert [int(search.answers[image]) for image in (first, second, third)] == [-1, 0, -1]
    assert second in search.state.candidate[0].nonzero()[:, 0].tolist()
    with pytest.raises(ValueError, match="no answer that waits"):
        search.note({}, withdrawn=[second])


def test_images_that_were_not_asked_about_are_answered_by_the_region_that_scores_highest():
    search = session()
    question = asked(search)
    other = next(image for image in search.ranking() if image in STARS and image not in question and image != FIRST)
    search.note({other: True})
    reply = search.events[-1].replies[0]
    boxes = WORLD.descriptors.regions.of(other)
    block = WORLD.descriptors.read(torch.tensor([other]), True)
    scores = search.state.scorer.scores(block.local)[0]
    best = int(scores.argmax())
    assert (reply.region, reply.region_box) == (best, tuple(boxes[best].tolist()))
    assert reply.score == pytest.approx(float(scores[best]), abs=1e-5)
    search.advance()
    assert search.rounds[0].replies == ()
    assert [(one.image, one.score) for one in search.rounds[0].others] == [(str(other), reply.score)]
    assert int(search.answers[other]) == 1


@pytest.mark.parametrize("noted", [True, False])
def test_an_answer_is_corrected_and_trains_once(noted):
    search = session()
    image = asked(search)[0]
    search.note({image: True})
    search.advance()
    assert labels_of(search, image) == [1.0]
    if noted:
        search.note({image: False})
        search.advance()
    else:
        search.revoke([image])
        assert labels_of(search, image) == []
        search.note({image: False})
        search.advance()
    regions = len(WORLD.descriptors.regions.of(image))
    assert labels_of(search, image) == [-1.0] * regions
    again = Session(loop(WORLD.descriptors, REGIONS), MemoryLog(search.events))
    assert torch.equal(again.scores, search.scores)


def test_an_image_presumed_irrelevant_is_corrected():
    search = session()
    image = search.query.negatives[0]
    search.note({image: True})
    search.advance()
    assert labels_of(search, image) == [1.0]
    assert image not in search.query.negatives
    assert len(search.query.negatives) == 4


def test_images_that_are_noted_are_not_asked_about_by_another_criterion():
    search = session(criteria={"top": Top()})
    question = asked(search)
    ranked = [image for image in search.ranking() if image not in question and image != FIRST][:3]
    search.note(truth([*question[:2], *ranked]))
    search.use("top")
    assert not {*question[:2], *ranked} & set(asked(search))
    search.advance()
    assert {int(one.image) for one in search.rounds[0].others} == {*question[:2], *ranked}


def test_undoing_a_note_fits_nothing_and_undoing_a_round_brings_its_notes_back():
    search = session()
    question = asked(search)
    search.note({question[0]: True})
    search.note({question[1]: False})
    before = search.state
    assert isinstance(search.undo(), Noted)
    assert search.state is before
    assert set(search.pending) == {str(question[0])}
    search.advance()
    assert isinstance(search.undo(), Answered)
    assert set(search.pending) == {str(question[0])}
    assert asked(search) == question


def test_a_session_resumed_between_two_notes_goes_on_with_the_same_bits():
    search = session()
    search.note(truth(asked(search)))
    search.advance()
    question = asked(search)
    search.note(truth(question[:2]))
    again = Session(loop(WORLD.descriptors, REGIONS), MemoryLog(search.events))
    assert asked(again) == question
    assert set(again.pending) == {str(image) for image in question[:2]}
    for one in (search, again):
        one.note(truth(question[2:]))
        one.advance()
    assert asked(again) == asked(search)
    assert torch.equal(again.scores, search.scores)


@pytest.mark.parametrize(("image", "why"), [(FIRST, "is an example"), (60, "not one of"), (-1, "not one of")])
def test_notes_about_examples_and_images_that_are_not_there_are_refused(image, why):
    search = session()
    with pytest.raises(ValueError, match=why):
        search.note({image: False})


def test_progress_holds_the_answers_of_each_round_with_the_scores_they_were_asked_at():
    search = session(criteria={"top": Top()})
    first = search.ask()
    other = next(image for image in search.ranking() if image not in {FIRST, *(item.image for item in first)})
    at = float(search.scores[other])
    search.note({first[1].image: None, first[0].image: True, other: False})
    search.advance()
    search.use("top")
    second = search.ask()
    search.answer({second[2].image: True})
    turns = search.progress.turns
    assert [turn.criterion for turn in turns] == ["nearest", "by hand", "top"]
    assert [turn.image.tolist() for turn in turns] == [[i.image for i in first[:2]], [other], [second[2].image]]
    assert [turn.answer.tolist() for turn in turns] == [[1, 0], [-1], [1]]
    assert turns[0].score.tolist() == pytest.approx([item.score for item in first[:2]])
    assert turns[1].score.tolist() == pytest.approx([at])
    assert search.progress.found == 3, "the example among them"
    search.revoke([first[0].image])
    assert search.progress.found == 2
    assert [turn.image.tolist() for turn in search.progress.turns] == [[first[1].image], [other], [second[2].image]]


def test_a_question_stays_while_the_collection_grows_but_for_images_that_are_gone():
    names = [f"content {image}" for image in range(60)]
    search = session(images=Images(60, names))
    question = asked(search)
    search.note({question[0]: True})
    others = [name if image != question[1] else "another photograph" for image, name in enumerate(names)]
    search.grow(loop(WORLD.descriptors, REGIONS), Images(60, others))
    assert asked(search) == [question[0], *question[2:]]
    assert set(search.pending) == {names[question[0]]}
    search.advance()
    assert [one.image for one in search.rounds[0].replies] == [names[question[0]]]
