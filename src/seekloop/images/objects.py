"""From what annotation files say to `Annotations`: the steps that every format shares."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.contracts.records import Annotations
from seekloop.images.frames import Corners

FLAGS = {"0": False, "false": False, "no": False, "": False, "none": False, "1": True, "true": True, "yes": True}
MARGIN = 0.02  # of the image's side: a box may stick out so far by rounding


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
    box: Corners
    crowd: bool = False
    difficult: bool = False


def class_name(text: object) -> str:
    r"""A class's name in one spelling: composed letters, single blanks, nothing that cannot be written as UTF-8.

    Example:
        >>> class_name(" traffic \n light "), class_name("cafe\u0301") == class_name("caf\u00e9"), class_name(7)
        ('traffic light', True, '7')
    """
    composed = unicodedata.normalize("NFC", " ".join(str(text).replace("\0", " ").split()))
    return composed.encode("utf-8", "backslashreplace").decode()


def flag(value: object, name: str) -> bool:
    """A yes or no: 0, 1, true, false, as such or as text; nothing is no.

    Raises:
        ValueError: if it is neither; `name` is what people call it.
    """
    word = str(value).strip().lower().removesuffix(".0")
    if word not in FLAGS:
        raise ValueError(f"{name} should be 0 or 1, and is {value!r}")
    return FLAGS[word]


def as_number(text: object) -> float:
    """A number, as such or as text.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(text, bool) or (isinstance(text, str) and "_" in text) or not isinstance(text, (int, float, str)):
        raise ValueError(f"{text!r} is no number")
    try:
        return float(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no number") from error


def annotate(objects: Iterable[RawObject], order: Sequence[str], hint: str = "") -> tuple[Annotations, list[Problem]]:
    """Clip the boxes, leave out those without an area in their image, and number the classes.

    An object that is there twice (image, class and box are the same) counts once.

    Args:
        objects: in any order; the annotations are sorted by image, and keep this order within one.
        order: class names in the order wanted, repetitions apart; names not among them follow, sorted. Those without
            any object are left out.
        hint: what the boxes of the file look like instead, if not like boxes as it should have them; boxes that stick
            out are then left out too, and the hint is added to every problem of a box.

    Returns:
        The annotations, and a problem for every object left out.
    """
    rows = sorted(objects, key=lambda one: one.image)
    copies = Counter((one.image, one.name, one.box) for one in rows)
    first: dict[tuple[int, str, Corners], RawObject] = {}
    for one in rows:
        first.setdefault((one.image, one.name, one.box), one)
    rows = list(first.values())
    raw = torch.tensor([one.box for one in rows], dtype=torch.float64).reshape(-1, 4)
    box = clip(raw)
    out = ((raw < -MARGIN) | (raw > 1 + MARGIN)).any(dim=1)
    empty = box_geometry.degenerate(box)
    left_out = empty | out if hint else empty
    kept = [one for one, no in zip(rows, left_out.tolist(), strict=True) if not no]
    problems = [
        Problem(one.where, f"box {rounded(one.box)} of {one.name!r} {why_left_out(one.box)}{hint}")
        for one, no in zip(rows, left_out.tolist(), strict=True)
        if no
    ]
    cut = [one for one, some in zip(rows, (out & ~left_out).tolist(), strict=True) if some]
    problems += repeated(rows, copies) + sticking_out(cut)
    found = {one.name for one in kept}
    classes = (*dict.fromkeys(name for name in order if name in found), *sorted(found.difference(order)))
    label = {name: number for number, name in enumerate(classes)}
    return Annotations(
        classes,
        image=torch.tensor([one.image for one in kept], dtype=torch.int64),
        label=torch.tensor([label[one.name] for one in kept], dtype=torch.int64),
        box=box[~left_out],
        crowd=torch.tensor([one.crowd for one in kept], dtype=torch.bool),
        difficult=torch.tensor([one.difficult for one in kept], dtype=torch.bool),
    ), problems


def why_left_out(box: Corners) -> str:
    """Why a box cannot be taken."""
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:
        return "has swapped corners (the second lies left of or above the first)"
    if not min(x1 - x0, y1 - y0) > 0:
        return "has no area"
    return "has no area in the image" if max(x0, y0) >= 1 or min(x1, y1) <= 0 else "sticks out of the image"


def repeated(rows: Sequence[RawObject], copies: Counter[tuple[int, str, Corners]]) -> list[Problem]:
    """Objects that are there more than once."""
    twice = [one for one in rows if copies[one.image, one.name, one.box] > 1]
    if not twice:
        return []
    extra = sum(copies[one.image, one.name, one.box] - 1 for one in twice)
    objects = many(extra, "object is", "objects are")
    why = f"{objects} there once more (image, class and box are the same) and left out"
    return [Problem(twice[0].where, why, ProblemKind.BY_RULE, extra)]


def sticking_out(cut: Sequence[RawObject]) -> list[Problem]:
    """Boxes of which a part outside the image was cut off, when that is more than rounding."""
    if not cut:
        return []
    first, count = cut[0], len(cut)
    why = f"box {rounded(first.box)} of {first.name!r} sticks out of the image; what is outside was cut off"
    more = f" (and {count - 1} more)" if count > 1 else ""
    return [Problem(first.where, why + more, ProblemKind.NOTE, count)]


def clip(boxes: Float[Tensor, "k 4"]) -> Float[Tensor, "k 4"]:
    """The parts of the boxes inside their images, as they are stored; not numbers where a corner is infinite."""
    endless = boxes.isinf().any(dim=1, keepdim=True)
    return box_geometry.clip(boxes).masked_fill(endless, torch.nan).float()


def rounded(box: Corners) -> str:
    """A box for people."""
    return "(" + ", ".join(f"{v:.3g}" for v in box) + ")"
