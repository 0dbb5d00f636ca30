"""PASCAL VOC 2012, and the XML format that it made common."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from seekloop.contracts.declared import Share, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.decoding import suffixes
from seekloop.images.download import Archive, fetch
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Frames
from seekloop.images.objects import annotations_of
from seekloop.images.walk import find_images, stem
from seekloop.images.xml_files import XmlSource, annotated_by, other_image, read_tree, stated_name

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

    @declared
    def __init__(
        self,
        root: str | None = None,
        image_set: str = "trainval",
        difficult: bool = True,
        max_loss: Share = 0.1,
        download: bool = False,
        cache: str | None = None,
    ) -> None:
        folder = voc_folder(root, download)
        paths, problems = listed_files(folder, listed_images(folder, image_set), f"{image_set}.txt")
        sources, missing = open_xmls(folder, paths)
        others = [
            f"{source.where} states {stated!r}"
            for source in sources
            if (stated := stated_name(source.tree)) and bare(stated) != bare(source.where)
        ]
        source = annotated_by(sources, [*problems, *missing, *other_image(others, "Annotations")])
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


def voc_folder(root: str | None, download: bool) -> Path:
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
        bare = stem(name) if PurePosixPath(name).suffix.lower() in suffixes() else name
        options = (f"{name}.jpg", name, by_stem.get(bare), by_stem.get(bare.casefold()))
        path = next((option for option in options if option in there), None)
        if path is None:
            why = f"listed in {listed_in}, but there is no such file"
            problems.append(Problem(f"JPEGImages/{name}.jpg", why, ProblemKind.FILE))
        else:
            paths.append(f"JPEGImages/{path}")
    return list(dict.fromkeys(paths)), problems
