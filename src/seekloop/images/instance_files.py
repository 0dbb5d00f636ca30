"""Files of the published instance-search benchmarks: those that must be there, boxes in pixels, queries."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache as remember
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.contracts.problems import Problem
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import Annotations
from seekloop.images.decoding import read_header
from seekloop.images.files import FileCollection
from seekloop.images.frames import Corners, fractions
from seekloop.images.objects import RawObject, annotate

Objects = Sequence[tuple[str, Corners]]  # of one image: instance names, and corners in pixels


def first_there(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of several files or folders that is there."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    why = f"{' or '.join(str(folder / name) for name in names)} is not there"
    raise ConfigError("root", str(folder), why, f"It should be {what}.")


def refuse_missing(root: Path, paths: Sequence[str]) -> None:
    """Refuse a benchmark with holes, which would compare with nothing."""
    if not paths:
        raise ConfigError("root", str(root), "it lists no images", "See the layout in conf/instances.")
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        why = f"{len(missing)} of {len(paths)} images are missing, the first is {missing[0]}"
        raise ConfigError("root", str(root), why, "Fetch or unpack the rest of them.")


def collection_of_files(
    name: str, root: Path, paths: Sequence[str], objects: Mapping[int, Objects], cache: Path | str | None
) -> Collection:
    """Images with the objects known on them, by position; a path that is there several times is several entries.

    Only the headers of images with objects are read; an object of one that cannot be read is a problem.
    """
    header = remember(read_header)
    raw: list[RawObject] = []
    problems: list[Problem] = []
    for image, known in sorted(objects.items()):
        try:
            raw += [
                RawObject(paths[image], image, name, fractions(corners, header(root / paths[image]).size))
                for name, corners in known
            ]
        except UnreadableImageError as error:
            problems.append(Problem(paths[image], f"its boxes have no image size to refer to: {error.why}"))
    annotations, dropped = annotate(raw, ())
    return cast(Collection, FileCollection(name, root, paths, annotations, [*problems, *dropped], cache))


def search_by_object(
    name: str,
    root: Path,
    database: Sequence[str],
    boxes: Mapping[int, Sequence[Corners]],
    queries: Sequence[tuple[str, Corners]],
    thing: Callable[[str], str],
    cache: Path | str | None,
) -> InstanceSearch:
    """A search where each image shows one object, which its path tells; right are the images of the query's object.

    Args:
        name: for people.
        root: the folder.
        database: paths of the images searched; no query is among them.
        boxes: in pixels, by the position of those images of the database that show an object whose boxes are known.
        queries: paths, and boxes in pixels.
        thing: the object that the image of a path shows; "" where it is a distractor.
        cache: folder where content hashes are remembered.
    """
    images = collection_of_things(name, root, database, boxes, thing, cache)
    asked = {query: [(thing(path), corners)] for query, (path, corners) in enumerate(queries)}
    pictures = collection_of_files(f"{name} queries", root, [path for path, _ in queries], asked, cache)
    return search_for_things(images, pictures, [thing(path) for path, _ in queries], thing)


def collection_of_things(
    name: str,
    root: Path,
    database: Sequence[str],
    boxes: Mapping[int, Sequence[Corners]],
    thing: Callable[[str], str],
    cache: Path | str | None,
) -> Collection:
    """The images searched, each with the boxes of the one object that it shows."""
    objects = {image: [(thing(database[image]), box) for box in known] for image, known in boxes.items()}
    return collection_of_files(name, root, database, objects, cache)


def search_for_things(
    images: Collection, queries: Collection, names: Sequence[str], thing: Callable[[str], str]
) -> InstanceSearch:
    """Search for objects by name; right are the images that show the query's object."""
    shown: dict[str, list[int]] = {}
    for image, path in enumerate(images.paths):
        shown.setdefault(thing(path), []).append(image)
    positives = [torch.tensor(shown.get(one, []), dtype=torch.int64) for one in names]
    return InstanceSearch(
        images,
        queries,
        tuple(names),
        torch.full((len(names),), -1),
        without_junk(positives),
        boxes_of(images.annotations, (((one,), right.tolist()) for one, right in zip(names, positives, strict=True))),
    )


def without_junk(positives: Iterable[Int[Tensor, " _"]]) -> dict[str, Relevance]:
    """The one setting of a benchmark in which every image is right or wrong."""
    positives = tuple(positives)
    return {"all": Relevance(positives, tuple(right[:0] for right in positives))}


def boxes_of(
    annotations: Annotations, wanted: Iterable[tuple[Iterable[str], Iterable[int]]]
) -> tuple[dict[int, Float[Tensor, "_ 4"]], ...]:
    """Per query, given as instance names and images, the boxes of those instances on those images, where known."""
    rows: dict[tuple[str, int], list[int]] = {}
    for row, (label, image) in enumerate(zip(annotations.label.tolist(), annotations.image.tolist(), strict=True)):
        rows.setdefault((annotations.classes[label], image), []).append(row)
    boxes = []
    for names, images in wanted:
        known = sorted(set(names))
        by_image = {image: [row for name in known for row in rows.get((name, image), [])] for image in images}
        boxes.append({image: annotations.box[some] for image, some in by_image.items() if some})
    return tuple(boxes)


def own_images(paths: Sequence[str], queries: Sequence[str]) -> Int[Tensor, " q"]:
    """For every query, its image's position among the database's; -1 where it is not there."""
    position = {path: image for image, path in enumerate(paths)}
    return torch.tensor([position.get(path, -1) for path in queries], dtype=torch.int64)


def read_lines(file: Path) -> list[list[str]]:
    """Read the words of every line that has some."""
    try:
        return [words for line in file.read_text(encoding="utf-8-sig").splitlines() if (words := line.split())]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("root", str(file), f"it cannot be read ({error})", "Fetch it again.") from error


def around_all(boxes: Sequence[Corners]) -> Corners:
    """The box around several.

    Example:
        >>> around_all([(0, 2, 3, 4), (1, 0, 2, 9)])
        (0, 0, 3, 9)
    """
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def extents(file: Path, words: Sequence[str]) -> Corners:
    """Corners from left, top, width and height in pixels, the left and top edge being 0."""
    x, y, width, height = numbers(file, words)
    return x, y, x + width, y + height


def numbers(file: Path, words: Sequence[str]) -> Corners:
    """Four numbers of a line."""
    try:
        a, b, c, d = (float(word) for word in words)
    except ValueError as error:
        why = f"a line has {' '.join(words)!r} where four numbers should be"
        raise ConfigError("root", str(file), why, "See the layout in conf/instances.") from error
    return a, b, c, d
