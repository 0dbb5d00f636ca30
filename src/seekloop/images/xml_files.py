"""VOC's XML files: any encoding to a tree, and a tree to objects."""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.frames import Frame, Frames, Size, Stated, known_size
from seekloop.images.objects import RawObject

DECLARED = re.compile(rb"""^[^<]{0,8}<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
DECLARATION = re.compile(r"^\s*<\?xml.*?\?>", re.DOTALL)
FLAGS = {"0": False, "false": False, "no": False, "": False, "1": True, "true": True, "yes": True}


def read_tree(path: Path) -> ElementTree.Element:
    """Parse an XML file, whatever encoding it declares, if Python knows that encoding.

    The parser itself knows UTF-8, UTF-16 and encodings of one byte. Others (GBK, Shift_JIS, Big5, ...) are decoded
    first. A file that is not in the encoding it declares is tried as UTF-8.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it cannot be parsed; the message says why.
    """
    content = path.read_bytes()
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        first = error
    declared = DECLARED.match(content)
    encoding = declared.group(1).decode() if declared else "utf-8"
    for attempt in (encoding, "utf-8-sig"):
        try:
            text = content.decode(attempt)
        except LookupError:
            first = ValueError(f"its encoding {encoding!r} is not known")
        except UnicodeDecodeError as error:
            first = ValueError(f"its bytes are not {encoding} ({error.reason})")
        else:
            try:
                return ElementTree.fromstring(DECLARATION.sub("", text.lstrip("\ufeff")))
            except ElementTree.ParseError as error:
                first = error
    raise ValueError(str(first) or type(first).__name__) from first


@dataclass(frozen=True)
class XmlSource:
    """One parsed file, and the image that it describes.

    Attributes:
        where: its name, for people.
        tree: its content.
        image: position in the collection.
    """

    where: str
    tree: ElementTree.Element
    image: int


def xml_objects(source: XmlSource, frames: Frames) -> tuple[list[RawObject], list[Problem]]:
    """The objects of one file; each that is not understood is a problem."""
    elements = source.tree.findall("object")  # direct children: a person's <part> has a box inside its object
    if not elements:
        return [], []
    try:
        frame = frames.frame(Stated(source.where, source.image, xml_size(source.tree)))
    except UnreadableImageError as error:
        why = f"its boxes have no image size to refer to: {error.why}"
        return [], [Problem(source.where, why, count=len(elements))]
    objects: list[RawObject] = []
    problems: list[Problem] = []
    for number, element in enumerate(elements, start=1):
        spot = f"{source.where}, object {number}"
        try:
            objects.append(xml_object(element, spot, source.image, frame))
        except ValueError as error:
            problems.append(Problem(spot, f"not understood: {error}"))
    return objects, problems


def without_difficult(objects: list[RawObject], where: str) -> tuple[list[RawObject], list[Problem]]:
    """The objects that are not marked as difficult, and how many are."""
    kept = [one for one in objects if not one.difficult]
    left = len(objects) - len(kept)
    if not left:
        return kept, []
    why = f"{left} difficult objects were left out; collection.difficult=true takes them"
    return kept, [Problem(where, why, ProblemKind.BY_RULE, left)]


def stated_name(tree: ElementTree.Element) -> str:
    """The image's name that the file states; empty where it states none."""
    return (tree.findtext("filename") or "").strip()


def xml_size(tree: ElementTree.Element) -> Size | None:
    """Width and height where the file states them."""
    return known_size(tree.findtext("size/width"), tree.findtext("size/height"))


def xml_object(element: ElementTree.Element, where: str, image: int, frame: Frame) -> RawObject:
    r"""One object. Corners count pixels from 1 and both belong to the box: it spans (xmin - 1) / w to xmax / w.

    Raises:
        ValueError: if the class or a number is missing.
    """
    name = (element.findtext("name") or "").strip()
    if not name:
        raise ValueError("it has no <name>")
    x0, y0, x1, y1 = (xml_number(element, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax"))
    word = (element.findtext("difficult") or "0").strip().lower()
    if word not in FLAGS:
        raise ValueError(f"<difficult> should be 0 or 1, and is {word!r}")
    if x1 < x0 or y1 < y0:  # before 1 is taken off, which would hide a box of one pixel
        return RawObject(where, image, name, frame.upright((x0, y0, x1, y1)), difficult=FLAGS[word])
    return RawObject(where, image, name, frame.upright((x0 - 1, y0 - 1, x1, y1)), difficult=FLAGS[word])


def xml_number(element: ElementTree.Element, tag: str) -> float:
    """The number in a tag."""
    text = element.findtext(tag)
    if text is None:
        raise ValueError(f"it has no <{tag}>")
    return float(text)
