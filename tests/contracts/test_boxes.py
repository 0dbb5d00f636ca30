import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts import boxes


def test_areas_and_overlaps_by_hand():
    """A: left half, 0.5. B: bottom-right 0.6 x 0.5 = 0.3. Common: x 0.4..0.5, y 0.5..1 = 0.05; union 0.75."""
    a, b = torch.tensor([[0.0, 0.0, 0.5, 1.0]]), torch.tensor([[0.4, 0.5, 1.0, 1.0]])
    torch.testing.assert_close(boxes.area(a), torch.tensor([0.5]))
    torch.testing.assert_close(boxes.intersection(a, b), torch.tensor([[0.05]]))
    torch.testing.assert_close(boxes.iou(a, b), torch.tensor([[0.05 / 0.75]]))


def test_boxes_that_only_touch_share_nothing():
    assert boxes.intersection(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), torch.tensor([[0.5, 0.5, 1.0, 1.0]])).item() == 0


def test_strata_at_their_limits():
    """A quarter by a quarter is 1/16: the first medium. A half by a half is 1/4: the first large."""
    squares = torch.tensor([[0, 0, s, s] for s in (0.24, 0.25, 0.49, 0.5)])
    assert boxes.stratum(squares) == ["small", "medium", "medium", "large"]


coordinate = st.floats(-0.5, 1.5, width=32)


@given(st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), min_size=1, max_size=4))
def test_overlap_is_symmetric_and_never_more_than_either_box(raw):
    b = torch.tensor(raw)
    common = boxes.intersection(b, b)
    assert torch.equal(common, common.T)
    proper = ~boxes.degenerate(b)
    limit = torch.minimum(boxes.area(b)[:, None], boxes.area(b)[None])
    assert (common[proper][:, proper] <= limit[proper][:, proper] + 1e-6).all()
