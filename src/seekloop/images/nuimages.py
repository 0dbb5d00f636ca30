"""nuImages: photographs from six cameras of a car, annotated in tables that refer to each other by tokens."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seekloop.contracts.declared import Share, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Corners, Frames, Size, known_size
from seekloop.images.objects import AnnotatedObjects, RawObject, annotations_of, as_number, class_name

Row = Mapping[str, Any]


class NuImages(FileCollection):
    """nuImages, or any collection of its layout: tables in v1.0-val, images in samples.

    The tables are JSON lists: `sample_data` (the images), `object_ann` (their boxes, left, top, right and bottom in
    pixels) and `category`. Images are those of `sample_data` with `is_key_frame`, for the others are not annotated,
    sorted by path. A class is called by its full name, such as "vehicle.bus.rigid".

    Args:
        root: the folder that holds the tables' folder and `samples`.
        version: folder of the tables, such as "v1.0-train", "v1.0-val" or "v1.0-mini".
        max_loss: largest share of the annotated objects that may be left out.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if a table is missing or is none, or more objects are lost than allowed.

    Reference:
        Caesar et al., nuScenes: A Multimodal Dataset for Autonomous Driving, CVPR 2020; the schema of nuImages v1.0.
    """

    @declared
    def __init__(
        self,
        root: Path | str | None = None,
        version: str = "v1.0-val",
        max_loss: Share = 0.1,
        cache: Path | str | None = None,
    ) -> None:
        folder = existing_folder(root, "nuImages, with v1.0-val and samples")
        if not (folder / version).is_dir():
            there = ", ".join(sorted(path.parent.name for path in folder.glob("*/sample_data.json"))) or "none"
            why = f"there is no folder {folder / version}"
            raise ConfigError("version", version, why, f"Unpack the metadata in root. Tables are in: {there}.")
        images, categories, objects = (read_table(folder, version, name) for name in TABLES)
        shown = {key: row for key, row in by_token(images).items() if row.get("is_key_frame") is True}
        listed = sorted({str(row["filename"]) for row in shown.values() if row.get("filename")})
        paths = [path for path in listed if (folder / path).is_file()]
        problems = [
            Problem(f"{version}/sample_data.json", f"there is no file {folder / path}", ProblemKind.FILE)
            for path in sorted(set(listed).difference(paths))
        ]
        names = {key: class_name(row["name"]) for key, row in by_token(categories).items() if row.get("name")}
        source = objects_of(objects, f"{version}/object_ann.json", known_images(shown, paths), names, problems)
        annotations, problems = annotations_of(source, Frames(image_headers(folder, paths, cache)))
        refuse_losses(len(annotations.image), problems, max_loss)
        super().__init__("nuimages", folder, paths, annotations, problems, cache)


TABLES = ("sample_data", "category", "object_ann")


def read_table(folder: Path, version: str, name: str) -> list[Any]:
    """Read one table.

    Raises:
        ConfigError: if it is missing or no list.
    """
    where = f"{version}/{name}.json"
    try:
        content = json.loads((folder / where).read_bytes())
        if not isinstance(content, list):
            raise ValueError(f"it holds a {type(content).__name__}, and a table is a list")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("root", str(folder), f"{where}: {error}", "Unpack nuImages' metadata again.") from error
    return content


def by_token(rows: Iterable[Any]) -> dict[str, Row]:
    """The rows of a table that have a token, by it."""
    return {row["token"]: row for row in rows if isinstance(row, Mapping) and isinstance(row.get("token"), str)}


def known_images(shown: Mapping[str, Row], paths: Sequence[str]) -> dict[str, tuple[int, Size | None]]:
    """Position and stated size of the images whose files are there, by token."""
    positions = {path: position for position, path in enumerate(paths)}
    return {
        key: (positions[row["filename"]], known_size(row.get("width"), row.get("height")))
        for key, row in shown.items()
        if row.get("filename") in positions
    }


def objects_of(
    rows: Sequence[Any],
    where: str,
    images: Mapping[str, tuple[int, Size | None]],
    names: Mapping[str, str],
    problems: Iterable[Problem],
) -> AnnotatedObjects:
    """The rows of `object_ann` in pixels; each that is not understood, or whose image is not there, is a problem.

    Args:
        rows: of the table.
        where: its file, for people.
        images: position and size by token.
        names: of the classes, by token.
        problems: known already.
    """
    objects: list[RawObject] = []
    problems = [*problems]
    for number, row in enumerate(rows):
        spot = f"{where}[{number}]"
        try:
            objects.append(object_of(row, spot, images, names))
        except ValueError as error:
            problems.append(Problem(spot, str(error)))
    return AnnotatedObjects(objects, problems, list(dict.fromkeys(names.values())))


def object_of(
    row: Any,  # noqa: ANN401 - whatever the table has there
    where: str,
    images: Mapping[str, tuple[int, Size | None]],
    names: Mapping[str, str],
) -> RawObject:
    """One object.

    Raises:
        ValueError: with the reason, if it is not understood or its image is not there.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"a row is a dictionary, and this is a {type(row).__name__}")
    image = images.get(str(row.get("sample_data_token")))
    if image is None:
        raise ValueError(
            f"its sample_data_token {row.get('sample_data_token')!r} means no key frame whose file is there"
        )
    name = names.get(str(row.get("category_token")))
    if name is None:
        raise ValueError(f"its category_token {row.get('category_token')!r} means no category")
    return RawObject(where, image[0], name, corners_of(row.get("bbox")), pixels=True, size=image[1])


def corners_of(bbox: object) -> Corners:
    """Corners of a box that is given by them.

    Raises:
        ValueError: if these are not four numbers.
    """
    try:
        left, top, right, bottom = (as_number(v) for v in bbox)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise ValueError(f"bbox should be four numbers (left, top, right, bottom), and is {bbox!r}") from error
    return left, top, right, bottom
