"""PASCAL VOC 2012, and the XML format that it made common."""

import codecs
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from seekloop.contracts.declared import Share, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.decoding import suffixes
from seekloop.images.download import Archive, fetch
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Corners, Frames, known_size
from seekloop.images.objects import AnnotatedObjects, RawObject, annotations_of, as_number, class_name, flag
from seekloop.images.walk import find_images, stem

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
DECLARED = re.compile(rb"""^[^<]{0,8}<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
DECLARATION = re.compile(r"^\s*<\?xml.*?\?>", re.DOTALL)
WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
"""Encodings that hold more characters than the ones declared, in which files are often written all the same."""
SECOND_COLUMN = re.compile(r"\s+-?[01]$")  # of the lists of single classes: whether an image shows the class

ARCHIVE = Archive(
    url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    md5="6cd6e144f989b92b3379bac3b3de84fd",
    member="VOCdevkit/VOC2012",
    target="VOC2012",
)


class XmlSource(NamedTuple):
    """One parsed file: its name for people, its content, and the position of its image in the collection."""

    where: str
    tree: ElementTree.Element
    image: int


class Voc2012(FileCollection):
    """PASCAL VOC 2012, or any collection of its layout. Images may have any ending that can be read.

    Args:
        root: the VOCdevkit folder, or the VOC2012 folder in it.
        image_set: a list in ImageSets/Main, such as "trainval".
        difficult: whether objects marked as difficult count.
        max_loss: largest share of the annotated objects that may be left out.
        download: whether to fetch the collection (2 GB) where it is missing.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if the folder or the list is missing, the download fails, or more objects are lost than allowed.

    Reference:
        Everingham et al., The PASCAL Visual Object Classes Challenge 2012.
    """

    @declared
    def __init__(
        self,
        root: Path | str | None = None,
        image_set: str = "trainval",
        difficult: bool = True,
        max_loss: Share = 0.1,
        download: bool = False,
        cache: Path | str | None = None,
    ) -> None:
        folder = voc_folder(root, download)
        paths, problems = listed_files(folder, listed_images(folder, image_set), f"{image_set}.txt")
        sources, missing = open_xmls(folder, paths)
        others = [
            f"{source.where} states {stated!r}"
            for source in sources
            if (stated := stated_name(source.tree)) and bare(stated) != bare(source.where)
        ]
        source = xml_objects(sources, [*problems, *missing, *other_image(others, "Annotations")])
        frames = Frames(image_headers(folder, paths, cache))
        annotations, problems = annotations_of(source, frames, difficult=difficult)
        refuse_losses(len(annotations.image), problems, max_loss)
        super().__init__("voc2012", folder, paths, annotations, problems, cache)


def bare(name: str) -> str:
    """The name of a file without folder and ending, in small letters."""
    return PurePosixPath(name.replace("\\", "/")).stem.casefold()


def open_xmls(folder: Path, paths: Sequence[str]) -> tuple[list[XmlSource], list[Problem]]:
    """Parse the XML files of the images, whose names need not be in the same small and capital letters.

    A file that is missing or damaged is a problem: its image then counts as showing nothing.
    """
    there = {file.name.casefold(): file.name for file in sorted((folder / "Annotations").glob("*"))}
    sources: list[XmlSource] = []
    problems: list[Problem] = []
    for image, path in enumerate(paths):
        name = f"{PurePosixPath(path).stem}.xml"
        exact = (folder / "Annotations" / name).is_file()
        where = f"Annotations/{name if exact else there.get(name.casefold(), name)}"
        try:
            sources.append(XmlSource(where, read_tree(folder / where), image))
        except FileNotFoundError:
            why = "no such file: the image counts as showing nothing"
            problems.append(Problem(where, why, ProblemKind.FILE))
        except (OSError, ValueError) as error:
            problems.append(Problem(where, f"unreadable ({error}): the image counts as showing nothing"))
    return sources, problems


def voc_folder(root: Path | str | None, download: bool) -> Path:
    """Find the folder that holds JPEGImages, Annotations and ImageSets."""
    if download and root is not None:
        base = Path(root).expanduser().absolute()
        if not (base / "ImageSets").is_dir():
            fetch(ARCHIVE, base)
    base = existing_folder(root, "VOCdevkit, or say download=true")
    for folder in (base / "VOC2012", base):
        if (folder / "ImageSets" / "Main").is_dir():
            return folder
    why = "it holds neither VOC2012/ImageSets/Main nor ImageSets/Main"
    raise ConfigError("root", root, why, "Give the path of VOCdevkit, or say download=true.")


def listed_images(folder: Path, image_set: str) -> list[str]:
    """Read the images of one list, in its order, each once. Lists of single classes have a second column, unused."""
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{image_set}.txt"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in lists.glob("*.txt"))) or "none"
        raise ConfigError("image_set", image_set, f"there is no {path}", f"Those there: {known}.")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ConfigError("image_set", image_set, f"{path} is no UTF-8 text", "Write it as UTF-8.") from error
    if all(SECOND_COLUMN.search(line) for line in lines):
        lines = [SECOND_COLUMN.sub("", line) for line in lines]
    return list(dict.fromkeys(lines))


def listed_files(folder: Path, names: Sequence[str], listed_in: str) -> tuple[list[str], list[Problem]]:
    """Find the listed images in JPEGImages; each that is not there is a problem.

    A name may be listed with its ending. Without one, `.jpg` is looked for first, then any file of that name.
    """
    pictures = find_images(folder / "JPEGImages")
    there = set(pictures.paths) - pictures.renamed.keys()
    by_stem: dict[str, str] = {}
    for one in sorted(there):
        by_stem.setdefault(stem(one), one)
        by_stem.setdefault(stem(one).casefold(), one)
    paths: list[str] = []
    problems = [problem for problem in pictures.problems if problem.kind is ProblemKind.FILE]
    for name in names:
        plain = stem(name) if PurePosixPath(name).suffix.lower() in suffixes() else name
        options = (f"{name}.jpg", name, by_stem.get(plain), by_stem.get(plain.casefold()))
        path = next((option for option in options if option in there), None)
        if path is None:
            why = f"listed in {listed_in}, but there is no such file"
            problems.append(Problem(f"JPEGImages/{name}.jpg", why, ProblemKind.FILE))
        else:
            paths.append(f"JPEGImages/{path}")
    return list(dict.fromkeys(paths)), problems


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


def stated_name(tree: ElementTree.Element) -> str:
    """The image's name that a file states; empty where it states none."""
    return (tree.findtext("filename") or "").strip()


def xml_objects(sources: Iterable[XmlSource], problems: Iterable[Problem]) -> AnnotatedObjects:
    """The objects of several files, in pixels, classes in VOC's order; each that is not understood is a problem.

    Args:
        sources: the files.
        problems: known already.
    """
    objects: list[RawObject] = []
    problems = list(problems)
    for where, tree, image in sources:
        elements = tree.findall("object")  # direct children: a person's <part> has a box inside its object
        if deeper := len(list(tree.iter("object"))) - len(elements):
            problems.append(Problem(where, "objects inside other tags are not read", count=deeper))
        size = known_size(tree.findtext("size/width"), tree.findtext("size/height"))
        for number, element in enumerate(elements, start=1):
            one = f"{where}, object {number}"
            try:
                name, box, difficult = xml_object(element)
            except ValueError as error:
                problems.append(Problem(one, f"not understood: {error}"))
            else:
                objects.append(RawObject(one, image, name, box, difficult=difficult, pixels=True, size=size))
    return AnnotatedObjects(objects, problems, CLASSES)


def xml_object(element: ElementTree.Element) -> tuple[str, Corners, bool]:
    r"""Class and box of one object, and whether it is difficult.

    Corners count pixels from 1 and both belong to the box: it spans (xmin - 1) / w to xmax / w.

    Raises:
        ValueError: with the reason, if something is missing or no number.
    """
    name = class_name(element.findtext("name") or "")
    if not name:
        raise ValueError("it has no <name>")
    x0, y0, x1, y1 = (xml_number(element, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax"))
    difficult = flag((element.findtext("difficult") or "0").strip(), "<difficult>")
    if x1 < x0 or y1 < y0:  # before 1 is taken off, which would hide a box of one pixel
        return name, (x0, y0, x1, y1), difficult
    return name, (x0 - 1, y0 - 1, x1, y1), difficult


def xml_number(element: ElementTree.Element, tag: str) -> float:
    """Read the number in a tag."""
    text = element.findtext(tag)
    if text is None:
        raise ValueError(f"it has no <{tag}>")
    try:
        return as_number(text.strip())
    except ValueError as error:
        raise ValueError(f"<{tag}> should be a number, and is {text!r}") from error


def other_image(states: Sequence[str], where: str) -> list[Problem]:
    """The problem of files that state another image than that of their own name."""
    if not states:
        return []
    files = many(len(states), "file states", "files state")
    why = f"{files} another image than that of the file's own name, which counts: {states[0]}"
    return [Problem(where, why, ProblemKind.NOTE, len(states))]
