import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.learning import PseudoLabels
from seekloop.contracts.randomness import generator
from seekloop.learning.batches import batches_of, class_weights, eternal, labelled_epoch, mixed_epoch, sampled


@given(st.integers(1, 12), st.integers(0, 60), st.integers(0, 5))
def test_an_endless_series_has_every_position_equally_often(size, count, seed):
    """Each whole order has every position once, so any two counts differ by at most one."""
    positions = torch.arange(size) * 10
    drawn = eternal(positions, count, generator(seed))
    counts = torch.bincount(drawn // 10, minlength=size)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1


@given(st.lists(st.sampled_from([0.0, 0.1, 1.0, 5.0]), min_size=1, max_size=30), st.integers(0, 40), st.booleans())
def test_what_has_no_weight_is_never_drawn(weights, count, replacement):
    weights = torch.tensor(weights)
    drawn = sampled(weights, count, replacement, generator(1))
    positive = int((weights > 0).sum())
    assert (weights[drawn] > 0).all()
    assert len(drawn) == (min(count, positive) if not replacement else count if positive else 0)
    assert replacement or len(set(drawn.tolist())) == len(drawn)


def test_draws_follow_the_weights():
    """Weights 1 : 3, so with replacement three of four draws are the second; without, it comes first that often."""
    weights = torch.tensor([1.0, 3.0])
    many = sampled(weights, 20_000, True, generator(2))
    assert many.float().mean() == pytest.approx(0.75, abs=0.02)
    firsts = [int(sampled(weights, 1, False, generator(seed))) for seed in range(2000)]
    assert sum(firsts) / 2000 == pytest.approx(0.75, abs=0.04)


def test_an_epoch_of_labelled_images_is_one_pass_of_whole_batches():
    """7 images in batches of 3: two batches, six different images. Of 2 images the batch has 2."""
    positions = torch.tensor([4, 5, 6, 7, 8, 9, 10])
    once = labelled_epoch(positions, 3, None, generator(0))
    assert once.shape == (2, 3)
    assert len(set(once.flatten().tolist())) == 6
    assert labelled_epoch(positions[:2], 3, None, generator(0)).shape == (1, 2)
    assert labelled_epoch(positions, 3, 5, generator(0)).shape == (5, 3)


def test_a_mixed_batch_has_its_labelled_part_first():
    """Batches of 5 with 2 labelled: 10 pseudo-labelled images make 3 whole batches, each of them once."""
    labelled, chosen = torch.tensor([0, 1, 2]), torch.arange(10, 20)
    images = mixed_epoch(labelled, chosen, 5, 2, None, generator(0))
    assert images.shape == (3, 5)
    assert (images[:, :2] < 3).all()
    assert (images[:, 2:] >= 10).all()
    assert len(set(images[:, 2:].flatten().tolist())) == 9
    assert torch.bincount(images[:, :2].flatten()).tolist() == [2, 2, 2]
    assert mixed_epoch(labelled, chosen[:2], 5, 2, None, generator(0)).shape == (1, 4)


def test_class_weights_by_hand():
    """Classes 0, 0, 0, 2 and one image without a label: n / C = 4 / 3; over 3 it is 4/9, over 1 it is 4/3."""
    found = class_weights(torch.tensor([0, 0, -1, 0, 2]), 3)
    torch.testing.assert_close(found, torch.tensor([4 / 9, 0.0, 4 / 3]))


def test_batches_carry_labels_weights_and_moves():
    known = PseudoLabels(torch.tensor([2, 0, 1]), torch.tensor([1.0, 0.5, 0.25]))
    images = torch.tensor([[0, 2], [1, 1]])
    first, second = batches_of(images, known, known.weights, 4, True, generator(0))
    assert first.target.tolist() == [2, 1]
    assert second.weight.tolist() == [0.5, 0.5]
    moves = batches_of(images.repeat(200, 50), known, known.weights, 2, True, generator(0))
    shifts = torch.cat([batch.shift for batch in moves])
    assert sorted(set(shifts.flatten().tolist())) == [-2, -1, 0, 1, 2]
    assert torch.cat([batch.mirrored for batch in moves]).float().mean() == pytest.approx(0.5, abs=0.02)
    still = batches_of(images, known, known.weights, 0, False, generator(0))
    assert not any(batch.shift.any() or batch.mirrored.any() for batch in still)
