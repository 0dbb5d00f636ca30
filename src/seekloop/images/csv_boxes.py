"""Boxes from a CSV, one object a row."""

import codecs
import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.decoding import Header
from seekloop.images.frames import Corners, Frames, Stated
from seekloop.images.names import ImageNames
from seekloop.images.objects import RawObject, as_number, class_name

COLUMNS = ("image", "class", "x0", "y0", "x1", "y1")
FAR = 2  # of the image's side: a box in fractions does not reach so far
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
        why = f"read as fractions of the image, though {sum(above):,} of {many(len(above), 'row', 'rows')} exceed 1"
        problems.append(Problem(source.name, why, ProblemKind.NOTE, sum(above)))
    matched = names.match((row.image for row in rows), source.name)
    placed: list[tuple[Row, int]] = []
    for row in rows:
        image = matched.image[row.image]
        if isinstance(image, str):
            problems.append(Problem(row.where, image))
        else:
            placed.append((row, image))
    problems += matched.problems
    if pixels:
        frames.decide((image, None, row.corners) for row, image in placed)
    objects: list[RawObject] = []
    for row, image in placed:
        try:
            box = in_fractions(row, image, frames) if pixels else checked(row.corners)
        except UnreadableImageError as error:
            problems.append(Problem(row.where, f"its image has no size to refer to: {error.why}"))
            continue
        except ValueError as error:
            problems.append(Problem(row.where, str(error)))
            continue
        objects.append(RawObject(row.where, image, row.name, box))
    return objects, [*problems, *frames.problems()], size_hint(placed, frames, pixels)


def in_fractions(row: Row, image: int, frames: Frames) -> Corners:
    """A box in pixels of the upright picture, or of the stored pixels, as fractions of the upright one."""
    return frames.frame(Stated(row.where, image, None)).upright(row.corners)


def checked(corners: Corners) -> Corners:
    """A box in fractions.

    Raises:
        ValueError: if it reaches so far out of the image that it is given in pixels.
    """
    if any(abs(v) > FAR for v in corners if math.isfinite(v)):
        raise ValueError("its box looks like pixels, and most rows have fractions (no number above 1)")
    return corners


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
        ConfigError: if a column is missing, or the file is no text.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    lines = csv_rows(source)
    for line in lines:
        where = f"{source.name}, line {line.number}"
        try:
            rows.append(read_row(line, where))
        except ValueError as error:
            problems.append(Problem(where, str(error), count=line.length))
    if not lines:
        problems.append(Problem(source.name, "it has a header and no rows", ProblemKind.NOTE))
    return rows, problems


@dataclass(frozen=True)
class Line:
    """One row as it stands in the file.

    Attributes:
        number: of its last line.
        length: how many lines it takes; more than one where a quoted field holds a line break.
        columns: by their names, stripped.
        surplus: how many fields it has more than the first line.
        commas: whether a number may have a decimal comma, as fields are not divided by commas.
    """

    number: int
    length: int
    columns: dict[str, str]
    surplus: int
    commas: bool


def read_row(line: Line, where: str) -> Row:
    """The image, the class and the corners of a row.

    Raises:
        ValueError: with the reason, if one of them is missing.
    """
    if line.surplus:
        fields = many(line.surplus, "field", "fields")
        raise ValueError(
            f"it has {fields} more than the first line has; are there decimal commas, or commas in a name?"
        )
    texts = [line.columns[column] for column in COLUMNS[2:]]
    try:
        x0, y0, x1, y1 = (as_number(text.replace(",", ".") if line.commas else text) for text in texts)
    except ValueError as error:
        found = ", ".join(map(repr, texts))
        raise ValueError(f"x0, y0, x1, y1 should be four numbers, and are {found}") from error
    image, name = line.columns["image"], class_name(line.columns["class"])
    if not image or not name:
        raise ValueError("it names no image or no class")
    if "\n" in line.columns["class"]:
        raise ValueError("its class holds a line break; is a quotation mark missing?")
    return Row(where, image, name, (x0, y0, x1, y1))


def csv_rows(source: Path) -> list[Line]:
    """Every row that is not blank. Columns may be in any order, their names in capitals or not."""
    fix = f"Write UTF-8 with a first line {','.join(COLUMNS)}."
    try:
        text, mark, preamble = csv_text(source)
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, delimiter=mark)
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader][preamble:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("collection.boxes", str(source), f"it cannot be read ({error})", fix) from error
    first = rows[0][1] if rows else []
    names = [name.lower() for name in first]
    wrong = [column for column in COLUMNS if names.count(column) != 1]
    if wrong:
        missing = "no column" if wrong[0] not in names else "more than one column"
        why = f"it has {missing} {', '.join(wrong)}; its first line has {', '.join(first) or 'nothing'}"
        raise ConfigError("collection.boxes", str(source), why, fix)
    lines = []
    for (before, _), (last, fields) in pairwise(rows):
        columns = dict(zip(names, [*fields, *[""] * len(names)], strict=False))
        surplus = sum(map(bool, fields[len(names) :]))
        lines += [Line(last, last - before, columns, surplus, mark != ",")] if any(fields) else []
    return lines


def csv_text(source: Path) -> tuple[str, str, int]:
    """The text of a CSV, the mark that divides its fields, and how many lines stand before that of the columns.

    Spreadsheets write the mark that the country's settings say, some a first line such as `sep=;`, and UTF-16 as
    "Unicode text".
    """
    stored = source.read_bytes()
    wide = stored.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = stored.decode("utf-16" if wide else "utf-8-sig")
    head = text.partition("\n")[0]
    stated = re.fullmatch(r"sep=(.)\s*", head)
    return text, stated[1] if stated else max(",;\t", key=head.count), 1 if stated else 0
