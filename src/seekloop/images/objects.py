"""Objects of annotation files as `Annotations`: the steps that every format shares."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.contracts.records import Annotations
from seekloop.images.frames import Corners, Frames, Size

FLAGS = {"0": False, "false": False, "no": False, "": False, "none": False, "1": True, "true": True, "yes": True}
MARGIN = 0.02  # of the image's side: a box may stick out so far by rounding


@dataclass(frozen=True)
class RawObject:
    """One annotated object as its file has it.

    Attributes:
        where: file, and line or number, for people.
        image: position in the collection.
        name: class.
        box: (x0, y0, x1, y1), not yet clipped.
        crowd: as in `Annotations`.
        difficult: as in `Annotations`.
        pixels: whether the box is in pixels; else it is in fractions of the upright picture.
        size: width and height that the pixels refer to, as the file states them; None where it does not.
    """

    where: str
    image: int
    name: str
    box: Corners
    crowd: bool = False
    difficult: bool = False
    pixels: bool = False
    size: Size | None = None


@dataclass(frozen=True)
class AnnotatedObjects:
    """Content of annotation files.

    Attributes:
        objects: as they have them.
        problems: entries that are not understood.
        order: class names in the order wanted.
        hint: what the boxes look like instead, if not like boxes as the format has them.
    """

    objects: Sequence[RawObject] = ()
    problems: Sequence[Problem] = ()
    order: Sequence[str] = ()
    hint: str = ""


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


def annotations_of(
    source: AnnotatedObjects, frames: Frames, crowd: bool = True, difficult: bool = True
) -> tuple[Annotations, list[Problem]]:
    """Annotations of a collection from the content of its annotation files.

    Args:
        source: objects in pixels or fractions.
        frames: of the collection's images.
        crowd: whether boxes around crowds count.
        difficult: whether objects marked as difficult count.

    Returns:
        The annotations, and every problem with an object, those of `source` first.
    """
    frames.decide((one.image, one.size, one.box) for one in source.objects if one.pixels)
    problems = list(source.problems)
    upright: list[RawObject] = []
    for one in source.objects:
        try:
            box = frames.upright(one.where, one.image, one.size, one.box) if one.pixels else one.box
            upright.append(RawObject(one.where, one.image, one.name, box, one.crowd, one.difficult))
        except UnreadableImageError as error:
            problems.append(Problem(one.where, f"its box has no image size to refer to: {error.why}"))
        except ValueError as error:
            problems.append(Problem(one.where, str(error)))
    kept = [one for one in upright if (crowd or not one.crowd) and (difficult or not one.difficult)]
    rules = (
        ("crowd", crowd, "a crowd", "crowds", " (iscrowd)"),
        ("difficult", difficult, "difficult", "difficult", ""),
    )
    for mark, taken, one_is, several_are, source_key in rules:
        marked = [] if taken else [one for one in upright if getattr(one, mark)]
        if marked:
            count = many(len(marked), f"object is {one_is}", f"objects are {several_are}")
            count = count if kept else f"all of them are {several_are}"
            why = f"{count}{source_key} and left out; collection.{mark}=true takes them"
            problems.append(Problem(marked[0].where, why, ProblemKind.BY_RULE, len(marked)))
    annotations, dropped = annotate(kept, source.order, source.hint)
    return annotations, [*problems, *frames.problems(), *dropped]


def annotate(objects: Iterable[RawObject], order: Sequence[str], hint: str = "") -> tuple[Annotations, list[Problem]]:
    """Clip boxes in fractions, leave out those without an area in their image, and number the classes.

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
    copies: dict[tuple[int, str, Corners], list[RawObject]] = {}
    for one in sorted(objects, key=lambda one: one.image):
        copies.setdefault((one.image, one.name, one.box), []).append(one)
    rows = [several[0] for several in copies.values()]
    raw = torch.tensor([one.box for one in rows], dtype=torch.float64).reshape(-1, 4)
    endless = raw.isinf().any(dim=1, keepdim=True)
    box = box_geometry.clip(raw).masked_fill(endless, torch.nan).float()  # as they are stored
    out = ((raw < -MARGIN) | (raw > 1 + MARGIN)).any(dim=1)
    empty = box_geometry.degenerate(box)
    left_out = empty | out if hint else empty
    kept = [one for one, no in zip(rows, left_out.tolist(), strict=True) if not no]
    problems = [
        Problem(one.where, f"box {rounded(one.box)} of {one.name!r} {why_left_out(one.box)}{hint}")
        for one, no in zip(rows, left_out.tolist(), strict=True)
        if no
    ]
    if extra := sum(map(len, copies.values())) - len(rows):
        same = "once more (image, class and box are the same)"
        why = f"{many(extra, 'object is', 'objects are')} there {same} and left out"
        first = next(several[0] for several in copies.values() if len(several) > 1)
        problems.append(Problem(first.where, why, ProblemKind.BY_RULE, extra))
    if cut := [one for one, some in zip(rows, (out & ~left_out).tolist(), strict=True) if some]:
        why = f"box {rounded(cut[0].box)} of {cut[0].name!r} sticks out of the image; what is outside was cut off"
        more = f" (and {len(cut) - 1} more)" if len(cut) > 1 else ""
        problems.append(Problem(cut[0].where, why + more, ProblemKind.NOTE, len(cut)))
    names = {one.name for one in kept}
    classes = (*dict.fromkeys(name for name in order if name in names), *sorted(names.difference(order)))
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


def rounded(box: Corners) -> str:
    """A box for people."""
    return "(" + ", ".join(f"{v:.3g}" for v in box) + ")"
