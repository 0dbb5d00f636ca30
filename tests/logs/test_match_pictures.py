"""Pictures of spatial matching: what is drawn lies where it should."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection, LineCollection
from PIL import Image

from seekloop.logs.match_pictures import HEIGHT, Ellipses, View, inlier_histogram, matches, views_of_channel


def ellipses(*mean):
    mean = np.array(mean, dtype=np.float64).reshape(-1, 2)
    return Ellipses(mean, np.tile(np.diag([9.0, 4.0]), (len(mean), 1, 1)), np.arange(len(mean)) % 2)


def of(figure, kind):
    return [one for axes in figure.axes for one in axes.collections if isinstance(one, kind)]


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def test_lines_join_the_features_of_both_pictures():
    first, second = Image.new("RGB", (200, 160)), Image.new("RGB", (320, 640))
    figure = matches(
        (first, ellipses([10, 20], [50, 60], [5, 5])), (second, ellipses([0, 0], [320, 640], [8, 16])), "two $views"
    )
    (lines,) = of(figure, LineCollection)
    left = 400 + 8  # the first picture is shown twice as large, the second half as large, after the gap
    np.testing.assert_allclose(
        lines.get_segments(), [[[20, 40], [left, 0]], [[100, 120], [left + 160, HEIGHT]], [[10, 10], [left + 4, 8]]]
    )
    colours = lines.get_colors()
    assert (colours[0] == colours[2]).all()  # of one channel
    assert not (colours[0] == colours[1]).all()
    drawn = of(figure, EllipseCollection)
    assert [len(one.get_offsets()) for one in drawn] == [3, 3]
    assert pixels(figure).std() > 0


def test_an_ellipse_covers_two_standard_deviations_along_its_axes():
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    given = Ellipses(np.array([[100.0, 80]]), (turn @ np.diag([400.0, 25]) @ turn.T)[None], np.array([0]))
    picture = Image.new("RGB", (200, HEIGHT), "white")
    figure = matches((picture, given), (picture, given))
    (one, _) = of(figure, EllipseCollection)
    pixels(figure)
    transform = one.get_transforms()[0]
    scale = one.axes.bbox.width / one.axes.viewLim.width
    half = np.hypot(transform[0, :2], transform[1, :2]) / scale
    np.testing.assert_allclose(half, [40, 10], rtol=0.05)  # the axes are laid out once more after the ellipses
    np.testing.assert_allclose(
        np.degrees(np.arctan2(transform[1, 0], transform[0, 0])) % 180, np.degrees(0.5), atol=0.1
    )


def test_without_inliers_there_are_two_pictures():
    picture = Image.new("RGB", (30, 20), "red")
    figure = matches((picture, ellipses()), (picture, ellipses()))
    assert pixels(figure).std() > 0
    with pytest.raises(ValueError, match="1 features cannot be joined to 0"):
        matches((picture, ellipses([1, 1])), (picture, ellipses()))


def test_views_share_one_scale_of_colours_and_show_ellipses_where_given():
    picture, bright = Image.new("RGB", (60, 40), "grey"), np.ones((4, 6))
    figure = views_of_channel([View(picture, bright), View(picture, 3 * bright, ellipses([30, 20]))], "channel 7")
    assert [axes.images[1].get_clim() for axes in figure.axes] == [(0, 3), (0, 3)]
    assert len(of(figure, EllipseCollection)) == 1
    assert pixels(views_of_channel([View(picture, 0 * bright)])).std() > 0  # nothing active
    with pytest.raises(ValueError, match="no view"):
        views_of_channel([])


def test_the_histogram_shows_shares_of_positive_and_negative_images():
    figure = inlier_histogram([5, 5, 9, 0], [0, 0, 0, 1, 0, 0, 0, 0])
    positive, negative = figure.axes[0].containers
    heights = [bar.get_height() for bar in positive]
    assert (heights[0], heights[5], heights[9]) == (0.25, 0.5, 0.25)
    assert negative[0].get_height() == pytest.approx(7 / 8)
    assert sum(bar.get_height() for bar in negative) == pytest.approx(1)
    assert pixels(inlier_histogram([], [])).std() > 0
    assert len(inlier_histogram([500], [3]).axes[0].containers[0]) == 40
