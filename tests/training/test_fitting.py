"""Training small networks: that they learn, that it repeats, that an interrupted training ends the same."""

import logging
from dataclasses import replace

import pytest
import torch

from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.learning import PseudoLabels
from seekloop.contracts.randomness import generator
from seekloop.graphs.propagation import LabelPropagation
from seekloop.learning.cycles import Task
from seekloop.learning.descent import Training
from seekloop.learning.measures import accuracy, confusion, pseudo_label_measures
from seekloop.learning.schemes import LabelledOnly, PropagatedLabels
from seekloop.learning.splits import balanced, revealed
from seekloop.training.fitting import LightningFit, load_features, together
from seekloop.training.views import Pictures, view
from tests.learning.worlds import Smalls, dataset

DATASET = dataset()
TRAINING = Training(
    epochs=5,
    iterations=4,
    batch=6,
    lr=0.1,
    horizon=7,
    momentum=0.9,
    weight_decay=2e-4,
    augmented_views=False,
    view_batch=16,
    precision="32-true",
    channels_last=False,
)
SEMI = PropagatedLabels(
    warmup=2,
    batch=8,
    labelled=3,
    share=0.5,
    weighted_sampling=True,
    replacement=False,
    weighted_loss=True,
    class_weights=True,
)
PROPAGATION = LabelPropagation(
    neighbours=5, kind="reciprocal", power=3, clamp=True, alpha=0.99, iterations=20, tolerance=1e-6
)


class Kept:
    """Keeps every epoch; hands out the one that a test wants to go on from."""

    def __init__(self, start=None):
        self.start, self.all = start, []

    def keep(self, cycle, checkpoint):
        import copy

        self.all.append(copy.deepcopy({"cycle": cycle, **checkpoint}))

    def kept(self, cycle):
        return self.start if self.start and self.start["cycle"] == cycle else None


def fit(scheme=SEMI, keeper=None, **changes):
    settings = {
        "dataset": DATASET,
        "source": Smalls(),
        "training": TRAINING,
        "scheme": scheme,
        "propagation": PROPAGATION,
        "weights": None,
        "seed": 0,
        "split": 0,
        "accelerator": "cpu",
        "keeper": keeper or Kept(),
        "watch": lambda known, labels: pseudo_label_measures(known, DATASET.train.labels, labels),
        "tell": lambda *_: None,
    }
    return LightningFit(**(settings | changes))


def task(cycle=0, extra=None):
    first = balanced(DATASET.train.labels, 3, 6, generator(0, "initial"))
    return Task(cycle, revealed(DATASET.train.labels, first), extra)


@pytest.fixture(scope="module")
def whole():
    keeper = Kept()
    return fit(keeper=keeper)(task()), keeper


def test_it_learns_what_six_labels_tell(whole):
    learnt, _ = whole
    assert accuracy(confusion(DATASET.test.labels, learnt.test.argmax(dim=1), 3)) > 0.9
    torch.testing.assert_close(learnt.train.features.norm(dim=1), torch.ones(len(DATASET.train)))
    torch.testing.assert_close(learnt.train.probabilities.sum(dim=1), torch.ones(len(DATASET.train)))


def test_a_warm_up_comes_first_and_pseudo_labels_are_measured_every_epoch(whole):
    learnt, _ = whole
    assert [(row["stage"], row["epoch"]) for row in learnt.epochs] == [
        ("supervised", 0),
        ("supervised", 1),
        ("semi", 0),
        ("semi", 1),
        ("semi", 2),
    ]
    assert all("pseudo_accuracy" in row for row in learnt.epochs[2:])
    assert not any("pseudo_accuracy" in row for row in learnt.epochs[:2])
    assert {row["iterations"] for row in learnt.epochs} == {4}


def test_the_learning_rate_by_hand(whole):
    """Three of five epochs: a horizon of 4, not 7. 0.1 x (1 + cos(pi (e + 3/4) / 4)) / 2 in an epoch's last batch."""
    rates = [row["lr"] for row in whole[0].epochs if row["stage"] == "semi"]
    angles = torch.tensor([0.75, 1.75, 2.75]) * torch.pi / 4
    assert rates == pytest.approx((0.05 * (1 + angles.cos())).tolist())


def test_only_the_first_propagation_is_over_the_graph_of_pixels():
    """And not the first one after a kill either."""
    by_pixels = PROPAGATION(DATASET.train.images.flatten(1).float(), task().labels, 3)

    def are_by_pixels(first, start=None):
        seen, keeper = [], Kept(start)
        fit(replace(SEMI, first=first), keeper, watch=lambda known, _: seen.append(known) or {})(task())
        return [torch.equal(known.weights, by_pixels.weights) for known in seen], keeper.all

    found, kept = are_by_pixels("pixels")
    assert found == [True, False, False]
    assert are_by_pixels("pixels", kept[2])[0] == [False, False]  # two epochs of warm-up and one after it are done
    assert are_by_pixels("network")[0] == [False, False, False]


def without_clocks(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("done", range(5))
def test_killed_after_any_epoch_it_ends_the_same(whole, done):
    expected, keeper = whole
    learnt = fit(keeper=Kept(keeper.all[done]))(task())
    assert torch.equal(learnt.test, expected.test)
    assert torch.equal(learnt.train.features, expected.train.features)
    assert without_clocks(learnt.epochs) == without_clocks(expected.epochs)


def test_the_same_settings_give_the_same_result_and_leave_torchs_generator_alone(whole):
    before = torch.random.get_rng_state()
    torch.manual_seed(99)
    assert torch.equal(fit()(task()).test, whole[0].test)
    torch.random.set_rng_state(before)
    fit(LabelledOnly())(task())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_cycles_splits_and_seeds_differ(whole):
    for other in (fit()(task(cycle=1)), fit(split=1)(task()), fit(seed=1)(task())):
        assert not torch.equal(other.test, whole[0].test)


def test_views_do_not_depend_on_how_many_images_are_looked_at_once():
    network, pictures = Smalls().build(3, 0), Pictures(DATASET.train.images, DATASET)
    one, other = (view(network, pictures, size, "32-true", None) for size in (7, 60))
    torch.testing.assert_close(one.features, other.features)
    assert network.training


def test_augmented_views_are_of_moved_images():
    plain = fit(LabelledOnly())(task())
    moved = fit(LabelledOnly(), training=replace(TRAINING, augmented_views=True))(task())
    assert torch.equal(plain.test, moved.test)
    assert not torch.equal(plain.train.features, moved.train.features)


def test_a_frozen_network_learns_its_head_alone():
    source = Smalls(frozen=True)
    before = source.build(3, 0)
    keeper = Kept()
    learnt = fit(LabelledOnly(), keeper, source=source)(task())
    trained, started = (checkpoint["network"] for checkpoint in (keeper.all[-1], keeper.all[0]))
    assert torch.equal(trained["convolution.weight"], started["convolution.weight"])
    assert not torch.equal(trained["head.weight"], started["head.weight"])
    assert learnt.train.features.shape == (len(DATASET.train), before.dim)


def test_the_criterions_own_labels_are_trained_on():
    """All others are told to be of class 0: it is then all that is predicted."""
    labels = task().labels
    extra = PseudoLabels(torch.where(labels < 0, 0, -1), (labels < 0).float())
    known = together(labels, extra)
    assert torch.equal(known.labels[labels >= 0], labels[labels >= 0])
    assert (known.labels[labels < 0] == 0).all()
    longer = replace(TRAINING, epochs=6)
    assert (fit(LabelledOnly(), training=longer)(task(extra=extra)).test.argmax(dim=1) == 0).all()


def test_a_loss_that_is_no_number_stops_with_a_word_about_the_rate():
    class Broken(Smalls):
        def build(self, classes, seed):
            network = super().build(classes, seed)
            with torch.no_grad():
                network.head.bias[0] = float("nan")
            return network

    with pytest.raises(
        ConfigError, match=r"Training: lr=0.1 cannot work: the loss is nan in epoch 0 \(supervised\).*Try a tenth"
    ):
        fit(LabelledOnly(), source=Broken())(task())


def test_weights_of_another_network_are_refused(tmp_path):
    network = Smalls().build(3, 0)
    torch.save({"convolution.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(StoreError, match=r"other.pt holds the weights of another network: 2 parts differ"):
        load_features(network, tmp_path / "other.pt")
    (tmp_path / "broken.pt").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"broken.pt is damaged"):
        load_features(network, tmp_path / "broken.pt")
    saved = Smalls().build(5, 1)
    torch.save({name: value for name, value in saved.state_dict().items() if "head" not in name}, tmp_path / "own.pt")
    head = network.head.weight.clone()
    load_features(network, tmp_path / "own.pt")
    assert torch.equal(network.convolution.weight, saved.convolution.weight)
    assert torch.equal(network.head.weight, head)


def test_a_warm_up_must_leave_an_epoch():
    with pytest.raises(ConfigError, match=r"PropagatedLabels: warmup=2 .* a cycle has 2 epochs"):
        fit(training=replace(TRAINING, epochs=2))(task())


def test_lightning_speaks_again_afterwards():
    before = logging.getLogger("pytorch_lightning").level
    fit(LabelledOnly())(task())
    assert logging.getLogger("pytorch_lightning").level == before
