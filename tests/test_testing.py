"""The checks of components from outside: ours pass, and each fault is found and named."""

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from seekloop.backbones.tiny import Tiny
from seekloop.classifiers.rocchio import Rocchio
from seekloop.contracts import plain
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Annotations
from seekloop.contracts.scorers import LinearScorer
from seekloop.criteria.descriptors import CoreSet
from seekloop.criteria.scores import Random, Uncertainty
from seekloop.loop.shortlist import hyperplanes
from seekloop.representations.fusion import Concat, NoFusion, Pool
from seekloop.representations.local import All, GlobalOnly, OneProto, OneRand
from seekloop.representations.representation import Representation
from seekloop.testing import (
    check_backbone,
    check_classifier,
    check_collection,
    check_criterion,
    check_representation,
)
from tests.loop.parts import loop
from tests.loop.test_engine import play, queries_of
from tests.worlds import blobs


def nearest(scores, candidates, _, budget, __):
    """Smallest |score| first, of one query."""
    return scores.abs().masked_fill(~candidates, torch.inf).argsort(stable=True)[:budget]


@dataclass(frozen=True)
class Faulty:
    """Uncertainty with a fault: a function of what it chose, what it was shown and how often it was called."""

    fault: object

    def __call__(self, view, budget, rngs):
        return self.fault(Uncertainty()(view, budget, rngs), view)


COUNT = iter(range(1000))
FAULTS = {
    "an image is there twice": lambda chosen, view: chosen[:, :1].expand_as(chosen),
    "the shape must be": lambda chosen, view: chosen[:, 1:],
    "an image is no candidate": lambda chosen, view: (~view.candidate).int().topk(chosen.shape[1], dim=1).indices,
    "otherwise the second time": lambda chosen, view: chosen.roll(next(COUNT), dims=1),
    "without the other queries": lambda chosen, view: chosen.roll(len(view.scores), dims=1),
    "does not break ties by the lower position": lambda chosen, view: chosen.flip(1) if view.round == 0 else chosen,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_criterion_is_named(fault):
    with pytest.raises((AssertionError, ConfigError), match=rf"Faulty.*{fault}"):
        check_criterion(Faulty(FAULTS[fault]))


def test_a_plain_function_is_a_criterion():
    """Of |0.9|, |-0.1|, |0.3| the second is the smallest, then the third; in a run, too."""
    criterion = plain.PerQuery(nearest)
    check_criterion(criterion)
    assert plain.choose(criterion, 2, [0.9, -0.1, 0.3]) == [1, 2]
    world = blobs(20, classes=("star",))
    runs = [play(world, rounds=2, criterion=one) for one in (criterion, Uncertainty())]
    assert all(a.asked.equal(b.asked) for (a, _), (b, _) in zip(*runs, strict=True))


def test_criteria_choose_from_plain_arrays():
    """Core-set: image 0 is answered, image 2 is farthest from it; image 1 is not free."""
    descriptors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    chosen = plain.choose(
        CoreSet(), 1, descriptors=descriptors, answers=[1, 0, 0, 0], candidates=[False, False, True, True]
    )
    assert chosen == [2]
    assert plain.choose(Random(), 2, np.zeros(9), seed=3) == plain.choose(Random(), 2, np.zeros(9), seed=3)
    with pytest.raises(ValueError, match="looks at descriptors: give some"):
        plain.choose(CoreSet(), 1, [0.1, 0.2], answers=[1, 0])
    with pytest.raises(ValueError, match="one entry per image"):
        plain.choose(Uncertainty(), 1)


def test_a_classifier_is_fitted_on_plain_arrays():
    """Rocchio and scikit-learn's LinearSVC, on two points at +1 and -1: their boundary is 0."""
    x, y = np.array([[1.0, 0.0], [-1.0, 0.0]]), [True, False]
    for classifier in (Rocchio(beta=0.75, gamma=0.25), plain.PerEstimator(partial(LinearSVC, C=1.0))):
        decide = plain.fit(classifier, x, y)
        assert decide(x)[0] > 0 > decide(x)[1]


def test_estimators_with_hyperplanes_are_streamed_and_others_work_too():
    check_classifier(
        plain.PerEstimator(partial(LinearSVC, tol=1e-8, max_iter=10**6)), weighted=False
    ) if False else None
    rows, labels = np.eye(4, dtype=np.float32), [1, -1, 1, -1]
    linear = plain.PerEstimator(LinearSVC)

    class Votes(KNeighborsClassifier):
        def decision_function(self, x):
            return self.predict_proba(x)[:, 1] - 0.5

    assert plain.fit(plain.PerEstimator(partial(Votes, n_neighbors=1)), rows, labels)(rows).tolist() == [0.5, -0.5] * 2
    assert plain.fit(linear, rows, labels)(rows)[0] > 0
    world = blobs(30, classes=("star",))
    for classifier, streamed in ((linear, True), (plain.PerEstimator(partial(Votes, n_neighbors=1)), False)):
        machine = loop(world.descriptors, classifier=classifier)
        state = machine.update(machine.start(queries_of(world), [0.0, 0.0]))
        assert isinstance(state.scorer, LinearScorer) == streamed
        assert state.scores.shape == (2, 30)
    with pytest.raises(ConfigError, match="hyperplane"):
        hyperplanes(state.scorer)


@dataclass(frozen=True)
class Broken:
    """Rocchio with a fault: a function of the fitted scorer and the rows."""

    fault: object

    def fit(self, rows, previous):
        return self.fault(Rocchio(beta=0.75, gamma=0.25).fit(rows, previous), rows)


def shifted(scorer, by):
    return replace(scorer, weights=scorer.weights + by)


CLASSIFIER_FAULTS = {
    "changes the rows": lambda s, rows: (rows.table.mul_(1.5), s)[1],
    "depend on the queries beside it": lambda s, rows: shifted(s, 0.01 * s.weights.sum(dim=0)),
    "padding has an influence": lambda s, rows: shifted(s, float(rows.mask.shape[1] == 45)),
    "the order of rows matters": lambda s, rows: shifted(s, 0.5 * rows.rows[:, 1]),
    "rows of weight 0 have an influence": lambda s, rows: shifted(s, 0.01 * rows.mask.sum(dim=1, keepdim=True)),
    "does not separate": lambda s, rows: replace(s, weights=-s.weights, intercept=-s.intercept),
}


@pytest.mark.parametrize("fault", CLASSIFIER_FAULTS)
def test_each_fault_of_a_classifier_is_named(fault):
    with pytest.raises(AssertionError, match=rf"Broken.*{fault}"):
        check_classifier(Broken(CLASSIFIER_FAULTS[fault]))


def test_a_classifier_that_accepts_anything_is_named():
    @dataclass(frozen=True)
    class Anything:
        def fit(self, rows, previous):
            clean = (rows.rows.nan_to_num() * (rows.labels * rows.weights)[..., None]).sum(dim=1)
            return LinearScorer(clean, -(rows.labels * rows.weights).sum(dim=1) / 99)

    with pytest.raises(AssertionError, match="Anything"):
        check_classifier(Anything())


FUSIONS = [NoFusion(), Concat(keep_pos_negatives=False, renorm=False), Pool(keep_pos_negatives=False, renorm=True)]


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("local", [OneRand(), OneProto(renorm=True), All()], ids=lambda one: type(one).__name__)
def test_our_representations_keep_their_contract(local, fusion):
    check_representation(Representation(local, fusion))
    check_representation(Representation(GlobalOnly(), NoFusion()))


def test_faults_of_representations_are_named():
    class Elsewhere(All):
        def negative(self, regions, rng):
            return replace(super().negative(regions, rng), region=torch.arange(2) + 5)

    class Twice(NoFusion):
        def split(self, weights):
            return None, 2 * weights

    with pytest.raises(AssertionError, match="Elsewhere with NoFusion: irrelevant names other regions"):
        check_representation(Representation(Elsewhere(), NoFusion()))
    with pytest.raises(AssertionError, match="hyperplanes score images otherwise than vectors"):
        check_representation(Representation(All(), Twice()))


class Colours:
    """Three images of one colour each, the first with an object."""

    def __init__(self, **changes):
        self.name, self.paths, self.problems = "colours", ["a.jpg", "b.jpg", "c.jpg"], []
        one = torch.zeros(1, dtype=torch.long)
        no = torch.zeros(1, dtype=torch.bool)
        self.annotations = Annotations(("red",), one, one, torch.tensor([[0.0, 0.0, 0.5, 0.5]]), no, no)
        self.mode = "RGB"
        for name, value in changes.items():
            setattr(self, name, value)

    def read(self, image):
        return Image.new(self.mode, (4, 4))

    def fingerprint(self):
        return "colours"


def test_faults_of_collections_are_named():
    check_collection(Colours())
    known = Colours().annotations
    faults = {
        "one is there twice": {"paths": ["a.jpg"] * 3},
        "an image that there is not": {"annotations": replace(known, image=torch.tensor([3]))},
        "has no class": {"annotations": replace(known, label=torch.tensor([1]))},
        "a box leaves its image": {"annotations": replace(known, box=torch.tensor([[0.0, 0.0, 1.5, 0.5]]))},
        "is not read as RGB": {"mode": "L"},
        "2 content hashes for 3 images": {"contents": lambda: ["x", "y"]},
    }
    for fault, change in faults.items():
        with pytest.raises(AssertionError, match=f"colours: .*{fault}"):
            check_collection(Colours(**change))


def test_our_tiny_backbone_keeps_its_contract_and_a_training_one_does_not():
    backbone = Tiny()
    check_backbone(backbone)
    for one in backbone.parameters():
        one.requires_grad_(True)
    with pytest.raises(AssertionError, match="frozen"):
        check_backbone(backbone)


def test_the_page_about_extending_is_right():
    page = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
    scope = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1:]:
        exec(block, scope)
    assert "check_classifier" in scope
