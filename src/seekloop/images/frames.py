"""Pixel coordinates of an annotation file as fractions of the upright picture."""

from collections.abc import Iterable, Sequence

from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.decoding import Header

Corners = tuple[float, float, float, float]  # x0, y0, x1, y1
Size = tuple[int, int]  # width, height

SAME_SHAPE = 0.02  # two sizes have one shape where their aspects differ by no more than this, relatively
TURNED = "{pictures} turned by EXIF, and the boxes are of the stored pixels: they were turned as well"
STATED_STORED = "{pictures} turned by EXIF and the stated size is not; the boxes fit the upright picture only"
OTHER_SHAPE = "the stated size {} has another shape than the picture, {}: are these its boxes?{more}"


def fractions(corners: Corners, size: Size) -> Corners:
    """Pixel coordinates, counted from the image's left and top edge, as fractions of (width, height)."""
    x0, y0, x1, y1 = corners
    return x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1]


def turned(box: Corners, orientation: int) -> Corners:
    """A box in fractions of the stored pixels, in fractions of the upright picture.

    Args:
        box: of the stored pixels.
        orientation: EXIF orientation, 1 to 8.

    Example:
        >>> turned((0.0, 0.0, 0.5, 0.25), 6)  # turned clockwise, the upper left corner becomes the upper right one
        (0.75, 0.0, 1.0, 0.5)
    """
    x0, y0, x1, y1 = box
    if orientation in (2, 3, 7, 8):  # the stored x axis runs backwards in the upright picture
        x0, x1 = 1 - x1, 1 - x0
    if orientation in (3, 4, 6, 7):  # the stored y axis does
        y0, y1 = 1 - y1, 1 - y0
    return (y0, x0, y1, x1) if orientation >= 5 else (x0, y0, x1, y1)


class Frames:
    """Brings boxes in pixels to fractions of the upright picture.

    Tools that ignore EXIF orientation write boxes of the stored pixels. That shows where the stated size is that of the
    stored pixels and the orientation swaps the sides (5 to 8): such boxes are turned with the picture, unless `decide`
    found that the boxes themselves say otherwise. Orientations 2 to 4, and square pictures, cannot be told apart by
    their sizes: their boxes are taken as those of the upright picture.

    Args:
        headers: of every image of the collection; the error of an image that cannot be read.
    """

    def __init__(self, headers: Sequence[Header | UnreadableImageError]) -> None:
        self.headers = headers
        self.boxes_lie: bool | None = None  # whether boxes on pictures turned sideways are those of the stored pixels
        self.notes: dict[str, dict[int, tuple[str, ...]]] = {why: {} for why in (TURNED, STATED_STORED, OTHER_SHAPE)}

    def decide(self, boxes: Iterable[tuple[int, Size | None, Corners]]) -> None:
        """See from a file's boxes whether those on pictures that EXIF turns sideways are of the stored pixels.

        They are where some box fits the stored pixels only and none fits the upright picture only; the other way round
        they are not. Otherwise the stated size says it, and without one they are those of the upright picture.

        Args:
            boxes: image, stated size, and corners in pixels of that size, of every object.
        """
        lying = standing = 0
        for image, size, corners in boxes:
            header = self.headers[image]
            if isinstance(header, Header) and header.orientation >= 5 and not says_upright(size, header):
                stored = size or header.stored
                fits = within(corners, stored), within(corners, (stored[1], stored[0]))
                lying += fits == (True, False)
                standing += fits == (False, True)
        self.boxes_lie = None if bool(lying) == bool(standing) else lying > 0

    def frame(self, where: str, image: int, size: Size | None) -> tuple[Size, int]:
        """Size in pixels that the coordinates of one entry refer to, and the orientation by which they are turned.

        Args:
            where: the file, and the entry in it.
            image: position in the collection.
            size: width and height that the file states; None where it states none.

        Raises:
            UnreadableImageError: if the file states no size, and the picture's cannot be read.
        """
        header = self.headers[image]
        if isinstance(header, UnreadableImageError):
            if size is None:
                raise header
            return size, 1
        if size is None and not (header.orientation >= 5 and self.boxes_lie):
            return header.size, 1
        frame = size or header.stored
        if says_upright(size, header):
            return frame, 1
        if not same_shape(frame, header.stored):
            sizes = (f"{one[0]} x {one[1]}" for one in (frame, header.size))
            self.notes[OTHER_SHAPE].setdefault(image, (where, *sizes))
            return frame, 1
        if self.boxes_lie is False:
            self.notes[STATED_STORED].setdefault(image, (where,))
            return (frame[1], frame[0]), 1
        self.notes[TURNED].setdefault(image, (where,))
        return frame, header.orientation

    def upright(self, where: str, image: int, size: Size | None, corners: Corners) -> Corners:
        """A box in pixels, as fractions of the upright picture; the arguments are those of `frame`.

        Raises:
            UnreadableImageError: as `frame` does.
            ValueError: if the box is in fractions, as it seems: no number is above 1, and not all of them are whole.
        """
        frame, orientation = self.frame(where, image, size)
        if all(abs(v) <= 1 for v in corners) and not all(float(v).is_integer() for v in corners):
            raise ValueError("its box looks like fractions (no number is above 1), and pixels are expected")
        return turned(fractions(corners, frame), orientation)

    def problems(self) -> list[Problem]:
        """Problems that stated sizes reveal: boxes that were turned, shapes that differ."""
        problems = []
        for why, images in self.notes.items():
            if images:
                first, *sizes = next(iter(images.values()))
                pictures = many(len(images), "picture is", "pictures are")
                more = f" (and {many(len(images) - 1, 'more picture', 'more pictures')})" if len(images) > 1 else ""
                text = why.format(*sizes, pictures=pictures, more=more)
                problems.append(Problem(first, text, ProblemKind.NOTE, len(images)))
        return problems


def says_upright(size: Size | None, header: Header) -> bool:
    """Whether a stated size is that of the upright picture, and not rather that of the stored pixels."""
    exactly_stored = size == header.stored and size != header.size
    return size is not None and same_shape(size, header.size) and not exactly_stored


def within(corners: Corners, size: Size) -> bool:
    """Whether a box in pixels reaches beyond a picture's right and lower edge by no more than a pixel."""
    return max(corners[0], corners[2]) <= size[0] + 1 and max(corners[1], corners[3]) <= size[1] + 1


def same_shape(a: Size, b: Size) -> bool:
    """Whether two sizes are one shape, up to rounding to whole pixels of small pictures."""
    across, down = a[0] * b[1], a[1] * b[0]
    rounding = max(a[0], a[1], b[0], b[1])  # one pixel more or less on a side
    return abs(across - down) <= max(SAME_SHAPE * max(across, down), rounding)


def known_size(width: object, height: object) -> Size | None:
    """A stated size, where it is one: two numbers, as such or as text, of at least 1."""
    try:
        size = int(float(str(width))), int(float(str(height)))
    except (ValueError, OverflowError):
        return None
    return size if min(size) >= 1 else None
