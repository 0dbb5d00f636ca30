"""VOC's XML files: any encoding to a tree, and a tree to objects."""

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.frames import Corners, Frame, Frames, Size, Stated, known_size
from seekloop.images.objects import RawObject, as_number, class_name, flag

DECLARED = re.compile(rb"""^[^<]{0,8}<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
DECLARATION = re.compile(r"^\s*<\?xml.*?\?>", re.DOTALL)
WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
"""Encodings that hold more characters than the ones declared, in which files are often written all the same."""


def read_tree(path: Path) -> ElementTree.Element:
    """Parse an XML file, whatever encoding it declares, if Python knows that encoding.

    The parser itself knows UTF-8, UTF-16 and encodings of one byte. Others (GBK, Shift_JIS, Big5, ...) are decoded
    first. A file that is not in the encoding it declares is tried in a wider one of the same script, then as UTF-8.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it cannot be parsed; the message says why.
    """
    content = path.read_bytes()
    try:
        return _plain(ElementTree.fromstring(content))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        first = error
    declared = DECLARED.match(content)
    encoding = declared.group(1).decode() if declared else "utf-8"
    wide = content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
    for attempt in ("utf-32" if wide else encoding, _wider(encoding), "utf-8-sig"):
        try:
            text = content.decode(attempt)
        except LookupError:
            first = ValueError(f"its encoding {encoding!r} is not known")
        except UnicodeDecodeError as error:
            first = ValueError(f"its bytes are not {encoding} ({error.reason})")
        else:
            try:
                return _plain(ElementTree.fromstring(DECLARATION.sub("", text.lstrip("\ufeff"))))
            except ElementTree.ParseError as error:
                first = error
    raise ValueError(str(first) or type(first).__name__) from first


def _wider(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        return encoding
    return WIDER.get(name, name)


def _plain(tree: ElementTree.Element) -> ElementTree.Element:
    """The tree without namespaces, which VOC has none of.

    Raises:
        ValueError: if it is another format's.
    """
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    if tree.tag.lower() != "annotation":
        raise ValueError(f"it is no VOC file: its first tag is <{tree.tag}>, and VOC's is <annotation>")
    return tree


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
    deeper = len(list(source.tree.iter("object"))) - len(elements)
    problems = [Problem(source.where, "objects inside other tags are not read", count=deeper)] if deeper else []
    if not elements:
        return [], problems
    try:
        frame = frames.frame(Stated(source.where, source.image, xml_size(source.tree)))
    except UnreadableImageError as error:
        why = f"its boxes have no image size to refer to: {error.why}"
        return [], [*problems, Problem(source.where, why, count=len(elements))]
    objects: list[RawObject] = []
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
    why = f"{many(left, 'object is', 'objects are')} difficult and left out; collection.difficult=true takes them"
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
    name = class_name(element.findtext("name") or "")
    if not name:
        raise ValueError("it has no <name>")
    box = frame.upright(xml_corners(element))
    difficult = flag((element.findtext("difficult") or "0").strip(), "<difficult>")
    return RawObject(where, image, name, box, difficult=difficult)


def xml_corners(element: ElementTree.Element) -> Corners:
    """Corners of an object's box in pixels from the image's left and top edge.

    Raises:
        ValueError: if a number is missing.
    """
    x0, y0, x1, y1 = (xml_number(element, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax"))
    if x1 < x0 or y1 < y0:  # before 1 is taken off, which would hide a box of one pixel
        return x0, y0, x1, y1
    return x0 - 1, y0 - 1, x1, y1


def xml_boxes(source: XmlSource) -> Iterator[tuple[int, Size | None, Corners]]:
    """Image, stated size and corners of every object that has them."""
    for element in source.tree.findall("object"):
        with suppress(ValueError):
            yield source.image, xml_size(source.tree), xml_corners(element)


def xml_number(element: ElementTree.Element, tag: str) -> float:
    """The number in a tag."""
    text = element.findtext(tag)
    if text is None:
        raise ValueError(f"it has no <{tag}>")
    try:
        return as_number(text.strip())
    except ValueError as error:
        raise ValueError(f"<{tag}> should be a number, and is {text!r}") from error
