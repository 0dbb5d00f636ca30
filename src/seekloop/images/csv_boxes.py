"""Boxes from a CSV, one object a row."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.decoding import Header
from seekloop.images.frames import Corners, Frames, Stated
from seekloop.images.names import ImageNames
from seekloop.images.objects import RawObject

COLUMNS = ("image", "class", "x0", "y0", "x1", "y1")
SIZES_HINT = "; the boxes look like x, y, width, height, and x0, y0, x1, y1 are two corners"


@dataclass(frozen=True)
class Row:
    """One row with an image, a class and four numbers: where it is, what it says."""

    where: str
    image: str
    name: str
    corners: Corners


def csv_objects(source: Path, names: ImageNames, frames: Frames) -> tuple[list[RawObject], list[Problem], str]:
    """The objects of a CSV, what was left out, and what its boxes look like where they are not two corners.

    Raises:
        ConfigError: if a column is missing, or the file is no UTF-8 text.
    """
    rows, problems = read_rows(source)
    above = [any(v > 1 for v in row.corners if math.isfinite(v)) for row in rows]
    pixels = sum(above) > len(above) / 2
    if any(above) and not pixels:
        why = f"read as fractions, though {sum(above)} of {len(above)} rows exceed 1"
        problems.append(Problem(str(source), why, ProblemKind.NOTE, sum(above)))
    matched = names.match((row.image for row in rows), source.name)
    placed: list[tuple[Row, int]] = []
    for row in rows:
        image = matched.image[row.image]
        if isinstance(image, str):
            problems.append(Problem(row.where, image))
        else:
            placed.append((row, image))
    problems += matched.problems
    stored = pixels and of_stored_pixels(placed, frames)
    objects: list[RawObject] = []
    for row, image in placed:
        try:
            box = in_fractions(row, image, frames, stored) if pixels else row.corners
        except UnreadableImageError as error:
            problems.append(Problem(row.where, f"its image has no size to refer to: {error.why}"))
            continue
        objects.append(RawObject(row.where, image, row.name, box))
    return objects, [*problems, *frames.problems()], size_hint(placed, frames, pixels)


def in_fractions(row: Row, image: int, frames: Frames, stored: bool) -> Corners:
    """A box in pixels of the upright picture, or of the stored pixels, as fractions of the upright one."""
    header = frames.headers[image]
    if stored and isinstance(header, Header) and header.orientation >= 5:
        return frames.frame(Stated(row.where, image, header.stored)).upright(row.corners)
    return frames.frame(Stated(row.where, image, None)).upright(row.corners)


def of_stored_pixels(placed: Sequence[tuple[Row, int]], frames: Frames) -> bool:
    """Whether boxes are those of the stored pixels, before EXIF turned the picture.

    They are where some box on a picture that is turned sideways fits the stored pixels only, and none fits the upright
    picture only.
    """
    fits: list[tuple[bool, bool]] = []
    for row, image in placed:
        header = frames.headers[image]
        if isinstance(header, Header) and header.orientation >= 5:
            x1, y1 = max(row.corners[0], row.corners[2]), max(row.corners[1], row.corners[3])
            fits.append(
                (
                    x1 <= header.stored[0] + 1 and y1 <= header.stored[1] + 1,
                    x1 <= header.size[0] + 1 and y1 <= header.size[1] + 1,
                )
            )
    return any(as_stored and not upright for as_stored, upright in fits) and not any(
        upright and not as_stored for as_stored, upright in fits
    )


def size_hint(placed: Sequence[tuple[Row, int]], frames: Frames, pixels: bool) -> str:
    """The hint that boxes are x, y, width, height: some are empty as corners, and all fit their images so."""
    empty = 0
    for row, image in placed:
        header = frames.headers[image]
        width, height = (1.0, 1.0) if not pixels else header.size if isinstance(header, Header) else (math.inf,) * 2
        x, y, w, h = row.corners
        if not (x + w <= width * 1.001 and y + h <= height * 1.001 and min(w, h) > 0):
            return ""
        empty += w <= x or h <= y
    return SIZES_HINT if empty else ""


def read_rows(source: Path) -> tuple[list[Row], list[Problem]]:
    """The rows of a CSV that have an image, a class and four numbers; the others as problems.

    Raises:
        ConfigError: if a column is missing, or the file is no UTF-8 text.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    lines = csv_rows(source)
    for number, row in lines:
        where = f"{source.name}, line {number}"
        try:
            x0, y0, x1, y1 = (float(row[column]) for column in COLUMNS[2:])
        except (TypeError, ValueError):
            found = ", ".join(repr(row[column]) for column in COLUMNS[2:])
            problems.append(Problem(where, f"x0, y0, x1, y1 should be four numbers, and are {found}"))
            continue
        image, name = (row["image"] or "").strip(), (row["class"] or "").strip()
        if image and name:
            rows.append(Row(where, image, name, (x0, y0, x1, y1)))
        else:
            problems.append(Problem(where, "it names no image or no class"))
    if not lines:
        problems.append(Problem(source.name, "it has a header and no rows", ProblemKind.NOTE))
    return rows, problems


def csv_rows(source: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and columns of every row; spreadsheets' byte order mark is passed over."""
    fix = f"Write UTF-8 with a first line {','.join(COLUMNS)}."
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            mark = max(",;\t", key=first.count)  # spreadsheets write what the country's settings say
            reader = csv.DictReader(file, skipinitialspace=True, delimiter=mark)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                found = ", ".join(reader.fieldnames or ()) or "nothing"
                why = f"it has no column {', '.join(missing)}; its first line has {found}"
                raise ConfigError("collection.boxes", str(source), why, fix)
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("collection.boxes", str(source), f"it cannot be read ({error})", fix) from error
