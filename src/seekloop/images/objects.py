"""From what annotation files say to `Annotations`: the steps that every format shares."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.problems import Problem
from seekloop.contracts.records import Annotations


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
    rows = sorted(objects, key=lambda one: one.image)
    box = clip(torch.tensor([one.box for one in rows], dtype=torch.float64).reshape(-1, 4))
    empty = box_geometry.degenerate(box)
    kept = [one for one, none in zip(rows, empty.tolist(), strict=True) if not none]
    problems = [
        Problem(one.where, f"box {rounded(one.box)} of {one.name!r} has no area in the image")
        for one, none in zip(rows, empty.tolist(), strict=True)
        if none
    ]
    found = {one.name for one in kept}
    classes = (*(name for name in order if name in found), *sorted(found.difference(order)))
    label = {name: number for number, name in enumerate(classes)}
    return Annotations(
        classes,
        image=torch.tensor([one.image for one in kept], dtype=torch.int64),
        label=torch.tensor([label[one.name] for one in kept], dtype=torch.int64),
        box=box[~empty],
        crowd=torch.tensor([one.crowd for one in kept], dtype=torch.bool),
        difficult=torch.tensor([one.difficult for one in kept], dtype=torch.bool),
    ), problems


def clip(boxes: Float[Tensor, "k 4"]) -> Float[Tensor, "k 4"]:
    """The parts of the boxes inside their images, as they are stored; not numbers where a corner is infinite."""
    endless = boxes.isinf().any(dim=1, keepdim=True)
    return box_geometry.clip(boxes).masked_fill(endless, torch.nan).float()


def rounded(box: tuple[float, float, float, float]) -> str:
    """A box for people."""
    return "(" + ", ".join(f"{v:.3g}" for v in box) + ")"


def fractions(corners: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
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
        self.by_path = grouped(normal(path) for path in paths)
        self.by_name = grouped(normal(PurePosixPath(path).name) for path in paths)

    def find(self, name: str) -> int | str:
        """The image's position, or why there is none."""
        key = normal(name)
        same = self.by_path.get(key) or ([] if "/" in key else self.by_name.get(key, []))
        if len(same) > 1:
            return f"{len(same)} images are meant by {name!r}: give the path from the collection's root"
        return same[0] if same else f"no image {name!r} in the collection"


def grouped(names: Iterable[str]) -> dict[str, list[int]]:
    """For each name, the positions where it stands."""
    groups: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        groups.setdefault(name, []).append(position)
    return groups


def normal(name: str) -> str:
    """One spelling of a path: composed letters, forward slashes, no leading dot."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).removeprefix("./")
