"""PASCAL VOC 2012, and the XML format that it made common."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.decoding import suffixes
from seekloop.images.download import Archive, fetch
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Frames
from seekloop.images.objects import RawObject, annotate
from seekloop.images.walk import find_images, stem
from seekloop.images.xml_files import XmlSource, read_tree, stated_name, without_difficult, xml_objects

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
        objects: list[RawObject] = []
        other_names: list[str] = []
        for image, path in enumerate(paths):
            relative = Path("Annotations") / f"{PurePosixPath(path).stem}.xml"
            source = open_xml(folder, relative, image)
            if isinstance(source, Problem):
                problems.append(source)
                continue
            stated = stated_name(source.tree)
            if stated and PurePosixPath(stated.replace("\\", "/")).stem != PurePosixPath(path).stem:
                other_names.append(f"{source.where} states {stated!r}")
            found, wrong = xml_objects(source, frames)
            objects += found
            problems += wrong
        if other_names:
            why = f"{len(other_names)} files state another image's name than their own, such as this: {other_names[0]}"
            problems.append(Problem("Annotations", f"{why}. Their own counts", ProblemKind.NOTE, len(other_names)))
        if not difficult:
            objects, left_out = without_difficult(objects, "Annotations")
            problems += left_out
        annotations, dropped = annotate(objects, CLASSES)
        problems += frames.problems() + dropped
        refuse_losses(len(annotations.image), problems, max_loss)
        super().__init__("voc2012", folder, paths, annotations, problems, cache)


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
    rows = (line.split() for line in path.read_text(encoding="utf-8-sig").splitlines())
    return list(dict.fromkeys(row[0] for row in rows if row))


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
