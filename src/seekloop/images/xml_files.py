"""Read the objects of VOC's XML files, in any encoding."""

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.frames import known_size
from seekloop.images.objects import AnnotatedObjects, RawObject, as_number, class_name, flag

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
DECLARED = re.compile(rb"""^[^<]{0,8}<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
DECLARATION = re.compile(r"^\s*<\?xml.*?\?>", re.DOTALL)
WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
"""Encodings that hold more characters than the ones declared, in which files are often written all the same."""


def read_tree(path: Path) -> ElementTree.Element:
    """Parse an XML file in the encoding that it declares, if Python knows that encoding.

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
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        name = encoding
    for attempt in ("utf-32" if wide else encoding, WIDER.get(name, name), "utf-8-sig"):
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


def stated_name(tree: ElementTree.Element) -> str:
    """The image's name that a file states; empty where it states none."""
    return (tree.findtext("filename") or "").strip()


def xml_objects(source: XmlSource) -> tuple[list[RawObject], list[Problem]]:
    r"""The objects of one file, in pixels; each that is not understood is a problem.

    Corners count pixels from 1 and both belong to the box: it spans (xmin - 1) / w to xmax / w.
    """
    elements = source.tree.findall("object")  # direct children: a person's <part> has a box inside its object
    deeper = len(list(source.tree.iter("object"))) - len(elements)
    problems = [Problem(source.where, "objects inside other tags are not read", count=deeper)] if deeper else []
    size = known_size(source.tree.findtext("size/width"), source.tree.findtext("size/height"))
    objects: list[RawObject] = []
    for number, element in enumerate(elements, start=1):
        where = f"{source.where}, object {number}"
        try:
            name = class_name(element.findtext("name") or "")
            if not name:
                raise ValueError("it has no <name>")
            x0, y0, x1, y1 = (xml_number(element, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax"))
            if x1 >= x0 and y1 >= y0:  # else 1 taken off would hide a box of one pixel with swapped corners
                x0, y0 = x0 - 1, y0 - 1
            difficult = flag((element.findtext("difficult") or "0").strip(), "<difficult>")
        except ValueError as error:
            problems.append(Problem(where, f"not understood: {error}"))
        else:
            objects.append(
                RawObject(where, source.image, name, (x0, y0, x1, y1), difficult=difficult, pixels=True, size=size)
            )
    return objects, problems


def xml_number(element: ElementTree.Element, tag: str) -> float:
    """Read the number in a tag."""
    text = element.findtext(tag)
    if text is None:
        raise ValueError(f"it has no <{tag}>")
    try:
        return as_number(text.strip())
    except ValueError as error:
        raise ValueError(f"<{tag}> should be a number, and is {text!r}") from error


def annotated_by(sources: Iterable[XmlSource], problems: Iterable[Problem]) -> AnnotatedObjects:
    """The objects of several files, with the problems known already and their own; classes in VOC's order."""
    objects: list[RawObject] = []
    problems = list(problems)
    for source in sources:
        known, wrong = xml_objects(source)
        objects += known
        problems += wrong
    return AnnotatedObjects(objects, problems, CLASSES)


def other_image(states: Sequence[str], where: str) -> list[Problem]:
    """The problem of files that state another image than that of their own name."""
    if not states:
        return []
    files = many(len(states), "file states", "files state")
    why = f"{files} another image than that of the file's own name, which counts: {states[0]}"
    return [Problem(where, why, ProblemKind.NOTE, len(states))]
