"""Pictures of discovery: as many panels as things, boxes where they belong, odd sizes and nothing at all."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Ellipse, Rectangle
from PIL import Image

from seekloop.logs.discovery_pictures import (
    Piece,
    SaliencyPanel,
    SalientImage,
    Step,
    central_regions,
    cut_out,
    evolution,
    patch_neighbours,
    saliency_maps,
)
from seekloop.logs.drawing import QUERY, RIGHT, WRONG

NONE = np.zeros((0, 4))


def picture(width=40, height=20):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def patches(axes, kind):
    return [patch for patch in axes.patches if isinstance(patch, kind)]


def test_maps_lie_over_their_picture_with_regions_in_red_and_objects_in_their_own_colour():
    """A picture of 40 x 20 is shown at 320 x 160; its left half is a rectangle of 160 x 160 from the corner."""
    panel = SaliencyPanel("FS", np.eye(3), np.array([[0.0, 0.0, 0.5, 1.0]]))
    figure = saliency_maps([SalientImage(picture(), np.array([[0.5, 0.5, 1.0, 1.0]]), [panel])])
    own, map_ = figure.axes
    ((truth,), (box,)) = patches(own, Rectangle), patches(map_, Rectangle)
    assert (to_hex(truth.get_edgecolor()), to_hex(box.get_edgecolor())) == (QUERY, WRONG)
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (-0.5, -0.5, 160, 160)
    assert [len(axes.images) for axes in figure.axes] == [1, 2]
    assert map_.images[1].get_extent() == [-0.5, 319.5, 159.5, -0.5]


def test_components_are_ellipses_as_wide_as_their_regions():
    steps = [
        Step(0, np.full((3, 2), 0.5), np.full((3, 2), 0.1)),
        Step(2, np.array([[0.25, 0.5]]), np.full((1, 2), 0.1)),
    ]
    figure = evolution(picture(), np.ones((2, 4)), steps)
    assert [len(patches(axes, Ellipse)) for axes in figure.axes] == [0, 3, 1]
    (last,) = patches(figure.axes[2], Ellipse)
    assert last.get_center() == pytest.approx((79.5, 79.5))
    assert (last.width, last.height) == pytest.approx((0.2 * 3**0.5 * 320, 0.2 * 3**0.5 * 160))
    assert figure.axes[2].get_title() == "iteration 2: 1 regions"


def test_pieces_are_cut_out_and_never_empty():
    assert cut_out(picture(), (0.25, 0.5, 0.75, 1.0)).size == (20, 10)
    assert cut_out(picture(), (1.0, 1.0, 1.0, 1.0)).size == (1, 1)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_sheet_has_a_panel_for_each_piece(count):
    figure = central_regions([Piece(picture(), f"${n}") for n in range(count)])
    assert sum(len(axes.images) for axes in figure.axes) == count
    figure.canvas.draw()  # a dollar is no mathematics


def test_neighbours_of_a_patch_are_outlined_by_their_centrality():
    near = [Piece(picture(), "a", central=True), Piece(picture(), "b", central=False)]
    seen = SalientImage(picture(), NONE, [SaliencyPanel("FS", np.ones((2, 4)), NONE)])
    figure = patch_neighbours(seen, np.array([0.0, 0.0, 0.5, 0.5]), near)
    frames = [to_hex(patch.get_edgecolor()) for axes in figure.axes[2:] for patch in axes.patches]
    assert frames == [RIGHT, WRONG]
    assert all(len(patches(axes, Rectangle)) == 1 for axes in figure.axes[:2])


def test_a_map_of_zeros_is_drawn_as_nothing():
    panel = SaliencyPanel("FS", np.zeros((3, 3)), NONE)
    saliency_maps([SalientImage(picture(1, 300), NONE, [panel])]).canvas.draw()
