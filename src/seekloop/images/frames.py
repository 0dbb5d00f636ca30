"""From pixel coordinates of an annotation file to fractions of the upright picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.decoding import Header

Corners = tuple[float, float, float, float]  # x0, y0, x1, y1
Size = tuple[int, int]  # width, height

SAME_SHAPE = 0.02  # two sizes have one shape where their aspects differ by no more than this, relatively


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


@dataclass(frozen=True)
class Stated:
    """Boxes of one image with the size that their file states for it.

    Attributes:
        where: the file, and the entry in it.
        image: position in the collection.
        size: width and height that the coordinates refer to; None where the file states none.
    """

    where: str
    image: int
    size: Size | None


class Frames:
    """Brings boxes in pixels to fractions of the upright picture.

    Tools that ignore EXIF orientation write boxes of the stored pixels. That shows where the stated size is that of the
    stored pixels and the orientation swaps the sides (5 to 8): such boxes are turned with the picture. Orientations 2
    to 4, and square pictures, cannot be told apart by their sizes: their boxes are taken as those of the upright
    picture.

    Args:
        headers: of every image of the collection; the error of an image that cannot be read.
    """

    def __init__(self, headers: Sequence[Header | UnreadableImageError]) -> None:
        self.headers = headers
        self.turned: dict[int, Stated] = {}
        self.other_shape: dict[int, tuple[Stated, Size]] = {}

    def frame(self, stated: Stated) -> "Frame":
        """What the coordinates of one image refer to.

        Raises:
            UnreadableImageError: if the file states no size, and the picture's cannot be read.
        """
        header = self.headers[stated.image]
        if isinstance(header, UnreadableImageError):
            if stated.size is None:
                raise header
            return Frame(stated.size, 1)
        if stated.size is None:
            return Frame(header.size, 1)
        exactly_stored = stated.size == header.stored and stated.size != header.size
        if same_shape(stated.size, header.size) and not exactly_stored:
            return Frame(stated.size, 1)
        if same_shape(stated.size, header.stored):
            self.turned.setdefault(stated.image, stated)
            return Frame(stated.size, header.orientation)
        self.other_shape.setdefault(stated.image, (stated, header.size))
        return Frame(stated.size, 1)

    def problems(self) -> list[Problem]:
        """What the sizes gave away."""
        found = []
        if self.turned:
            count = len(self.turned)
            why = f"{count} pictures are turned by EXIF and their boxes are not: the boxes were turned with them"
            first = next(iter(self.turned.values()))
            found.append(Problem(first.where, why, ProblemKind.NOTE, count))
        if self.other_shape:
            (other, size), count = next(iter(self.other_shape.values())), len(self.other_shape)
            why = f"the stated size {other.size} has another shape than the picture, {size}: are these its boxes?"
            more = f" (and {count - 1} more)" if count > 1 else ""
            found.append(Problem(other.where, why + more, ProblemKind.NOTE, count))
        return found


@dataclass(frozen=True)
class Frame:
    """What the coordinates of an image's boxes refer to: a size in pixels, before or after the turn by EXIF."""

    size: Size
    orientation: int

    def upright(self, corners: Corners) -> Corners:
        """A box in pixels, as fractions of the upright picture."""
        return turned(fractions(corners, self.size), self.orientation)


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
