"""Any folder of images, with boxes in whichever of the common formats they are, or without."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.coco import category_order, coco_objects, corner_hint, find_listed, read_coco
from seekloop.images.csv_boxes import csv_objects
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Frames
from seekloop.images.names import ImageNames
from seekloop.images.objects import RawObject, annotate
from seekloop.images.voc import CLASSES as VOC_CLASSES
from seekloop.images.walk import ImageFiles, find_files, find_images, printable, stem
from seekloop.images.xml_files import XmlSource, read_tree, stated_name, xml_boxes, xml_objects


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

    def __init__(
        self,
        root: str | None,
        boxes: str | None,
        crowd: bool,
        white: int | None,
        max_loss: float | int,
        cache: str | None,
    ) -> None:
        if white is not None and not (isinstance(white, int) and 255 < white <= 65535):
            fix = "Usual: 1023 (10 bits), 4095 (12), 16383 (14); null reads it from each file."
            raise ConfigError("collection.white", white, "it is white in pictures of 9 to 16 bits", fix)
        folder = existing_folder(root, "a folder of images")
        source = boxes_source(folder, boxes)
        images = find_images(folder, [] if source is None else [source])
        annotated = Annotated()
        if source is not None and images.paths:
            real = [images.renamed.get(path, path) for path in images.paths]
            headers = image_headers(folder, real, Path(cache) if cache else None)
            annotated = read_boxes(source, images, Frames(headers), crowd)
        annotations, dropped = annotate(annotated.objects, annotated.order, annotated.hint)
        problems = list(dict.fromkeys([*annotated.problems, *dropped, *images.problems]))
        refuse_losses(len(annotations.image), problems, max_loss)
        super().__init__("folder", folder, images.paths, annotations, problems, cache, images.renamed, white)


@dataclass(frozen=True)
class Annotated:
    """Content of an annotation file.

    Attributes:
        objects: as it has them.
        problems: what was left out.
        order: class names in the order wanted.
        hint: what the boxes look like instead, if not like boxes as the format has them.
    """

    objects: list[RawObject] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    order: Sequence[str] = ()
    hint: str = ""


def boxes_source(root: Path, boxes: str | None) -> Path | None:
    """The file or folder of the boxes: looked for from the root first, then from here.

    Raises:
        ConfigError: if there is no such file or folder.
    """
    if boxes is None:
        return None
    source = root / Path(boxes).expanduser()  # an absolute path stays what it is
    if not source.exists() and Path(boxes).exists():
        source = Path(boxes)
    if not source.exists():
        raise ConfigError("collection.boxes", boxes, f"there is no {source}", "Give a .json, a .csv, or a folder.")
    return source


def read_boxes(source: Path, images: ImageFiles, frames: Frames, crowd: bool) -> Annotated:
    """Read boxes in whichever format they are.

    Args:
        source: a folder of .xml files, a .json or a .csv.
        images: of the collection.
        frames: of these images.
        crowd: whether COCO's crowds count.

    Raises:
        ConfigError: if the format is not known.
    """
    if source.is_dir():
        return boxes_from_xmls(source, images.paths, frames)
    match source.suffix.lower():
        case ".json":
            return boxes_from_json(source, images, frames, crowd)
        case ".csv" | ".tsv":
            objects, problems, hint = csv_objects(source, ImageNames(images.paths), frames)
            return Annotated(objects, problems, (), hint)
    why = "it is compressed; unpack it" if source.suffix.lower() in (".gz", ".zip") else "its format is not known"
    raise ConfigError("collection.boxes", str(source), why, "Give a COCO .json, a .csv, or a folder of VOC .xml files.")


def boxes_from_json(source: Path, images: ImageFiles, frames: Frames, crowd: bool) -> Annotated:
    """COCO's format. Images of the file that are not in the folder are problems."""
    try:
        coco = read_coco(source)
    except ValueError as error:
        raise ConfigError("collection.boxes", str(source), str(error), "Give a file of COCO instances.") from error
    listed = find_listed(coco, images, source.name)
    positions = {path: position for position, path in enumerate(images.paths)}

    def position(name: str) -> int | None:
        return positions.get(listed.images.get(name, ""))

    objects, problems = coco_objects(coco, source.name, position, frames, crowd)
    if not coco.annotations:
        problems.append(Problem(source.name, "its list of annotations is empty", ProblemKind.NOTE))
    return Annotated(objects, [*listed.problems, *problems], category_order(coco), corner_hint(coco))


def boxes_from_xmls(source: Path, paths: Sequence[str], frames: Frames) -> Annotated:
    """VOC's format: each file describes the image of its own name, or the one that it names where there is none.

    Raises:
        ConfigError: if there are no such files.
    """
    files, problems = find_files(source, ".xml")
    if not files:
        fix = "Give a COCO .json, a .csv, or a folder of VOC .xml files."
        raise ConfigError("collection.boxes", str(source), "there are no .xml files in this folder", fix)
    trees: dict[str, tuple[Path, XmlSource]] = {}
    for file in files:
        relative = Path(printable(file.relative_to(source).as_posix()))
        try:
            trees[relative.as_posix()] = relative, XmlSource(relative.as_posix(), read_tree(file), -1)
        except (OSError, ValueError) as error:
            problems.append(Problem(relative.as_posix(), f"unreadable: {error}"))
    meant, told = images_of_xmls(source.name, trees, paths)
    placed: list[XmlSource] = []
    for where, image in meant.items():
        tree = trees[where][1].tree
        if isinstance(image, str):
            problems.append(Problem(where, image, count=max(1, len(tree.findall("object")))))
        else:
            placed.append(XmlSource(where, tree, image))
    frames.decide(box for one in placed for box in xml_boxes(one))
    objects: list[RawObject] = []
    for one in placed:
        found, wrong = xml_objects(one, frames)
        objects += found
        problems += wrong
    return Annotated(objects, [*problems, *told, *frames.problems()], VOC_CLASSES)


def images_of_xmls(
    source: str, trees: dict[str, tuple[Path, XmlSource]], paths: Sequence[str]
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

    loose = names.match((s for _, one in trees.values() if (s := stated_name(one.tree))), f"<filename> in {source}")
    meant: dict[str, int | str] = {}
    exact: set[str] = set()
    others: list[str] = []
    for where, (relative, one) in trees.items():
        own, stated = relative.with_suffix(""), stated_name(one.tree)
        at_place = own_image(own.as_posix())
        answers = [at_place, *([names.find((relative.parent / stated).as_posix())] if stated else [])]
        answers += [own_image(own.name), *([loose.image[stated]] if stated else [])]
        image = next((answer for answer in answers if isinstance(answer, int)), answers[-1])
        meant[where] = image
        if isinstance(at_place, int):
            exact.add(where)
        if isinstance(image, int) and stated and isinstance(loose.image[stated], int) and loose.image[stated] != image:
            others.append(f"{where} states {stated!r} and is taken for {paths[image]!r}")
    claimed: dict[int, str] = {}
    for where in sorted(meant, key=lambda name: name not in exact):
        image = meant[where]
        if isinstance(image, int) and claimed.setdefault(image, where) != where:
            meant[where] = f"{claimed[image]} describes the same image, {paths[image]!r}"
    told = list(loose.problems) if any(isinstance(image, int) for image in loose.image.values()) else []
    if others:
        files = many(len(others), "file states", "files state")
        why = f"{files} another image than that of the file's own name, which counts: {others[0]}"
        told.append(Problem(f"<filename> in {source}", why, ProblemKind.NOTE, len(others)))
    return meant, told
