import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Annotations, Answer, Example, Query, Text
from seekloop.protocol.simulated_user import SimulatedUser

BOX = torch.tensor([0.2, 0.4, 0.6, 0.5])
EVERY_OTHER = Annotations(
    ("cat",),
    torch.arange(0, 2000, 2),
    torch.zeros(1000, dtype=torch.long),
    BOX.repeat(1000, 1),
    torch.zeros(1000, dtype=torch.bool),
    torch.zeros(1000, dtype=torch.bool),
)
QUERY = Query("cat", 0, (Example(0, BOX),))


def user(**changes):
    settings = {
        "annotations": EVERY_OTHER,
        "seed": 0,
        "draws_boxes": True,
        "label_noise": 0.0,
        "missed": 0.0,
        "unsure": 0.0,
        "box_jitter": 0.0,
        "click_seconds": 1.8,
        "box_seconds": 2.8,
    }
    return SimulatedUser(**settings | changes)


def answers(someone, images=range(2000), box_wanted=False):
    return [someone.answer(QUERY, image, 1, box_wanted) for image in images]


def test_a_perfect_user_says_what_is_there_and_takes_its_time():
    """A click 1.8 s; a relevant image with its box 1.8 + 2.8 s."""
    here, not_here = answers(user(), [4, 5])
    assert (here.answer, not_here.answer) == (Answer.RELEVANT, Answer.IRRELEVANT)
    assert here.box.equal(BOX)
    assert not_here.box is None
    assert (here.seconds, not_here.seconds) == (pytest.approx(4.6), 1.8)


def test_no_box_is_drawn_where_none_is_used():
    (here,) = answers(user(draws_boxes=False), [4])
    assert here.box is None
    assert here.seconds == 1.8


@pytest.mark.parametrize(
    ("boxes", "unasked", "asked"), [("always", 4.6, 4.6), ("asked", 1.8, 4.6), ("never", 1.8, 1.8)]
)
@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_a_box_takes_its_time_where_one_is_drawn(boxes, unasked, asked, jitter):
    """Image 4 is relevant, 5 is not, whatever is wanted there. The first example has its box all the same."""
    someone = user(boxes=boxes, box_jitter=jitter)
    for wanted, seconds in ((False, unasked), (True, asked)):
        here, not_here = answers(someone, [4, 5], wanted)
        assert here.seconds == pytest.approx(seconds)
        assert (here.box is None) == (seconds < 2)
        assert (not_here.box, not_here.seconds) == (None, 1.8)
    assert someone.seed_seconds(QUERY) == pytest.approx(4.6)


def test_beginning_costs_a_click_per_image_and_for_the_words_and_a_box_per_example():
    """Two negatives: 3 x 1.8 + 2.8 with a box, 3 x 1.8 with words, 4 x 1.8 + 2.8 with both; without boxes, no 2.8."""
    shown, words = (Example(0, BOX),), Text("a cat", torch.ones(2))
    begun = [Query("cat", 0, shown, (1, 3)), Query("cat", 0, (), (1, 3), words), Query("cat", 0, shown, (1, 3), words)]
    assert [user().seed_seconds(query) for query in begun] == pytest.approx([8.2, 5.4, 10.0])
    assert [user(draws_boxes=False).seed_seconds(query) for query in begun] == pytest.approx([5.4, 5.4, 7.2])


def share(feedback, answer):
    return sum(f.answer is answer for f in feedback) / len(feedback)


def test_faults_happen_as_often_as_asked_for():
    """Half of 2000 images are relevant; three standard deviations of a share of 0.2 of 1000 are 0.038."""
    assert share(answers(user(unsure=0.2)), Answer.UNSURE) == pytest.approx(0.2, abs=0.03)
    assert share(answers(user(missed=0.2), range(0, 2000, 2)), Answer.IRRELEVANT) == pytest.approx(0.2, abs=0.04)
    assert share(answers(user(missed=0.2), range(1, 2000, 2)), Answer.IRRELEVANT) == 1
    assert share(answers(user(label_noise=0.2), range(0, 2000, 2)), Answer.RELEVANT) == pytest.approx(0.8, abs=0.04)
    assert share(answers(user(label_noise=0.2), range(1, 2000, 2)), Answer.RELEVANT) == pytest.approx(0.2, abs=0.04)


def test_jitter_moves_every_side_in_proportion_to_the_box():
    boxes = torch.stack([f.box for f in answers(user(box_jitter=0.1), range(0, 2000, 2))])
    spread = (boxes - BOX).std(dim=0)
    torch.testing.assert_close(spread, torch.tensor([0.04, 0.01, 0.04, 0.01]), rtol=0.1, atol=0)
    assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()


def test_an_answer_depends_on_the_image_not_on_the_round():
    careless = user(label_noise=0.5)
    assert [f.answer for f in answers(careless, range(50))] == [
        careless.answer(QUERY, image, 9, True).answer for image in range(50)
    ]


def test_impossible_faults_are_refused():
    with pytest.raises(ConfigError, match=r"SimulatedUser: label_noise=1\.5 cannot work"):
        user(label_noise=1.5)
