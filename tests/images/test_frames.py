import numpy as np
import pytest
from PIL import Image

from seekloop.contracts.errors import UnreadableImageError
from seekloop.images.decoding import Header, read_rgb
from seekloop.images.frames import Frames, fractions, known_size, same_shape, turned


def test_pixels_to_fractions_by_hand():
    assert fractions((10.0, 10.0, 30.0, 50.0), (40, 100)) == (0.25, 0.1, 0.75, 0.5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_box_is_where_the_turned_picture_shows_its_object(tmp_path, orientation):
    """A white rectangle at x 2 to 6, y 1 to 3 of 12 x 8 stored pixels; the bounds of white in the upright picture."""
    stored = np.zeros((8, 12, 3), dtype=np.uint8)
    stored[1:3, 2:6] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(read_rgb(tmp_path / "a.png"))[:, :, 0]
    rows, columns = (np.flatnonzero(upright.max(axis=axis)) for axis in (1, 0))
    height, width = upright.shape
    shown = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
    assert turned((2 / 12, 1 / 8, 6 / 12, 3 / 8), orientation) == pytest.approx(shown)


def test_boxes_of_stored_pixels_are_turned_where_the_stated_size_shows_it():
    frames = Frames([Header((96, 64), 6), Header((96, 64), 1), Header((96, 64), 6)])
    assert frames.upright("a.xml", 0, (96, 64), (0.0, 0.0, 48.0, 16.0)) == (0.75, 0, 1, 0.5)
    assert frames.upright("b.xml", 1, (96, 64), (0.0, 0.0, 48.0, 16.0)) == (0, 0, 0.5, 0.25)
    assert frames.upright("c.xml", 2, (64, 96), (0.0, 0.0, 32.0, 24.0)) == (0, 0, 0.5, 0.25)
    (note,) = frames.problems()
    assert (note.where, note.count) == ("a.xml", 1)
    assert "turned by EXIF" in note.what


def test_a_scaled_copy_is_the_same_frame_and_another_shape_is_told():
    frames = Frames([Header((960, 640), 1)] * 2)
    assert frames.upright("a", 0, (96, 64), (0.0, 0.0, 48.0, 32.0)) == (0, 0, 0.5, 0.5)
    assert frames.problems() == []
    assert frames.upright("b", 1, (64, 64), (0.0, 0.0, 32.0, 32.0)) == (0, 0, 0.5, 0.5)
    assert "64 x 64 has another shape than the picture, 960 x 640" in frames.problems()[0].what


def test_an_almost_square_picture_is_told_by_its_exact_size():
    frames = Frames([Header((100, 99), 6)])
    assert frames.frame("a", 0, (100, 99))[1] == 6
    assert frames.frame("a", 0, (99, 100))[1] == 1


def test_without_a_stated_size_the_picture_is_asked():
    frames = Frames([Header((96, 64), 8), UnreadableImageError("x", "empty")])
    assert frames.frame("a", 0, None)[0] == (64, 96)
    assert frames.frame("a", 1, (5, 5))[0] == (5, 5)
    with pytest.raises(UnreadableImageError, match="empty"):
        frames.frame("a", 1, None)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(96, 64, (96, 64)), ("96.0", "64", (96, 64)), (0, 64, None), (-1, -1, None), (None, None, None),
     ("a", 1, None), (float("nan"), 1, None), (float("inf"), 1, None)],
)  # fmt: skip
def test_stated_sizes(width, height, size):
    assert known_size(width, height) == size


def test_shapes_up_to_a_pixel():
    assert same_shape((400, 300), (401, 300))
    assert not same_shape((20, 10), (10, 20))
    assert not same_shape((3, 2), (2, 3))


LYING, STANDING, EITHER = (300.0, 0.0, 400.0, 200.0), (0.0, 300.0, 200.0, 400.0), (0.0, 0.0, 100.0, 100.0)


@pytest.mark.parametrize(
    ("boxes", "size", "orientation"),
    [
        ([LYING, EITHER], None, 6),  # fits 400 x 200 only
        ([STANDING, EITHER], None, 1),  # fits 200 x 400 only
        ([LYING, STANDING], None, 1),  # no decision, and no stated size
        ([EITHER], None, 1),
        ([EITHER], (400, 200), 6),  # the stated size decides
        ([STANDING, EITHER], (400, 200), 1),  # the boxes know better
        ([LYING, STANDING], (400, 200), 6),
        ([LYING], (200, 400), 1),  # a size that is that of the upright picture holds
    ],
)
def test_boxes_that_fit_one_frame_only_decide(boxes, size, orientation):
    frames = Frames([Header((400, 200), 6)])
    frames.decide((0, size, box) for box in boxes)
    frame = frames.frame("a", 0, size)
    assert frame[1] == orientation
    assert frame[0] == ((400, 200) if orientation == 6 else (200, 400))
    assert len(frames.problems()) == (orientation == 6 or size == (400, 200))


def test_fractions_are_no_pixels():
    frames = Frames([Header((40, 20), 1)])
    with pytest.raises(ValueError, match="looks like fractions"):
        frames.upright("a", 0, None, (0.0, 0.0, 0.5, 1.0))
    assert frames.upright("a", 0, None, (0.0, 0.0, 1.0, 1.0)) == (0, 0, 1 / 40, 1 / 20)
