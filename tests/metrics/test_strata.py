import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts import boxes
from seekloop.contracts.records import Annotations
from seekloop.metrics.strata import STRATA, outside, strata


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
