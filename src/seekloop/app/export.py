"""Results of a session for other programs: tables, annotations, keywords, and folders of the photographs found."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from seekloop.app.sidecars import with_keyword
from seekloop.artifacts import files
from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection
from seekloop.images.decoding import read_header
from seekloop.images.files import FileCollection
from seekloop.loop.events import Box
from seekloop.loop.session import Session
from seekloop.loop.sessions import Kept, written

SAID = {"relevant": "yes", "irrelevant": "no", "unsure": "unsure"}
FORMAT, VERSION = "seekloop session", 1
COLUMNS = ("path", "answer", "round", "score", "rank", "x0", "y0", "x1", "y1", "box", "width", "height")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # beginnings of cells that spreadsheets compute
SLUG = 40  # letters of a title in the name of a file
KEY = "to"  # of the commands' options: where an export goes


def slug(title: str, untitled: str = "search") -> str:
    """A title as a part of a file's name.

    Example:
        >>> slug("Red bus / 1962"), slug("../..")
        ('Red_bus_1962', 'search')
    """
    return re.sub(r"\W+", "_", title)[:SLUG].strip("_") or untitled


@dataclass(frozen=True)
class Exported:
    """An image that shows the object, or is likely to.

    Attributes:
        image: position in the collection.
        name: by what it holds.
        path: of its file, from the collection's root.
        answer: "yes", "example", or "likely" for one that nobody answered, above the cut-off.
        box: where the object is, in fractions of the upright image; None: nobody and nothing says where.
        source: whose box it is: "person", "model", or "image" for the whole image.
        round: in which it was answered; None: an example, a draft, or not answered.
        score: decision value; None: it has none.
        rank: place in the ranking, from 1 on; None: it has none.
    """

    image: int
    name: str
    path: str
    answer: Literal["yes", "example", "likely"]
    box: Box | None
    source: Literal["person", "model", "image"]
    round: int | None
    score: float | None
    rank: int | None


def exported(
    session: Session, collection: Collection, *, above: float | None = None, first: int | None = None
) -> list[Exported]:
    """Images answered yes, drafts among them, and examples; and those of the ranking down to a cut-off.

    Images answered no or unsure are never among them, nor are uploads, which are no part of the collection.

    Args:
        session: of the search.
        collection: its images.
        above: the ranking's images with a higher score are exported, too.
        first: so many images of the ranking are looked at; with `above`, the cut-off that comes first counts.

    Returns:
        The images by rank.
    """
    ranking = [image for image in session.ranking() if session.scores[image].isfinite()]
    ranking = [image for image in ranking if image < len(collection.paths)]
    rank = {image: place for place, image in enumerate(ranking, start=1)}
    examples = [(one.image, None if one.box is None else _box(one.box.tolist())) for one in session.query.examples]
    answered = {session.images.position(name): (reply, number) for name, (reply, number) in session.said.items()}
    known = {*answered, *(image for image, _ in examples)}
    likely = [image for image in ranking[: _cut(session, ranking, above, first)] if image not in known]
    rows: list[tuple[int, Literal["yes", "example", "likely"], Box | None, Box | None, int | None]] = []
    rows += [(image, "example", box, None, None) for image, box in examples]
    rows += [
        (image, "yes", reply.box, reply.region_box, number)
        for image, (reply, number) in answered.items()
        if image is not None and SAID[reply.answer] == "yes"
    ]
    shown = zip(likely, session.shown(likely), strict=True)
    rows += [(image, "likely", None, one.region_box, None) for image, one in shown]
    found = [
        Exported(
            image,
            session.images.name(image),
            collection.paths[image],
            answer,
            drawn or region,
            "person" if drawn else "model" if region else "image",
            number,
            float(session.scores[image]) if image in rank else None,
            rank.get(image),
        )
        for image, answer, drawn, region, number in rows
        if image < len(collection.paths)
    ]
    return sorted(found, key=lambda one: (one.rank is None, one.rank or 0))


def _cut(session: Session, ranking: Sequence[int], above: float | None, first: int | None) -> int:
    """How many images of a ranking are above a cut-off; none without one."""
    if above is None:
        return first or 0
    count = sum(float(session.scores[image]) > above for image in ranking)
    return count if first is None else min(count, first)


def _box(corners: Sequence[float]) -> Box:
    x0, y0, x1, y1 = corners
    return x0, y0, x1, y1


def sizes(collection: Collection, rows: Sequence[Exported]) -> dict[int, tuple[int, int]]:
    """Width and height of the upright images, from the headers of their files where they have some.

    Raises:
        UnreadableImageError: if a file was removed or damaged meanwhile.
    """
    images = dict.fromkeys(row.image for row in rows)
    if isinstance(collection, FileCollection):
        return {image: read_header(collection.file(image)).size for image in images}
    return {image: collection.read(image).size for image in images}


def as_csv(rows: Sequence[Exported], sizes: Mapping[int, tuple[int, int]]) -> bytes:
    """A table that spreadsheets open: UTF-8 with a byte order mark, boxes in pixels; empty cells: the whole image.

    A word that a spreadsheet would compute has an apostrophe in front.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for row in rows:
        width, height = sizes[row.image]
        corners = [""] * 4 if row.box is None else [f"{value:.1f}" for value in _pixels(row.box, width, height)]
        words = (_cell(row.path), row.answer, row.round, row.score, row.rank)
        writer.writerow([*words, *corners, row.source, width, height])
    return table.getvalue().encode("utf-8-sig")


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _pixels(box: Box, width: int, height: int) -> Box:
    x0, y0, x1, y1 = box
    return x0 * width, y0 * height, x1 * width, y1 * height


def as_coco(rows: Sequence[Exported], sizes: Mapping[int, tuple[int, int]], title: str) -> bytes:
    """Annotations in COCO's format: one category, a box per image, the whole image where there is none.

    Attributes beside COCO's own: `source` (person, model, image), `answer`, `score`.
    """
    numbers = {image: number for number, image in enumerate(dict.fromkeys(row.image for row in rows), start=1)}
    paths = {row.image: row.path for row in rows}
    annotations = []
    for number, row in enumerate(rows, start=1):
        x0, y0, x1, y1 = _pixels(row.box or WHOLE_IMAGE, *sizes[row.image])
        annotations.append(
            {
                **{"id": number, "image_id": numbers[row.image], "category_id": 1, "iscrowd": 0},
                **{"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "segmentation": []},
                **{"source": row.source, "answer": row.answer, "score": row.score},
            }
        )
    images = [
        {"id": number, "file_name": paths[image], "width": sizes[image][0], "height": sizes[image][1]}
        for image, number in numbers.items()
    ]
    category = {"id": 1, "name": title or "object", "supercategory": ""}
    content = {"info": {"description": f"{title}, found with seekloop"}, "licenses": [], "images": images}
    return _json_bytes({**content, "annotations": annotations, "categories": [category]})


def as_json(kept: Kept, id: str) -> bytes:
    """The whole session: `imports.imported` makes the same of it, bit for bit, also over another copy of the images."""
    events = [json.loads(written(event)) for event in kept.events]
    about = {"format": FORMAT, "version": VERSION, "id": id, "title": kept.title}
    return _json_bytes({**about, "about": kept.about, "parts": kept.parts, "events": events})


def _json_bytes(content: object) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


@dataclass(frozen=True)
class Written:
    """Files that an export has written.

    Attributes:
        paths: of the files.
        skipped: files that could not be written, or not safely, each with the reason.
    """

    paths: list[Path] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def sidecars(
    rows: Sequence[Exported], collection: Collection, keyword: str, *, lightroom: bool = False
) -> tuple[dict[str, bytes], list[str]]:
    """XMP sidecars with a keyword, those that are there already with everything that they hold.

    Args:
        rows: the images.
        collection: of them.
        keyword: "bicycle", or "vehicles|bicycle" with the level above it.
        lightroom: whether they are called `photo.xmp`, as Lightroom does, in place of `photo.jpg.xmp`.

    Returns:
        Contents by path from the collection's root; and which could not be made, with the reason.
    """
    contents: dict[str, bytes] = {}
    skipped = []
    for row in rows:
        path = str(PurePosixPath(row.path).with_suffix(".xmp")) if lightroom else f"{row.path}.xmp"
        try:
            known = contents.get(path) or (
                _beside(collection, path) if isinstance(collection, FileCollection) else None
            )
            contents[path] = with_keyword(known, keyword)
        except (ValueError, OSError) as error:
            skipped.append(f"{path}: {error}")
    return contents, skipped


def _beside(collection: FileCollection, path: str) -> bytes | None:
    """Content of the sidecar that is there; None where there is none."""
    there = _inside(collection.root, collection.root / path)
    return there.read_bytes() if there.exists() else None


def _inside(root: Path, path: Path) -> Path:
    """The path, if nothing on it leads out of the root.

    Raises:
        ValueError: if something does.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError("a link leads out of the collection's folder")
    return path


def zipped(contents: Mapping[str, bytes]) -> bytes:
    """Files in a ZIP archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path, content in contents.items():
            file.writestr(path, content)
    return archive.getvalue()


def write_beside(contents: Mapping[str, bytes], skipped: Sequence[str], collection: Collection) -> Written:
    """Write sidecars beside the photographs, which are not touched.

    Raises:
        ConfigError: if the images are no files.
        CannotWriteError: if a file cannot be written.
    """
    root, done = _files_of(collection, "xmp").root, Written(skipped=list(skipped))
    for path, content in contents.items():
        target = root / path
        try:
            if target.is_symlink():
                raise ValueError("it is a link")
            files.write_bytes(_inside(root, target), content, KEY)
            done.paths.append(target)
        except ValueError as error:
            done.skipped.append(f"{path}: {error}")
    return done


def place(rows: Sequence[Exported], collection: Collection, folder: Path, *, copies: bool = False) -> Written:
    """Put links to the photographs, or copies of them, into a folder.

    Nothing there is overwritten: of two files of one name the second is called `photo_2.jpg`; what an earlier export
    put there is found again. Files outside the collection's root, to which links in it may lead, are left out.

    Args:
        rows: the images.
        collection: of them.
        folder: made if it is absent.
        copies: whether files are copied.

    Raises:
        ConfigError: if the images are no files.
        CannotWriteError: if a file cannot be written.
    """
    known, done = _files_of(collection, "copies" if copies else "links"), Written()
    files.make_folder(folder, KEY)
    for image in dict.fromkeys(row.image for row in rows):
        file = known.file(image)
        try:
            source = _inside(known.root, file).resolve(strict=True)
        except (ValueError, FileNotFoundError) as error:
            done.skipped.append(f"{known.paths[image]}: {error}")
        else:
            done.paths.append(_placed(source, folder, file.name, copies))
    return done


def _files_of(collection: Collection, format: str) -> FileCollection:
    if not isinstance(collection, FileCollection):
        why = f"the images of {collection.name} are no files"
        raise ConfigError("format", format, why, "Choose csv, json or coco.")
    return collection


def _placed(source: Path, folder: Path, name: str, copies: bool) -> Path:
    """Path of the link or copy, under the first name that is free, or holds it already."""
    for target in _names(folder, name):
        if target.is_symlink() or target.exists():
            if _holds(target, source, copies):
                return target
            continue
        try:
            _copy(source, target) if copies else target.symlink_to(source)
        except FileExistsError:
            continue
        except OSError as error:
            raise files.refused(error, target, KEY) from error
        return target
    raise AssertionError("names do not end")


def _names(folder: Path, name: str) -> Iterator[Path]:
    path, number = Path(name), 1
    while True:
        yield folder / (name if number == 1 else f"{path.stem}_{number}{path.suffix}")
        number += 1


def _holds(target: Path, source: Path, copies: bool) -> bool:
    """Whether a file of an earlier export stands for this photograph."""
    if not copies:
        return target.is_symlink() and target.resolve() == source
    if target.is_symlink() or not target.is_file() or target.stat().st_size != source.stat().st_size:
        return False
    return files.checksum(target) == files.checksum(source)


def _copy(source: Path, target: Path) -> None:
    """Copy a file to where none is; a copy that fails leaves nothing."""
    with source.open("rb") as given, target.open("xb") as made:
        try:
            shutil.copyfileobj(given, made)
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink()
            raise
    times = source.stat()
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
