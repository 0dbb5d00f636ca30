"""Any folder of images, with boxes in whichever of the common formats they are, or without."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from functools import cache as remember
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem
from seekloop.images.coco import category_order, coco_objects, load_coco
from seekloop.images.decoding import SUFFIXES, read_size
from seekloop.images.files import FileCollection, existing_folder
from seekloop.images.objects import ImageNames, RawObject, annotate, fractions
from seekloop.images.voc import CLASSES as VOC_CLASSES
from seekloop.images.voc import xml_objects

COLUMNS = ("image", "class", "x0", "y0", "x1", "y1")

Found = tuple[list[RawObject], list[Problem], Sequence[str]]  # objects, problems, order of the classes


class ImageFolder(FileCollection):
    """All images below a folder. An image is known by its path from the root: two of one name are two images.

    Hidden files and folders are passed over. Images are sorted by path.

    Args:
        root: the folder.
        boxes: None; a COCO .json; a folder of VOC .xml files; or a .csv with the columns image, class, x0, y0, x1, y1,
            one object a row. The CSV's coordinates are pixels of the upright image from its left and top edge, or
            fractions of it where most rows have none above 1 (a box may stick out a little). All of these name images
            by their path from the root, or by the bare file name where just one image has it. COCO's crowds do not
            count.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if the folder holds no images, or the boxes are of no known format.
    """

    def __init__(self, root: str | None, boxes: str | None, cache: str | None) -> None:
        folder = existing_folder(root, "a folder of images")
        paths = image_paths(folder)
        objects, problems, order = find_boxes(folder, boxes, paths)
        annotations, dropped = annotate(objects, order)
        super().__init__("folder", folder, paths, annotations, problems + dropped, cache)


def image_paths(root: Path) -> list[str]:
    """Relative paths of all files with an image's suffix, sorted."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(path.relative_to(root).as_posix() for path in found if path.suffix.lower() in SUFFIXES)


def find_boxes(root: Path, boxes: str | None, paths: Sequence[str]) -> Found:
    """Read the boxes in whichever format they are.

    Raises:
        ConfigError: if there is no such file or folder, or it is of no known format.
    """
    if boxes is None:
        return [], [], ()
    source = root / Path(boxes).expanduser()  # an absolute path stays what it is
    if not source.exists() and Path(boxes).exists():
        source = Path(boxes)
    names = ImageNames(paths)
    if source.is_dir():
        return boxes_from_xmls(source, root, names, paths)
    if not source.exists():
        raise ConfigError("collection.boxes", boxes, f"there is no {source}", "Give a .json, a .csv, or a folder.")
    match source.suffix.lower():
        case ".json":
            return boxes_from_json(source, names)
        case ".csv":
            return boxes_from_csv(source, root, names, paths)
    raise ConfigError("collection.boxes", boxes, "its format is not known", "Give a .json, a .csv, or a folder.")


def boxes_from_json(source: Path, names: ImageNames) -> Found:
    """COCO's format. Images of the file that are not in the folder are problems."""
    try:
        coco = load_coco(source)
    except (OSError, ValueError) as error:
        raise ConfigError("collection.boxes", str(source), str(error), "Give a file of COCO instances.") from error
    found = {number: names.find(str(image.get("file_name"))) for number, image in coco.imgs.items()}
    problems = [Problem(f"{source.name}, image {n}", why) for n, why in found.items() if isinstance(why, str)]

    def position(image: Mapping[str, Any]) -> int | None:
        answer = found[image["id"]]
        return answer if isinstance(answer, int) else None

    objects, wrong = coco_objects(coco, source.name, position, crowd=False)
    return objects, problems + wrong, category_order(coco)


def boxes_from_xmls(source: Path, root: Path, names: ImageNames, paths: Sequence[str]) -> Found:
    """VOC's format: each file belongs to the image of the same relative path, or the one it names."""
    stems = ImageNames([str(PurePosixPath(path).with_suffix("")) for path in paths])
    objects: list[RawObject] = []
    problems: list[Problem] = []
    for file in sorted(source.rglob("*.xml")):
        relative = file.relative_to(source)
        try:
            tree = ElementTree.parse(file).getroot()
        except (OSError, ElementTree.ParseError) as error:
            problems.append(Problem(relative.as_posix(), f"unreadable: {error}"))
            continue
        image = image_of_xml(tree, relative, names, stems)
        if isinstance(image, str):
            problems.append(Problem(relative.as_posix(), image))
            continue
        found, wrong = xml_objects(tree, relative.as_posix(), image, root / paths[image])
        objects += found
        problems += wrong
    return objects, problems, VOC_CLASSES


def image_of_xml(tree: ElementTree.Element, relative: Path, names: ImageNames, stems: ImageNames) -> int | str:
    """The image that stands where the file stands, by the name it states or by its own; else any one of that name."""
    stated = tree.findtext("filename", "").strip()
    own = relative.with_suffix("")
    answers = [stems.find(own.as_posix()), stems.find(own.name)]
    if stated:
        answers = [names.find((relative.parent / stated).as_posix()), answers[0], names.find(stated), answers[1]]
    return next((answer for answer in answers if isinstance(answer, int)), answers[-1])


def boxes_from_csv(source: Path, root: Path, names: ImageNames, paths: Sequence[str]) -> Found:
    """One object a row; see `ImageFolder` for the coordinates."""
    rows, problems = read_rows(source)
    above = [any(v > 1 for v in corners if math.isfinite(v)) for _, _, corners in rows]
    pixels = sum(above) > len(above) / 2
    if any(above) and not pixels:
        problems.append(Problem(str(source), f"read as fractions, though {sum(above)} of {len(above)} rows exceed 1"))
    size = remember(read_size)
    objects: list[RawObject] = []
    for where, row, corners in rows:
        image = names.find(row["image"])
        if isinstance(image, str):
            problems.append(Problem(where, image))
            continue
        try:
            box = fractions(corners, size(root / paths[image])) if pixels else corners
        except UnreadableImageError as error:
            problems.append(Problem(where, f"its image has no size to refer to: {error.why}"))
            continue
        objects.append(RawObject(where, image, row["class"].strip(), box))
    return objects, problems, ()


Row = tuple[str, dict[str, str], tuple[float, float, float, float]]  # where, columns, corners


def read_rows(source: Path) -> tuple[list[Row], list[Problem]]:
    """The rows of a CSV that have an image, a class and four numbers; the others as problems.

    Raises:
        ConfigError: if a column is missing, or the file is no UTF-8 text.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, row in csv_rows(source):
        where = f"{source.name}, line {number}"
        try:
            x0, y0, x1, y1 = (float(row[column]) for column in COLUMNS[2:])
        except (TypeError, ValueError):
            problems.append(Problem(where, "it has not four numbers"))
            continue
        if row["image"] and row["class"] and row["class"].strip():
            rows.append((where, row, (x0, y0, x1, y1)))
        else:
            problems.append(Problem(where, "it names no image or no class"))
    return rows, problems


def csv_rows(source: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and columns of every row; spreadsheets' byte order mark is passed over."""
    fix = f"Write UTF-8 with a first line {','.join(COLUMNS)}."
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise ConfigError("collection.boxes", str(source), f"it has no column {', '.join(missing)}", fix)
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("collection.boxes", str(source), f"it cannot be read ({error})", fix) from error
