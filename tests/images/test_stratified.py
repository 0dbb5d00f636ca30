import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.images.stratified import divided, shares, stratified


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        ([5, 3, 2], 5, [3, 1, 1]),  # quotas 2.5, 1.5, 1: one is left after the floors, and ties go to the lower class
        ([98, 1, 1], 10, [8, 1, 1]),  # quotas 9.8, 0.1, 0.1: no class may vanish, and the first pays for both
        ([4, 0, 4], 4, [2, 0, 2]),  # an empty class stays empty
        ([3, 3, 3], 2, [1, 1, 0]),  # too few for every class
        ([2, 2], 4, [2, 2]),
        ([2, 2], 0, [0, 0]),
    ],
)
def test_shares_by_hand(counts, total, expected):
    assert shares(torch.tensor(counts), total).tolist() == expected


def test_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="5 are to be drawn of 4"):
        shares(torch.tensor([2, 2]), 5)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.data())
def test_shares_add_up_and_no_class_gives_more_than_it_has(counts, data):
    total = data.draw(st.integers(0, sum(counts)))
    found = shares(torch.tensor(counts), total)
    assert int(found.sum()) == total
    assert bool((found <= torch.tensor(counts)).all())
    assert bool((found >= 0).all())
    if total >= sum(count > 0 for count in counts):
        assert bool(((found > 0) == (torch.tensor(counts) > 0)).all())


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(0, 5))
def test_the_two_parts_are_all_images_once(labels, seed):
    labels = torch.tensor(labels)
    rest, held = divided(labels, 0.3, torch.Generator().manual_seed(seed))
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert len(held) == round(0.3 * len(labels))


def test_draws_depend_on_the_generator_alone():
    labels = torch.arange(100) % 5
    first, again, other = (stratified(labels, 50, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)
    assert torch.bincount(labels[first]).tolist() == [10] * 5
    assert first.equal(first.sort().values)
