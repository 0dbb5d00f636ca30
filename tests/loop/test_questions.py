"""The check of a criterion's choice, and the state that an update leaves alone."""

from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Answer, Example, Feedback, Query
from seekloop.criteria.scores import Top
from tests.loop.parts import loop
from tests.worlds import blobs

QUERIES = (Query("star", 0, (Example(0),), (1,)), Query("moon", 3, (Example(4),), (5,)))
WORLD = blobs(8, classes=("star",)).descriptors


@dataclass(frozen=True)
class Returning:
    """Returns the same whatever it is shown."""

    choice: object

    def __call__(self, view, budget, rngs):
        return self.choice


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ([[2, 3], [6, 6]], r"returned \[6, 6\] for query 3 of class 'moon': an image is there twice"),
        ([[2, 0], [6, 7]], r"returned \[2, 0\] for query 0 of class 'star': an image is no candidate"),
        ([[2, 3], [8, 6]], r"returned \[8, 6\] for query 3 of class 'moon': the collection has images 0 to 7"),
        ([[2, -1], [6, 7]], r"returned \[2, -1\] for query 0 of class 'star': the collection has"),
        ([[2], [3]], r"returned a tensor of shape \(2, 1\): the shape must be \(2, 2\)"),
        ([[2.0, 3.0], [6.0, 7.0]], r"returned a tensor of torch.float32: positions are a tensor of whole numbers"),
    ],
)
def test_a_wrong_choice_is_told_with_criterion_round_query_and_choice(choice, message):
    machine = loop(WORLD, criterion=Returning(torch.tensor(choice)))
    state = machine.update(machine.start(QUERIES, [0.0, 0.0]))
    with pytest.raises(ConfigError, match=f"^criterion='Returning' cannot work: in round 0 it {message}.*distinct"):
        machine.propose(state, budget=2)


def test_what_is_no_tensor_is_told_too():
    machine = loop(WORLD, criterion=Returning(np.array([[2, 3], [6, 7]])))
    with pytest.raises(ConfigError, match="in round 0 it returned ndarray: positions are a tensor"):
        machine.propose(machine.update(machine.start(QUERIES, [0.0, 0.0])), budget=2)


def test_a_right_choice_is_asked_as_it_is():
    machine = loop(WORLD, criterion=Returning(torch.tensor([[3, 2], [6, 0]])))
    state = machine.update(machine.start(QUERIES, [0.0, 0.0]))
    assert machine.propose(state, budget=2).image.tolist() == [[3, 2], [6, 0]]


def test_another_criterion_needs_no_update():
    machine = loop(WORLD)
    state = machine.update(machine.start(QUERIES, [0.0, 0.0]))
    masked = state.scores.masked_fill(~state.candidate, -torch.inf)
    assert machine.propose(state, Top(), budget=3).image.equal(masked.topk(3, dim=1).indices)


def test_an_update_leaves_the_state_before_it_alone():
    machine = loop(WORLD)
    before = machine.update(machine.start(QUERIES, [1.0, 2.0]))
    kept = {one.name: getattr(before, one.name) for one in fields(before)}
    copies = {name: value.clone() for name, value in kept.items() if isinstance(value, torch.Tensor)}
    after = machine.update(before, [[Feedback(2, Answer.RELEVANT, None, 1.5)], []])
    assert all(kept[name].equal(copy) for name, copy in copies.items())
    assert (before.round, after.round) == (0, 1)
    assert (len(before.rows[0].image), len(after.rows[0].image)) == (2, 3)
    assert after.seconds.tolist() == [2.5, 2.0]
    assert after.answers[0].tolist() == [1, -1, 1, 0, 0, 0, 0, 0]
