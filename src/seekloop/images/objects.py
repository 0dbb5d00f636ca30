"""From what annotation files say to `Annotations`: the steps that every format shares."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch

from seekloop.contracts.records import Annotations, Problem


@dataclass(frozen=True)
class RawObject:
    """One annotated object as its file has it.

    Attributes:
        where: file, and line or number, for people.
        image: position in the collection.
        name: class.
        box: (x0, y0, x1, y1) as fractions, not yet clipped.
        crowd: as in `Annotations`.
        difficult: as in `Annotations`.
    """

    where: str
    image: int
    name: str
    box: tuple[float, float, float, float]
    crowd: bool = False
    difficult: bool = False


def annotate(objects: Iterable[RawObject], order: Sequence[str]) -> tuple[Annotations, list[Problem]]:
    """Clip the boxes, leave out those without an area in their image, and number the classes.

    Args:
        objects: in any order; the annotations are sorted by image, and keep this order within one.
        order: class names in the order wanted; names not among them follow, sorted. Those without any object are
            left out.

    Returns:
        The annotations, and a problem for every object left out.
    """
    kept, problems = [], []
    for one in sorted(objects, key=lambda o: o.image):
        clipped = clip(one.box)
        if clipped is None:
            problems.append(Problem(one.where, f"box {rounded(one.box)} of {one.name!r} has no area in the image"))
        else:
            kept.append((one, clipped))
    found = {one.name for one, _ in kept}
    classes = (*(name for name in order if name in found), *sorted(found.difference(order)))
    label = {name: number for number, name in enumerate(classes)}
    return Annotations(
        classes,
        image=torch.tensor([one.image for one, _ in kept], dtype=torch.int64),
        label=torch.tensor([label[one.name] for one, _ in kept], dtype=torch.int64),
        box=torch.tensor([box for _, box in kept], dtype=torch.float32).reshape(-1, 4),
        crowd=torch.tensor([one.crowd for one, _ in kept], dtype=torch.bool),
        difficult=torch.tensor([one.difficult for one, _ in kept], dtype=torch.bool),
    ), problems


def clip(box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
    """The part of a box inside its image; None where that has no area, or a corner is not a number.

    Example:
        >>> clip((-0.5, 0.25, 0.5, 0.75))
        (0.0, 0.25, 0.5, 0.75)
        >>> clip((1.5, 0.25, 2.0, 0.75)) is None
        True
    """
    if not all(math.isfinite(v) for v in box):
        return None
    x0, y0, x1, y1 = torch.tensor(box, dtype=torch.float32).clamp(0, 1).tolist()  # areas are judged as they are stored
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def rounded(box: tuple[float, float, float, float]) -> str:
    """A box for people."""
    return "(" + ", ".join(f"{v:.3g}" for v in box) + ")"


def fractions(
    corners: tuple[float, float, float, float], size: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Pixel coordinates, counted from the image's left and top edge, as fractions of (width, height)."""
    x0, y0, x1, y1 = corners
    return x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1]


class ImageNames:
    """Finds the image that an annotation file means.

    A name is a path relative to the collection's root. A bare file name is taken where just one image has it.
    Accented letters may be composed or not, since file systems differ in that.

    Args:
        paths: relative POSIX paths of the collection's images.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.by_path = {normal(path): position for position, path in enumerate(paths)}
        self.by_name: dict[str, list[int]] = {}
        for position, path in enumerate(paths):
            self.by_name.setdefault(normal(PurePosixPath(path).name), []).append(position)

    def find(self, name: str) -> int | str:
        """The image's position, or why there is none."""
        key = normal(name)
        if key in self.by_path:
            return self.by_path[key]
        same = self.by_name.get(PurePosixPath(key).name, []) if "/" not in key else []
        if len(same) == 1:
            return same[0]
        if same:
            return f"{len(same)} images are named {name!r}: give the path from the collection's root"
        return f"no image {name!r} in the collection"


def normal(name: str) -> str:
    """One spelling of a path: composed letters, forward slashes, no leading dot."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).removeprefix("./")
