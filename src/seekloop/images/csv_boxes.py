"""Boxes from a CSV, one object a row."""

import codecs
import csv
import io
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.decoding import Header
from seekloop.images.frames import Corners
from seekloop.images.names import ImageNames
from seekloop.images.objects import AnnotatedObjects, RawObject, as_number, class_name

COLUMNS = ("image", "class", "x0", "y0", "x1", "y1")
FAR = 2  # of the image's side: a box in fractions does not reach so far
SIZES_HINT = "; the boxes look like x, y, width, height, and x0, y0, x1, y1 are two corners"


class Row(NamedTuple):
    """One row with an image, a class and four numbers: where it is, and its content."""

    where: str
    image: str
    name: str
    corners: Corners


def csv_objects(source: Path, names: ImageNames, headers: Sequence[Header | UnreadableImageError]) -> AnnotatedObjects:
    """Read the objects of a CSV: in pixels where most rows have numbers above 1, else in fractions.

    Args:
        source: the file.
        names: of the collection's images.
        headers: of these images.
    """
    rows, problems = read_rows(source)
    above = [any(v > 1 for v in row.corners if math.isfinite(v)) for row in rows]
    pixels = sum(above) > len(above) / 2
    if any(above) and not pixels:
        why = f"read as fractions of the image, though {sum(above):,} of {many(len(above), 'row', 'rows')} exceed 1"
        problems.append(Problem(source.name, why, ProblemKind.NOTE, sum(above)))
    matched, inexact = names.match((row.image for row in rows), source.name)
    objects: list[RawObject] = []
    for row in rows:
        image = matched[row.image]
        if isinstance(image, str):
            problems.append(Problem(row.where, image))
        elif not pixels and any(abs(v) > FAR for v in row.corners if math.isfinite(v)):
            why = "its box looks like pixels, and most rows have fractions (no number above 1)"
            problems.append(Problem(row.where, why))
        else:
            objects.append(RawObject(row.where, image, row.name, row.corners, pixels=pixels))
    return AnnotatedObjects(objects, [*problems, *inexact], (), size_hint(objects, headers))


def size_hint(objects: Sequence[RawObject], headers: Sequence[Header | UnreadableImageError]) -> str:
    """The hint that boxes are x, y, width, height: some are empty as corners, and all fit their images so."""
    empty = 0
    for one in objects:
        header = headers[one.image]
        size = header.size if isinstance(header, Header) else (math.inf, math.inf)
        width, height = size if one.pixels else (1.0, 1.0)
        x, y, w, h = one.box
        if not (x + w <= width * 1.001 and y + h <= height * 1.001 and min(w, h) > 0):
            return ""
        empty += w <= x or h <= y
    return SIZES_HINT if empty else ""


def read_rows(source: Path) -> tuple[list[Row], list[Problem]]:
    """Read the rows of a CSV that have an image, a class and four numbers; the others become problems.

    Columns may be in any order, their names in capitals or not. Spreadsheets write the mark that the country's settings
    say, some a first line such as `sep=;`, and UTF-16 as "Unicode text".
    """
    fix = f"Write UTF-8 with a first line {','.join(COLUMNS)}."
    try:
        stored = source.read_bytes()
        wide = stored.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = stored.decode("utf-16" if wide else "utf-8-sig")
        head = text.partition("\n")[0]
        stated = re.fullmatch(r"sep=(.)\s*", head)
        mark = stated[1] if stated else max(",;\t", key=head.count)
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, delimiter=mark)
        lines = [(reader.line_num, [field.strip() for field in line]) for line in reader][1 if stated else 0 :]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("boxes", str(source), f"it cannot be read ({error})", fix) from error
    first = lines[0][1] if lines else []
    names = [name.lower() for name in first]
    if wrong := [column for column in COLUMNS if names.count(column) != 1]:
        missing = "no column" if wrong[0] not in names else "more than one column"
        why = f"it has {missing} {', '.join(wrong)}; its first line has {', '.join(first) or 'nothing'}"
        raise ConfigError("boxes", str(source), why, fix)
    rows: list[Row] = []
    problems: list[Problem] = []
    for (before, _), (last, fields) in pairwise(lines):  # a row takes several lines where a field holds line breaks
        where = f"{source.name}, line {last}"
        if any(fields):
            try:
                rows.append(read_row(where, names, fields, decimal_commas=mark != ","))
            except ValueError as error:
                problems.append(Problem(where, str(error), count=last - before))
    if not rows and not problems:
        problems.append(Problem(source.name, "it has a header and no rows", ProblemKind.NOTE))
    return rows, problems


def read_row(where: str, names: Sequence[str], fields: Sequence[str], decimal_commas: bool) -> Row:
    """Read the image, the class and the corners of a row.

    Args:
        where: the file, and the row's last line.
        names: of the columns.
        fields: of the row.
        decimal_commas: whether a number may have one, as fields are not divided by commas.

    Raises:
        ValueError: with the reason, if one of them is missing.
    """
    if surplus := sum(map(bool, fields[len(names) :])):
        more = many(surplus, "field", "fields")
        raise ValueError(f"it has {more} more than the first line has; are there decimal commas, or commas in a name?")
    columns = dict(zip(names, [*fields, *[""] * len(names)], strict=False))
    texts = [columns[column] for column in COLUMNS[2:]]
    try:
        x0, y0, x1, y1 = (as_number(text.replace(",", ".") if decimal_commas else text) for text in texts)
    except ValueError as error:
        shown = ", ".join(map(repr, texts))
        raise ValueError(f"x0, y0, x1, y1 should be four numbers, and are {shown}") from error
    image, name = columns["image"], class_name(columns["class"])
    if not image or not name:
        raise ValueError("it names no image or no class")
    if "\n" in columns["class"]:
        raise ValueError("its class holds a line break; is a quotation mark missing?")
    return Row(where, image, name, (x0, y0, x1, y1))
