import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts import boxes
from seekloop.contracts.records import Annotations
from seekloop.metrics.average_precision import stratified_average_precision
from seekloop.metrics.strata import STRATA, level_of_chance, outside, strata


def annotated(objects):
    """Objects as (image, class, side of a square box)."""
    return Annotations(
        classes=("cat", "dog"),
        image=torch.tensor([o[0] for o in objects], dtype=torch.long),
        label=torch.tensor([o[1] for o in objects], dtype=torch.long),
        box=torch.tensor([[0, 0, o[2], o[2]] for o in objects]).reshape(-1, 4),
        crowd=torch.zeros(len(objects), dtype=torch.bool),
        difficult=torch.zeros(len(objects), dtype=torch.bool),
    )


def test_the_largest_object_decides_by_hand():
    """Image 0: cats of side .6 and .1: large; a dog of .25, exactly 1/16: medium. Image 2: a dog of .2: small."""
    table = strata(annotated([(0, 0, 0.6), (0, 0, 0.1), (0, 1, 0.25), (2, 1, 0.2)]), 3)
    assert table.tolist() == [[2, -1, -1], [1, -1, 0]]


def test_outside_ignores_positives_of_other_strata_only():
    assert outside(torch.tensor([0, 1, 2, -1]), 1).tolist() == [True, False, True, False]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.floats(0.015625, 1.0, width=32)), max_size=8))
def test_agrees_with_the_largest_box_of_each_image(objects):
    annotations = annotated(objects)
    table = strata(annotations, 4)
    assert torch.equal(table >= 0, annotations.relevance(4))
    for label, image in (table >= 0).nonzero().tolist():
        largest = annotations.largest_box(image, label)
        assert [STRATA[table[label, image]]] == boxes.stratum(largest[None])


def test_chance_by_hand():
    """Of six images cats have two small and one large, dogs one small: 2 / 5 and 1 / 6; of large ones 1 / 4 for cats,

    and dogs have none. With large ones left in the ranking the first would be 2 / 6; over all classes the last 1 / 8.
    """
    table = torch.tensor([[0, 0, 2, -1, -1, -1], [-1, -1, -1, -1, -1, 0]])
    small, large = (level_of_chance(table, level) for level in (0, 2))
    assert small == (3, pytest.approx((2 / 5 + 1 / 6) / 2))
    assert large == (1, pytest.approx(1 / 4))


@given(st.lists(st.sampled_from([-1, 0, 1, 2]), min_size=1, max_size=12), st.sampled_from([0, 1, 2]))
def test_chance_is_the_average_precision_of_equal_scores(strata_of, level):
    table = torch.tensor([strata_of])
    images, chance = level_of_chance(table, level)
    if images:
        equal = stratified_average_precision(torch.zeros(1, len(strata_of)), table, len(STRATA))[0, level + 1]
        assert chance == pytest.approx(float(equal))
