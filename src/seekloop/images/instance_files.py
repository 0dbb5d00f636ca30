"""What the published instance-search collections share: files that must be there, boxes in pixels, queries."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache as remember
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import Annotations
from seekloop.images.decoding import read_size
from seekloop.images.files import FileCollection
from seekloop.images.frames import fractions
from seekloop.images.objects import RawObject, annotate

Corners = tuple[float, float, float, float]
Objects = Sequence[tuple[str, Corners]]  # of one image: instance names, and corners in pixels


def instance_root(root: str | None, what: str) -> Path:
    """The configured root as an absolute path.

    Raises:
        ConfigError: if none is configured, or there is no such folder.
    """
    if root is None:
        raise ConfigError("instances.root", root, "this benchmark needs a folder", f"Give the path of {what}.")
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError("instances.root", root, "there is no such folder", f"Give the path of {what}.")
    return folder


def first_there(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of several files or folders that is there.

    Raises:
        ConfigError: if none is; it says what was looked for.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    why = f"{' or '.join(str(folder / name) for name in names)} is not there"
    raise ConfigError("instances.root", str(folder), why, f"It should be {what}.")


def image_files(root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """The paths, once all of their files are known to be there: a benchmark with holes compares with nothing.

    Raises:
        ConfigError: if there are none, or a file is missing.
    """
    if not paths:
        raise ConfigError("instances.root", str(root), "it lists no images", "See the layout in conf/instances.")
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        why = f"{len(missing)} of {len(paths)} images are missing, the first is {missing[0]}"
        raise ConfigError("instances.root", str(root), why, "Fetch or unpack the rest of them.")
    return tuple(paths)


def collection_of_files(
    name: str, root: Path, paths: Sequence[str], objects: Mapping[int, Objects], cache: str | None
) -> Collection:
    """Images with the objects known on them, by position; a path that is there several times is several entries."""
    annotations, problems = annotated_files(root, paths, objects)
    return cast(Collection, FileCollection(name, root, paths, annotations, problems, cache))


def annotated_files(
    root: Path, paths: Sequence[str], objects: Mapping[int, Objects]
) -> tuple[Annotations, list[Problem]]:
    """Annotations from corners in pixels, and what was wrong with some. Reads the headers of the images concerned."""
    size = remember(read_size)
    raw: list[RawObject] = []
    problems: list[Problem] = []
    for image, known in sorted(objects.items()):
        try:
            raw += [
                RawObject(paths[image], image, name, fractions(corners, size(root / paths[image])))
                for name, corners in known
            ]
        except UnreadableImageError as error:
            problems.append(Problem(paths[image], f"its boxes have no image size to refer to: {error.why}"))
    annotations, dropped = annotate(raw, ())
    return annotations, problems + dropped


def boxes_of(
    annotations: Annotations, wanted: Iterable[tuple[Iterable[str], Iterable[int]]]
) -> tuple[dict[int, Float[Tensor, "_ 4"]], ...]:
    """Per query, given as instance names and images, the boxes of those instances on those images, where known."""
    rows: dict[tuple[str, int], list[int]] = {}
    for row, (label, image) in enumerate(zip(annotations.label.tolist(), annotations.image.tolist(), strict=True)):
        rows.setdefault((annotations.classes[label], image), []).append(row)
    found = []
    for names, images in wanted:
        known = set(names)
        places = {image: [row for name in sorted(known) for row in rows.get((name, image), [])] for image in images}
        found.append({image: annotations.box[some] for image, some in places.items() if some})
    return tuple(found)


def own_images(paths: Sequence[str], queries: Sequence[str]) -> Tensor:
    """For every query, its image's position among the database's; -1 where it is not there."""
    position = {path: place for place, path in enumerate(paths)}
    return torch.tensor([position.get(path, -1) for path in queries], dtype=torch.int64)


def read_lines(file: Path) -> list[list[str]]:
    """The words of every line that has some.

    Raises:
        ConfigError: if the file is no text.
    """
    try:
        return [words for line in file.read_text(encoding="utf-8-sig").splitlines() if (words := line.split())]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("instances.root", str(file), f"it cannot be read ({error})", "Fetch it again.") from error


def extents(file: Path, words: Sequence[str]) -> Corners:
    """Corners from left, top, width and height in pixels, the left and top edge being 0.

    Raises:
        ConfigError: if these are not four numbers.
    """
    x, y, width, height = numbers(file, words)
    return x, y, x + width, y + height


def numbers(file: Path, words: Sequence[str]) -> Corners:
    """Four numbers.

    Raises:
        ConfigError: if these are not.
    """
    try:
        a, b, c, d = (float(word) for word in words)
    except ValueError as error:
        why = f"a line has {' '.join(words)!r} where four numbers should be"
        raise ConfigError("instances.root", str(file), why, "See the layout in conf/instances.") from error
    return a, b, c, d
