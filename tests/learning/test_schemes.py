import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import PseudoLabels
from seekloop.contracts.randomness import generator
from seekloop.learning.schemes import LabelledOnly, PropagatedLabels

LABELS = torch.tensor([0, 1, -1, -1, -1, -1, -1, -1])
KNOWN = PseudoLabels(torch.tensor([0, 1, 0, 0, 0, 0, 1, -1]), torch.tensor([1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.0]))


def scheme(**changes):
    settings = {"warmup": 0, "batch": 4, "labelled": 2, "share": 0.5, "weighted_sampling": True, "replacement": False}
    return PropagatedLabels(**(settings | {"weighted_loss": False, "class_weights": False} | changes))


def plan(chosen, known=KNOWN, iterations=None, seed=0):
    return chosen.plan(LABELS, known, 2, 3, iterations, generator(seed))


def test_half_of_the_unlabelled_images_are_drawn():
    """Six are unlabelled, so three are drawn, and two go into each batch: one whole batch."""
    images, weights = plan(scheme())
    assert images.shape == (1, 4)
    assert set(images[0, :2].tolist()) == {0, 1}
    assert set(images[0, 2:].tolist()) <= {2, 3, 4, 5, 6}
    assert weights.tolist() == [1.0] * 8


def test_certain_pseudo_labels_are_drawn_more_often_if_wanted():
    """One image of weight 1 beside four of 1 in 10,000: two draws with replacement are nearly always that one.

    Evenly drawn, image 2 would take one place in five.
    """
    sure = PseudoLabels(KNOWN.labels, torch.tensor([1.0, 1.0, 1.0, 1e-4, 1e-4, 1e-4, 1e-4, 0.0]))
    shares = {}
    for weighted in (True, False):
        chosen = scheme(weighted_sampling=weighted, replacement=True, share=1.0)
        drawn = torch.cat([plan(chosen, sure, seed=seed)[0][:, 2:].flatten() for seed in range(40)])
        shares[weighted] = float((drawn == 2).double().mean())
    assert shares[True] > 0.98
    assert 0.1 < shares[False] < 0.3


@pytest.mark.parametrize("replacement", [True, False])
def test_a_pseudo_label_is_drawn_again_only_with_replacement(replacement):
    """Five have a pseudo-label and six draws are wanted: with replacement some come twice, without it none does."""
    images, _ = plan(scheme(share=1.0, replacement=replacement, labelled=3))
    drawn = images[:, 3:].flatten().tolist()
    assert len(drawn) == (6 if replacement else 5)
    assert (len(set(drawn)) < len(drawn)) == replacement


def test_an_image_without_a_label_is_never_trained_on():
    for seed in range(50):
        images, _ = plan(scheme(share=1.0, weighted_sampling=False), seed=seed)
        assert 7 not in images


def test_weights_in_the_loss_by_hand():
    """Labels 0, 1, 0, 0, 0, 0, 1: seven in two classes, so class 0 counts 3.5 / 5 and class 1 counts 3.5 / 2."""
    _, weights = plan(scheme(weighted_loss=True, class_weights=True))
    torch.testing.assert_close(weights[:3], torch.tensor([0.7, 1.75, 0.63]))
    torch.testing.assert_close(weights[6], torch.tensor(0.875))


def test_without_any_pseudo_label_labelled_images_are_left():
    """No path to any label: only images 0 and 1 are known."""
    nothing = PseudoLabels(LABELS, (LABELS >= 0).float())
    images, _ = plan(scheme(), nothing, iterations=3)
    assert images.shape == (3, 2)
    assert set(images.flatten().tolist()) == {0, 1}


def test_every_arm_makes_the_number_of_steps_it_is_told():
    assert len(plan(scheme(), iterations=7)[0]) == len(plan(LabelledOnly(), iterations=7)[0]) == 7


def test_labelled_only_takes_what_has_a_weight():
    """CEAL's labels count like answers; those of its released code have weight 0 and are never seen."""
    own = PseudoLabels(torch.tensor([0, 1, 1, 0, -1, -1, -1, -1]), torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 0]))
    images, weights = LabelledOnly().plan(LABELS, own, 2, 3, None, generator(0))
    assert set(images.flatten().tolist()) == {0, 1, 2}
    assert weights.tolist() == [1.0] * 8


@pytest.mark.parametrize("changes", [{"labelled": 4}, {"labelled": 0}, {"share": 0.0}, {"share": 1.5}])
def test_impossible_batches_are_refused(changes):
    with pytest.raises(ConfigError, match=r"PropagatedLabels: (labelled|share)="):
        scheme(**changes)


@pytest.mark.parametrize(
    ("warmup", "epochs", "first"),
    [(0, 8, 0), (3, 8, 3), (0.5, 8, 4), (0.5, 200, 100), (0.9, 4, 3), (0.1, 4, 1), (0.5, 1, 0)],
)
def test_a_warm_up_is_counted_in_epochs_or_as_their_share(warmup, epochs, first):
    """A share of 4 epochs is rounded to 1 to 3 of them; a single epoch has no part to give."""
    assert scheme(warmup=warmup).warmup_of(epochs) == first


@pytest.mark.parametrize("warmup", [-1, 1.0, 4.0, 0.0])
def test_a_warm_up_is_a_count_or_a_share_below_1(warmup):
    with pytest.raises(ConfigError, match=r"warmup=.* cannot work: it must be an int of at least 0, or"):
        scheme(warmup=warmup)
