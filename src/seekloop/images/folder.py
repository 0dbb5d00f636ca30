"""Any folder of images, with boxes in whichever of the common formats they are, or without."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

from annotated_types import Interval

from seekloop.contracts.declared import Share, declared
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.coco import coco_objects, find_listed, read_coco
from seekloop.images.csv_boxes import csv_objects
from seekloop.images.decoding import Header
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Frames
from seekloop.images.names import ImageNames
from seekloop.images.objects import AnnotatedObjects, annotations_of
from seekloop.images.voc import XmlSource, other_image, read_tree, stated_name, xml_objects
from seekloop.images.walk import ImageFiles, find_files, find_images, printable, stem


class ImageFolder(FileCollection):
    """All images below a folder. An image is known by its path from the root: two of one name are two images.

    Links to folders are followed. Hidden files and folders, and those of file servers (`@eaDir`, `#recycle`, ...), are
    passed over. Images are sorted by path.

    Args:
        root: the folder.
        boxes: None; a COCO .json; a folder of VOC .xml files; or a .csv with the columns image, class, x0, y0, x1, y1,
            one object a row. The CSV's coordinates are pixels of the upright image from its left and top edge, or
            fractions of it where most rows have none above 1 (a box may stick out a little). All of these name images
            by their path from the root, or by the bare file name where just one image has it (`ImageNames`).
        crowd: whether COCO's boxes around crowds count as objects of their class.
        white: value of white in grey pictures of 16 bits, such as 4095 for 12 bits; None: what each file states, else
            65535.
        max_loss: largest share of the annotated objects that may be left out.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if the folder holds no images, the boxes are of no known format, or more objects are lost than
            allowed.
    """

    @declared
    def __init__(
        self,
        root: Path | str | None = None,
        boxes: Path | str | None = None,
        crowd: bool = False,
        white: Annotated[int, Interval(gt=255, le=65535)] | None = None,
        max_loss: Share = 0.1,
        cache: Path | str | None = None,
    ) -> None:
        folder = existing_folder(root, "a folder of images")
        source = boxes_source(folder, boxes)
        images = find_images(folder, [] if source is None else [source])
        annotated, headers = AnnotatedObjects(), list[Header | UnreadableImageError]()
        if source is not None and images.paths:
            headers = image_headers(folder, images.real, cache)
            annotated = read_boxes(source, images, headers)
        annotations, problems = annotations_of(annotated, Frames(headers), crowd=crowd)
        problems = list(dict.fromkeys([*problems, *images.problems]))
        refuse_losses(len(annotations.image), problems, max_loss)
        super().__init__("folder", folder, images.paths, annotations, problems, cache, images.renamed, white)


def boxes_source(root: Path, boxes: Path | str | None) -> Path | None:
    """The file or folder of the boxes: looked for from the root first, then from here."""
    if boxes is None:
        return None
    source = root / Path(boxes).expanduser()  # an absolute path stays what it is
    here = Path(boxes).expanduser()
    if not source.exists() and here.exists():
        source = here
    if not source.exists():
        places = " and no ".join(dict.fromkeys((str(source), str(here.absolute()))))
        raise ConfigError("boxes", boxes, f"there is no {places}", "Give a .json, a .csv, or a folder.")
    return source


def read_boxes(source: Path, images: ImageFiles, headers: Sequence[Header | UnreadableImageError]) -> AnnotatedObjects:
    """Read boxes in any of the known formats.

    Args:
        source: a folder of .xml files, a .json or a .csv.
        images: of the collection.
        headers: of these images.
    """
    ending = source.suffix.lower()
    if source.is_dir():
        return boxes_from_xmls(source, images.paths)
    if ending in (".csv", ".tsv"):
        return csv_objects(source, ImageNames(images.paths), headers)
    if ending == ".json":
        try:
            coco = read_coco(source)
        except ValueError as error:
            raise ConfigError("boxes", str(source), str(error), "Give a file of COCO instances.") from error
        named, problems = find_listed(coco, images, source.name)
        if not coco.annotations:
            problems.append(Problem(source.name, "its list of annotations is empty", ProblemKind.NOTE))
        positions = {path: position for position, path in enumerate(images.paths)}
        return coco_objects(coco, source.name, {name: positions[path] for name, path in named.items()}, problems)
    why = "it is compressed; unpack it" if ending in (".gz", ".zip") else "its format is not known"
    raise ConfigError("boxes", str(source), why, "Give a COCO .json, a .csv, or a folder of VOC .xml files.")


def boxes_from_xmls(source: Path, paths: Sequence[str]) -> AnnotatedObjects:
    """VOC's format: each file describes the image of its own name, or the one that it names where there is none."""
    files, problems = find_files(source, ".xml")
    if not files:
        fix = "Give a COCO .json, a .csv, or a folder of VOC .xml files."
        raise ConfigError("boxes", str(source), "there are no .xml files in this folder", fix)
    trees: dict[str, tuple[Path, ElementTree.Element]] = {}
    for file in files:
        relative = Path(printable(file.relative_to(source).as_posix()))
        try:
            trees[relative.as_posix()] = relative, read_tree(file)
        except (OSError, ValueError) as error:
            problems.append(Problem(relative.as_posix(), f"unreadable: {error}"))
    meant, notes = images_of_xmls(source.name, trees, paths)
    for where, image in meant.items():
        if isinstance(image, str):
            problems.append(Problem(where, image, count=max(1, len(trees[where][1].findall("object")))))
    sources = [XmlSource(where, trees[where][1], image) for where, image in meant.items() if isinstance(image, int)]
    return xml_objects(sources, [*problems, *notes])


def images_of_xmls(
    source: str, trees: Mapping[str, tuple[Path, ElementTree.Element]], paths: Sequence[str]
) -> tuple[dict[str, int | str], list[Problem]]:
    """The image of every XML file, or why there is none.

    The image of the file's own name and place comes first, then the one that it states at its place, then one of its
    own name anywhere, then the stated one anywhere. A file's own name may have the image's ending (a.jpg.xml), and need
    not be in the image's small and capital letters. An image described by two files belongs to the first that has its
    name and place, else to the first.

    Args:
        source: the folder of the files, for people.
        trees: by their names, the paths and contents of the files.
        paths: of the images.
    """
    names = ImageNames(paths)
    spellings = [ImageNames([stem(path) for path in paths]), names, ImageNames([stem(p).casefold() for p in paths])]

    def own_image(name: str) -> int | str:
        answers = [one.find(word) for one, word in zip(spellings, (name, name, name.casefold()), strict=True)]
        return next((answer for answer in answers if isinstance(answer, int)), answers[0])

    in_source = f"<filename> in {source}"
    loose, inexact = names.match((s for _, tree in trees.values() if (s := stated_name(tree))), in_source)
    meant: dict[str, int | str] = {}
    exact: set[str] = set()
    others: list[str] = []
    for where, (relative, tree) in trees.items():
        own, stated = relative.with_suffix(""), stated_name(tree)
        at_place = own_image(own.as_posix())
        answers = [at_place, *([names.find((relative.parent / stated).as_posix())] if stated else [])]
        answers += [own_image(own.name), *([loose[stated]] if stated else [])]
        image = next((answer for answer in answers if isinstance(answer, int)), answers[-1])
        meant[where] = image
        if isinstance(at_place, int):
            exact.add(where)
        if isinstance(image, int) and stated and isinstance(loose[stated], int) and loose[stated] != image:
            others.append(f"{where} states {stated!r} and is taken for {paths[image]!r}")
    claimed: dict[int, str] = {}
    for where in sorted(meant, key=lambda name: name not in exact):
        image = meant[where]
        if isinstance(image, int) and claimed.setdefault(image, where) != where:
            meant[where] = f"{claimed[image]} describes the same image, {paths[image]!r}"
    inexact = inexact if any(isinstance(image, int) for image in loose.values()) else []
    return meant, [*inexact, *other_image(others, in_source)]
