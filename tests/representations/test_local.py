import pytest
import torch

from seekloop.contracts.randomness import generator
from seekloop.representations.local import GLOBAL, PROTOTYPE, All, Box, GlobalOnly, OneProto, OneRand

QUARTERS = torch.tensor([[0.0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]])
# Reaches 0.3 into the right column and 0.1 into the lower row; its centre lies in the first cell.
BOX = torch.tensor([0.1, 0.1, 0.8, 0.6])


def rows(choice):
    return dict(zip(choice.region.tolist(), choice.label.tolist(), strict=True))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (GlobalOnly(), {GLOBAL: 1}),
        (OneRand(), {0: 1}),
        (OneProto(renorm=False), {0: 1}),
        (All(), {0: 1, 1: 1, 2: 1, 3: 1}),
    ],
)
def test_rows_of_a_relevant_image_by_hand(strategy, expected):
    """Overlaps: cell 0 .4 x .4, cell 1 .3 x .4, cell 2 .4 x .1, cell 3 .3 x .1: all touched, the first most."""
    assert rows(strategy.positive(QUARTERS, BOX)) == expected


def test_all_marks_by_area_not_by_centre_and_not_by_contact():
    """Only the upper row is overlapped; the box ends exactly where the lower row begins."""
    box = torch.tensor([0.3, 0.2, 0.6, 0.5])
    assert rows(All().positive(QUARTERS, box)) == {0: 1, 1: 1, 2: -1, 3: -1}


def test_a_box_thinner_than_the_threshold_marks_the_one_cell_it_overlaps_most():
    """0.0005 wide and 0.0003 high in cell 2, 0.001 wide in cell 3: 1.5e-7 and 3e-7 of the image, both below 1e-6.

    By the threshold alone no cell of a relevant image would be relevant. Cell 0 would be the first of equally many
    above the threshold, cell 2 is overlapped as well, but less.
    """
    box = torch.tensor([0.4995, 0.7, 0.501, 0.7003])
    assert rows(All().positive(QUARTERS, box)) == {0: -1, 1: -1, 2: -1, 3: 1}


def test_an_overlap_below_the_threshold_is_rounding_of_a_common_edge():
    """The box of 0.3 x 0.3 in the upper row reaches 1e-6 into the lower one: 3e-7 of the image."""
    box = torch.tensor([0.1, 0.2, 0.4, 0.500001])
    assert rows(All().positive(QUARTERS, box)) == {0: 1, 1: -1, 2: -1, 3: -1}


def test_equal_overlaps_go_to_the_first_cell():
    assert rows(OneRand().positive(QUARTERS, torch.tensor([0.25, 0.25, 0.75, 0.75]))) == {0: 1}


def test_among_cells_of_several_sizes_the_best_fitting_one_is_meant():
    """The whole image shares most area with any box: 0.2 of 1 with this one, whose upper left cell it nearly fills."""
    pyramid = torch.cat([torch.tensor([[0.0, 0, 1, 1]]), QUARTERS])
    assert rows(OneRand().positive(pyramid, torch.tensor([0.0, 0, 0.5, 0.4]))) == {1: 1}


def test_rows_of_an_irrelevant_image():
    rng = generator(0, "test")
    assert rows(GlobalOnly().negative(QUARTERS, rng)) == {GLOBAL: -1}
    assert rows(OneProto(renorm=False).negative(QUARTERS, rng)) == {PROTOTYPE: -1}
    assert rows(All().negative(QUARTERS, rng)) == {0: -1, 1: -1, 2: -1, 3: -1}


def test_the_random_cell_is_uniform_and_seeded():
    drawn = [OneRand().negative(QUARTERS, generator(0, "image", i)).region.item() for i in range(400)]
    counts = torch.bincount(torch.tensor(drawn), minlength=4)
    assert counts.min() > 70  # 100 expected, standard deviation below 9
    assert drawn == [OneRand().negative(QUARTERS, generator(0, "image", i)).region.item() for i in range(400)]


def test_the_upper_bound_takes_the_box_itself_not_the_one_that_contains_it():
    """The first region contains the object's box entirely, so overlap alone cannot tell them apart."""
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.1, 0.1, 0.8, 0.6]])
    assert rows(Box().positive(boxes, BOX)) == {1: 1}


@pytest.mark.parametrize("strategy", [OneRand(), OneProto(renorm=False)])
def test_without_a_box_one_region_means_the_mean_of_all(strategy):
    assert rows(strategy.positive(QUARTERS, None)) == {PROTOTYPE: 1}


def test_without_a_box_all_regions_are_relevant():
    assert rows(All().positive(QUARTERS, None)) == {0: 1, 1: 1, 2: 1, 3: 1}
