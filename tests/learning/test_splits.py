import itertools
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Dataset, ImageSet
from seekloop.contracts.randomness import generator
from seekloop.learning.splits import balanced, check_budget, revealed
from tests.learning.worlds import dataset


@given(st.integers(3, 20), st.integers(0, 20))
def test_classes_differ_by_at_most_one(count, seed):
    labels = torch.arange(30) % 3
    drawn = balanced(labels, 3, count, generator(seed))
    counts = torch.bincount(labels[drawn], minlength=3)
    assert len(set(drawn.tolist())) == count
    assert counts.max() - counts.min() <= 1


def test_splits_differ_and_repeat():
    labels = torch.arange(300) % 3
    one, again, other = (balanced(labels, 3, 30, generator(0, split, "initial")) for split in (0, 0, 1))
    assert one.tolist() == again.tolist()
    assert set(one.tolist()) != set(other.tolist())


def test_a_class_with_too_few_images_is_named():
    with pytest.raises(ValueError, match="class 1 has 1 images, and 2 are to be drawn"):
        balanced(torch.tensor([0, 0, 0, 1]), 2, 4, generator(0))


def test_only_what_was_asked_is_revealed():
    assert revealed(torch.tensor([5, 6, 7]), torch.tensor([2])).tolist() == [-1, -1, 7]


def lopsided(counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = ImageSet(torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8), labels)
    return Dataset("lopsided", tuple("abc"), images, images, (0.0,) * 3, (1.0,) * 3, 0, False)


@pytest.mark.parametrize(
    ("settings", "key", "says"),
    [
        ((2, 3, 5), "initial", "Use at least initial=3"),
        ((6, 30, 5), "budget", "At most 1 would fit"),
        ((30, 3, 20), "budget", "At most 15 would fit"),
        ((54, 30, 4), "budget", "cannot work: .* of 60 images. Use cycles=2"),
        ((60, 2, 5), "budget", "Use cycles=1"),
        ((None, 2, 5), "cycles", "all images have a label .* Use cycles=1"),
        ((6, 0, 5), "cycles", "an int of at least 1"),
        ((6, 2, 0), "budget", "an int of at least 1"),
    ],
)
def test_what_the_pool_cannot_give_is_refused_with_numbers(settings, key, says):
    """The dataset has 60 images of 3 classes. 6 + 29 x 1 = 35 fit, 6 + 29 x 5 do not."""
    with pytest.raises(ConfigError, match=says) as refused:
        check_budget(dataset(20), *settings)
    assert refused.value.key == key


def test_every_advice_about_the_budget_can_be_followed():
    for initial, cycles, budget in itertools.product(range(6, 10), range(1, 8), range(1, 8)):
        try:
            check_budget(dataset(3), initial, cycles, budget)
        except ConfigError as error:
            fewer = int(re.search(r"cycles=(\d+)", str(error))[1])
            check_budget(dataset(3), initial, fewer, budget)
            if smaller := re.search(r"At most (\d+) would fit", str(error)):
                check_budget(dataset(3), initial, cycles, int(smaller[1]))


def test_a_class_missing_from_the_pool_is_named():
    with pytest.raises(ConfigError, match="class 'b' has 0 images in the dataset, and 2 labels of it"):
        check_budget(lopsided([5, 0, 5]), 6, 1, 1)
    with pytest.raises(ConfigError, match=r"class 'b' has 1 .* Use at most initial=3"):
        check_budget(lopsided([5, 1, 5]), 6, 1, 1)
    check_budget(lopsided([5, 1, 5]), 3, 3, 4)
