import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from seekloop.images.generated.affine import (
    Ellipse,
    about,
    apply,
    determinant,
    disc,
    inscribed,
    inverse,
    radius,
    reach,
    warped,
)

angle, factor, lean = st.floats(-180, 180), st.floats(0.2, 4), st.floats(-1, 1)
place = st.tuples(st.floats(-50, 50), st.floats(-50, 50))


def test_a_map_by_hand():
    """About (10, 20), a quarter turn, twice the size, to (100, 50): one to the right becomes two down.

    One down becomes two to the left: turned the other way it would be (102, 50). With a shear of 0.5, one down is half
    to the right first, which the turn brings one down.
    """
    turned = about((10.0, 20.0), 90.0, 2.0, 0.0, (100.0, 50.0))
    assert apply(turned, (10.0, 20.0)) == pytest.approx((100, 50))
    assert apply(turned, (11.0, 20.0)) == pytest.approx((100, 52))
    assert apply(turned, (10.0, 21.0)) == pytest.approx((98, 50))
    assert apply(about((10.0, 20.0), 90.0, 2.0, 0.5, (100.0, 50.0)), (10.0, 21.0)) == pytest.approx((98, 51))


@settings(deadline=None)  # times differ on a busy machine
@given(place, angle, factor, lean, place, place)
def test_the_way_back_and_areas(centre, rotation, scale, shear, target, point):
    map = about(centre, rotation, scale, shear, target)
    assert apply(inverse(map), apply(map, point)) == pytest.approx(point, abs=1e-6)
    assert determinant(map) == pytest.approx(
        scale**2
    )  # neither turning nor shearing changes areas; nothing is mirrored


def test_a_map_without_a_way_back_is_refused():
    with pytest.raises(ValueError, match="flattens"):
        inverse(((1.0, 1.0, 0.0), (1.0, 1.0, 0.0)))


def test_reach_by_hand():
    """Radii 4 and 2: upright they are the reach; turned by a quarter they swap; by an eighth both are sqrt(8 + 2)."""
    ellipse = inscribed((0.0, 0.0, 8.0, 4.0))
    assert reach(about((4.0, 2.0), 0.0, 1.0, 0.0, (0.0, 0.0)), ellipse) == pytest.approx((4, 2))
    assert reach(about((4.0, 2.0), 90.0, 1.0, 0.0, (0.0, 0.0)), ellipse) == pytest.approx((2, 4))
    diagonal = reach(about((4.0, 2.0), 45.0, 1.0, 0.0, (0.0, 0.0)), ellipse)
    assert diagonal == pytest.approx((math.sqrt(10), math.sqrt(10)))


@settings(deadline=None)  # times differ on a busy machine
@given(angle, factor, lean)
def test_reach_is_that_of_points_on_the_outline(rotation, scale, shear):
    ellipse = Ellipse((3.0, 5.0), (7.0, 2.0))
    map = about(ellipse.centre, rotation, scale, shear, (0.0, 0.0))
    around = np.linspace(0, 2 * math.pi, 2000)
    x, y = apply(map, (3 + 7 * np.cos(around), 5 + 2 * np.sin(around)))
    assert reach(map, ellipse) == pytest.approx((x.max(), y.max()), rel=1e-4)


def test_radius_by_hand():
    """Radii 2 and 1 about (2, 1), doubled about (0, 0): the middle of the pixel in column 3, row 1 is (3.5, 1.5).

    That is (1.75, 0.75) in the source: 0.125 and 0.25 of the radii from the middle.
    """
    out = radius(about((0.0, 0.0), 0.0, 2.0, 0.0, (0.0, 0.0)), Ellipse((2.0, 1.0), (2.0, 1.0)), (8, 4))
    assert out.shape == (4, 8)
    assert out[1, 3] == pytest.approx(math.hypot(0.125, 0.25))
    assert np.count_nonzero(out < 1) == 28  # all but the corners, where it is 0.875 and 0.75 of the radii: 1.15


def test_points_of_a_disc_are_even():
    points = disc(400)
    assert np.hypot(*points.T).max() < 1
    quarter = np.count_nonzero((points > 0).all(axis=1)), np.count_nonzero(np.hypot(*points.T) < 0.5)
    assert quarter == pytest.approx((100, 100), abs=3)


@settings(deadline=None)  # times differ on a busy machine
@given(st.integers(0, 3), st.floats(0.5, 2), place)
def test_a_spot_lands_where_the_map_says(turns, scale, shift):
    """A white spot on black, anywhere: the middle of its brightness is where the map brings the spot's middle."""
    picture = Image.new("L", (60, 40))
    ImageDraw.Draw(picture).rectangle((25, 15, 32, 20), fill=255)  # pixels 25 to 32: from 25 to 33
    map = about((30.0, 20.0), 90.0 * turns, scale, 0.1, (100 + shift[0], 100 + shift[1]))
    there = np.asarray(warped(picture, (10.0, 5.0, 50.0, 35.0), map, (200, 200)), dtype=float)
    middle = (np.array([(there * (np.indices(there.shape)[axis] + 0.5)).sum() for axis in (1, 0)])) / there.sum()
    assert middle == pytest.approx(apply(map, (29.0, 18.0)), abs=0.15)
