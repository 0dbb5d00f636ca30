"""Algorithm 1 with a network that only looks the images up."""

from dataclasses import replace

import pytest
import torch

from seekloop.contracts.learning import Evaluation, PseudoLabels
from seekloop.contracts.randomness import derived_seed
from seekloop.criteria.scores import Random
from seekloop.learning.cycles import Learning, Learnt, PseudoLabeller, State, view_of
from seekloop.learning.tables import per_class, summarise, tables_of
from tests.learning.worlds import dataset

DATASET = dataset(10)


class LookedUp:
    """Knows every image whose label it was given, and takes all others for class 0."""

    def __init__(self):
        self.tasks = []

    def __call__(self, task):
        self.tasks.append(task)
        known = task.labels.clamp(min=0)
        sure = torch.nn.functional.one_hot(known, 3).float() * 0.8 + 0.2 / 3
        evaluation = Evaluation(torch.eye(len(known))[:, :6], sure)
        return Learnt(evaluation, sure[: len(DATASET.test)], [{"stage": "supervised", "epoch": 0, "loss": 1.0}], None)


class Sure(Random):
    """Draws at random; takes the lowest two unlabelled images for class 2."""

    def pseudo_labels(self, probabilities, unlabelled, cycle):
        first = unlabelled.nonzero()[:2, 0]
        labels = torch.full((len(probabilities),), -1)
        labels[first] = 2
        return PseudoLabels(labels, (labels >= 0).float())


def learning(criterion=None, split=0, budget=4):
    labeller = criterion if isinstance(criterion, PseudoLabeller) else None
    return Learning(DATASET, criterion or Random(), LookedUp(), 6, budget, 0, split, labeller)


def asked_by(chosen, count=4, state=None):
    return [cycle.asked.tolist() for cycle, _ in chosen.cycles(state or chosen.start(), count)]


def test_labels_grow_by_the_budget_and_nobody_is_asked_twice():
    chosen = learning()
    turns = list(chosen.cycles(chosen.start(), 4))
    assert [int((task.labels >= 0).sum()) for task in chosen.fit.tasks] == [6, 10, 14, 18]
    asked = turns[-1][1].asked
    assert len(asked) == len(set(asked.tolist())) == 18
    assert [len(cycle.asked) for cycle, _ in turns] == [4, 4, 4, 0]
    for task in chosen.fit.tasks:
        known = task.labels >= 0
        assert (task.labels[known] == DATASET.train.labels[known]).all()


def test_it_goes_on_from_any_cycle_as_if_nothing_had_happened():
    whole = learning()
    states = [whole.start(), *(after for _, after in whole.cycles(whole.start(), 4))]
    for done, state in enumerate(states[:-1]):
        rest = asked_by(learning(), state=State.unpack(state.pack()))
        assert rest == asked_by(learning())[done:]


def test_the_first_labels_depend_on_the_split_and_not_on_the_criterion():
    assert learning().start().asked.tolist() == learning(Sure()).start().asked.tolist()
    assert learning(split=1).start().asked.tolist() != learning().start().asked.tolist()


def test_all_images_can_have_a_label_from_the_start():
    assert replace(learning(), initial=None).start().asked.tolist() == list(range(len(DATASET.train)))


def test_the_criterions_own_labels_reach_the_next_training():
    """They are of images that nobody was asked about, those just asked included; the state keeps them."""
    chosen = learning(Sure())
    turns = list(chosen.cycles(chosen.start(), 3))
    first, second, _ = chosen.fit.tasks
    assert first.extra is None
    own = (second.extra.labels >= 0).nonzero()[:, 0]
    assert len(own) == 2
    assert (second.labels[own] == -1).all()
    restored = State.unpack(turns[0][1].pack())
    assert restored.extra.labels.tolist() == second.extra.labels.tolist()


def test_a_criterion_sees_no_truth():
    """Changing the labels of images that nobody asked about changes nothing that the criterion is shown."""
    known = torch.tensor([1, -1, -1, 0])
    seen = view_of(Evaluation(torch.eye(4), torch.tensor([[0.7, 0.3]]).repeat(4, 1)), known, 2)
    assert seen.scores.tolist() == [pytest.approx([0.4] * 4)]
    assert seen.candidate.tolist() == [[False, True, True, False]]
    assert seen.answers.tolist() == [[1, 0, 0, 1]]
    assert seen.probabilities.shape == (1, 4, 2)
    assert seen.round == 2


def test_tables_of_a_cycle_by_hand():
    """Ten test images per class, looked up by position: those below the labelled ones are taken for class 0."""
    chosen = learning()
    cycle, _ = next(chosen.cycles(chosen.start(), 2))
    tables = tables_of(cycle, DATASET, 0, 1.5)
    (row,) = tables["cycles"].to_dict("records")
    right = 10 + int((chosen.start().asked % 3 != 0).sum())  # class 0 always, the others where they were looked up
    assert row["accuracy"] == pytest.approx(right / 30)
    assert row["labels"] == 6
    assert tables["classes"]["labels"].tolist() == [2, 2, 2]
    assert tables["classes"]["asked"].sum() == 4
    assert tables["confusion"]["images"].sum() == 30
    assert tables["asked"]["image"].tolist() == cycle.asked.tolist()
    assert (tables["asked"]["predicted"] == "red").all()
    assert tables["asked"]["margin"].tolist() == pytest.approx([0.8] * 4)
    assert per_class(tables["classes"])["class_name"].tolist() == ["red", "green", "blue"]


def test_the_summary_by_hand():
    """Accuracy 0.2, 0.4, 0.8 with 10, 20, 30 labels: area (0.2 / 2 + 0.4 + 0.8 / 2) / 2 = 0.45."""
    import pandas as pd

    columns = {"cycle": [0, 1, 2], "labels": [10, 20, 30], "accuracy": [0.2, 0.4, 0.8], "pseudo_accuracy": [None] * 3}
    found = summarise(pd.DataFrame(columns))
    assert found["accuracy_auc"] == pytest.approx(0.45)
    assert (found["accuracy_final"], found["accuracy_20"], found["labels_final"]) == (0.8, 0.4, 30)
    assert "pseudo_accuracy" not in found


def test_seeds_do_not_collide():
    """Every purpose of a run has a seed of its own."""
    purposes = [(split, cycle, word) for split in range(5) for cycle in range(5) for word in ("network", "criterion")]
    assert len({derived_seed(0, *purpose) for purpose in purposes}) == len(purposes)
