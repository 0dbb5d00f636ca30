import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.boxes import area
from seekloop.metrics.saliency import covered, saliency_precision


def test_cells_that_the_box_cuts_count_by_area():
    """2 x 2 cells of 1, 2, 3, 4; the first box covers half of the upper right one: 1 / 10.

    By cell centres it would be 2 / 10, by cells touched too; by the mean inside the box 2.
    """
    saliency = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert saliency_precision(saliency, torch.tensor([[0.5, 0.0, 1.0, 0.25]])) == pytest.approx(0.1)
    assert saliency_precision(saliency, torch.tensor([[0.25, 0.25, 0.75, 0.75]])) == pytest.approx(0.25)


def test_objects_that_overlap_count_once():
    saliency, box = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, 0.0, 1.0, 1.0]])
    assert saliency_precision(saliency, box.repeat(3, 1)) == pytest.approx(0.75)


def test_a_map_of_zeros_and_an_image_without_objects_have_none():
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert math.isnan(saliency_precision(torch.zeros(2, 2), box))
    assert math.isnan(saliency_precision(torch.ones(2, 2), torch.zeros(0, 4)))
    assert saliency_precision(torch.rand(3, 4), box) == pytest.approx(1)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 3), st.integers(0, 10**6))
def test_coverage_is_that_of_a_fine_raster(rows, columns, count, seed):
    """Boxes on a raster of 60 x 60, which divides all cells: every point of it is in the union or not."""
    rng = torch.Generator().manual_seed(seed)
    ends = torch.randint(0, 61, (count, 2, 2), generator=rng).sort(dim=1).values
    raster = torch.zeros(60, 60)
    for (x0, y0), (x1, y1) in ends.tolist():
        raster[y0:y1, x0:x1] = 1
    wanted = raster.reshape(rows, 60 // rows, columns, 60 // columns).mean(dim=(1, 3)).double()
    boxes = ends.reshape(count, 4).float() / 60
    torch.testing.assert_close(covered(boxes, rows, columns), wanted, atol=1e-5, rtol=0)


def test_one_box_covers_its_area():
    boxes = torch.tensor([[0.13, 0.21, 0.77, 0.94]])
    assert float(covered(boxes, 7, 9).mean()) == pytest.approx(float(area(boxes)), abs=1e-6)
