"""PASCAL VOC 2012, and the XML format that it made common."""

from pathlib import Path
from xml.etree import ElementTree

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem
from seekloop.images.decoding import read_size
from seekloop.images.download import Archive, fetch
from seekloop.images.files import FileCollection, existing_folder, present
from seekloop.images.objects import RawObject, annotate, fractions

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

ARCHIVE = Archive(
    url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    md5="6cd6e144f989b92b3379bac3b3de84fd",
    member="VOCdevkit/VOC2012",
    target="VOC2012",
)


class Voc2012(FileCollection):
    """PASCAL VOC 2012, or any collection of its layout.

    Args:
        root: the VOCdevkit folder, or the VOC2012 folder in it.
        image_set: a list in ImageSets/Main, such as "trainval".
        difficult: whether objects marked as difficult count.
        download: whether to fetch the collection (2 GB) where it is missing.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if the folder or the list is missing, or the download fails.

    Reference:
        Everingham et al., The PASCAL Visual Object Classes Challenge 2012.
    """

    def __init__(self, root: str | None, image_set: str, difficult: bool, download: bool, cache: str | None) -> None:
        folder = voc_folder(root, download)
        names = listed_images(folder, image_set)
        paths, problems = present(folder, [f"JPEGImages/{name}.jpg" for name in names], f"{image_set}.txt")
        objects: list[RawObject] = []
        for image, path in enumerate(paths):
            found, wrong = read_xml(folder, Path("Annotations") / f"{Path(path).stem}.xml", image, path)
            objects += [one for one in found if difficult or not one.difficult]
            problems += wrong
        annotations, dropped = annotate(objects, CLASSES)
        super().__init__("voc2012", folder, paths, annotations, problems + dropped, cache)


def voc_folder(root: str | None, download: bool) -> Path:
    """The folder that holds JPEGImages, Annotations and ImageSets."""
    if download and root is not None:
        base = Path(root).expanduser().absolute()
        if not (base / "ImageSets").is_dir():
            fetch(ARCHIVE, base)
    base = existing_folder(root, "VOCdevkit, or say collection.download=true")
    for folder in (base / "VOC2012", base):
        if (folder / "ImageSets" / "Main").is_dir():
            return folder
    why = "it holds neither VOC2012/ImageSets/Main nor ImageSets/Main"
    raise ConfigError("collection.root", root, why, "Give the path of VOCdevkit, or say collection.download=true.")


def listed_images(folder: Path, image_set: str) -> list[str]:
    """The images of one list, in its order, each once. The lists of single classes have a second column, unused."""
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{image_set}.txt"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in lists.glob("*.txt"))) or "none"
        raise ConfigError("collection.image_set", image_set, f"there is no {path}", f"Those there: {known}.")
    rows = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return list(dict.fromkeys(row[0] for row in rows if row))


def read_xml(root: Path, relative: Path, image: int, image_path: str) -> tuple[list[RawObject], list[Problem]]:
    """The objects of one XML file, for the image at this position and path.

    A file that is missing or damaged is a problem: the image then counts as showing nothing.
    """
    where = relative.as_posix()
    try:
        tree = ElementTree.parse(root / relative).getroot()
    except FileNotFoundError:
        return [], [Problem(where, "no such file: the image counts as showing nothing")]
    except (OSError, ElementTree.ParseError) as error:
        return [], [Problem(where, f"unreadable ({error}): the image counts as showing nothing")]
    return xml_objects(tree, where, image, root / image_path)


def xml_objects(tree: ElementTree.Element, where: str, image: int, path: Path) -> tuple[list[RawObject], list[Problem]]:
    """The objects of one parsed XML file."""
    elements = tree.findall("object")  # direct children: a person's <part> has a box of its own inside its object
    if not elements:
        return [], []
    try:
        size = xml_size(tree) or read_size(path)
    except UnreadableImageError as error:
        return [], [Problem(where, f"its boxes have no image size to refer to: {error.why}")]
    objects: list[RawObject] = []
    problems: list[Problem] = []
    for number, element in enumerate(elements, start=1):
        spot = f"{where}, object {number}"
        try:
            objects.append(xml_object(element, spot, image, size))
        except ValueError as error:
            problems.append(Problem(spot, f"not understood: {error}"))
    return objects, problems


def xml_size(tree: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height where the file states them."""
    try:
        width, height = (int(tree.findtext(f"size/{side}", "0")) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def xml_object(element: ElementTree.Element, where: str, image: int, size: tuple[int, int]) -> RawObject:
    r"""One object. Corners count pixels from 1 and both belong to the box: it spans (xmin - 1) / w to xmax / w.

    Raises:
        ValueError: if the class or a number is missing.
    """
    name = element.findtext("name", "").strip()
    if not name:
        raise ValueError("it has no <name>")
    x0, y0, x1, y1 = (xml_number(element, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax"))
    difficult = element.findtext("difficult", "0").strip() == "1"
    return RawObject(where, image, name, fractions((x0 - 1, y0 - 1, x1, y1), size), difficult=difficult)


def xml_number(element: ElementTree.Element, tag: str) -> float:
    """The number in a tag."""
    text = element.findtext(tag)
    if text is None:
        raise ValueError(f"it has no <{tag}>")
    return float(text)
