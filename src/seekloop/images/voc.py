"""PASCAL VOC 2012, and the XML format that it made common."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.decoding import suffixes
from seekloop.images.download import Archive, fetch
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Frames
from seekloop.images.objects import RawObject, annotate
from seekloop.images.walk import find_images, stem
from seekloop.images.xml_files import XmlSource, read_tree, stated_name, without_difficult, xml_boxes, xml_objects

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

SECOND_COLUMN = re.compile(r"\s+-?[01]$")  # of the lists of single classes: whether an image shows the class

ARCHIVE = Archive(
    url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    md5="6cd6e144f989b92b3379bac3b3de84fd",
    member="VOCdevkit/VOC2012",
    target="VOC2012",
)


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

    def __init__(
        self,
        root: str | None,
        image_set: str,
        difficult: bool,
        max_loss: float | int,
        download: bool,
        cache: str | None,
    ) -> None:
        folder = voc_folder(root, download)
        paths, problems = listed_files(folder, listed_images(folder, image_set), f"{image_set}.txt")
        frames = Frames(image_headers(folder, paths, Path(cache) if cache else None))
        sources, missing = open_xmls(folder, paths)
        problems += missing
        frames.decide(box for source in sources for box in xml_boxes(source))
        objects: list[RawObject] = []
        for source in sources:
            found, wrong = xml_objects(source, frames)
            objects += found
            problems += wrong
        problems += other_names(sources)
        if not difficult:
            objects, left_out = without_difficult(objects, "Annotations")
            problems += left_out
        annotations, dropped = annotate(objects, CLASSES)
        problems += frames.problems() + dropped
        refuse_losses(len(annotations.image), problems, max_loss)
        super().__init__("voc2012", folder, paths, annotations, problems, cache)


def open_xmls(folder: Path, paths: Sequence[str]) -> tuple[list[XmlSource], list[Problem]]:
    """The XML files of the images, whose names need not be in the same small and capital letters; what is missing."""
    there = {file.name.casefold(): file.name for file in sorted((folder / "Annotations").glob("*"))}
    sources: list[XmlSource] = []
    problems: list[Problem] = []
    for image, path in enumerate(paths):
        name = f"{PurePosixPath(path).stem}.xml"
        exact = (folder / "Annotations" / name).is_file()
        found = open_xml(folder, Path("Annotations") / (name if exact else there.get(name.casefold(), name)), image)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            sources.append(found)
    return sources, problems


def other_names(sources: Sequence[XmlSource]) -> list[Problem]:
    """Files that state another image than that of their own name."""
    others = []
    for source in sources:
        stated = stated_name(source.tree)
        same = PurePosixPath(stated.replace("\\", "/")).stem.casefold() == PurePosixPath(source.where).stem.casefold()
        others += [] if same or not stated else [f"{source.where} states {stated!r}"]
    if not others:
        return []
    files = many(len(others), "file states", "files state")
    why = f"{files} another image than that of the file's own name, which counts: {others[0]}"
    return [Problem("Annotations", why, ProblemKind.NOTE, len(others))]


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
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ConfigError(
            "collection.image_set", image_set, f"{path} is no UTF-8 text", "Write it as UTF-8."
        ) from error
    if all(SECOND_COLUMN.search(line) for line in lines):
        lines = [SECOND_COLUMN.sub("", line) for line in lines]
    return list(dict.fromkeys(lines))


def listed_files(folder: Path, names: Sequence[str], listed_in: str) -> tuple[list[str], list[Problem]]:
    """Paths of the listed images in JPEGImages, and a problem for each that is not there.

    A name may be listed with its ending. Without one, `.jpg` is looked for first, then any file of that name.
    """
    pictures = find_images(folder / "JPEGImages")
    there = set(pictures.paths) - pictures.renamed.keys()
    by_stem: dict[str, str] = {}
    for path in sorted(there):
        by_stem.setdefault(stem(path), path)
        by_stem.setdefault(stem(path).casefold(), path)
    paths: list[str] = []
    problems = [problem for problem in pictures.problems if problem.kind is ProblemKind.FILE]
    for name in names:
        bare = stem(name) if PurePosixPath(name).suffix.lower() in suffixes() else name
        options = (f"{name}.jpg", name, by_stem.get(bare), by_stem.get(bare.casefold()))
        found = next((one for one in options if one in there), None)
        if found is None:
            why = f"listed in {listed_in}, but there is no such file"
            problems.append(Problem(f"JPEGImages/{name}.jpg", why, ProblemKind.FILE))
        else:
            paths.append(f"JPEGImages/{found}")
    return list(dict.fromkeys(paths)), problems


def open_xml(root: Path, relative: Path, image: int) -> XmlSource | Problem:
    """The XML file of the image at this position.

    A file that is missing or damaged is a problem: the image then counts as showing nothing.
    """
    where = relative.as_posix()
    try:
        return XmlSource(where, read_tree(root / relative), image)
    except FileNotFoundError:
        return Problem(where, "no such file: the image counts as showing nothing", ProblemKind.FILE)
    except (OSError, ValueError) as error:
        return Problem(where, f"unreadable ({error}): the image counts as showing nothing")
