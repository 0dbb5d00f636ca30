"""Inspect the files of a collection: sizes, orientations, damaged files, copies. Nothing is kept."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.contracts.protocols import Collection
from seekloop.images.decoding import Header, nearly_black
from seekloop.images.files import FileCollection, dark_pictures, image_headers

SIDE = 16  # pixels of the small grey pictures by which copies are recognised
ALIKE = 4.0  # of 255: mean difference up to which two small pictures with the same pattern are one picture
WORKERS = 4  # decoding threads
TURNED_WITHOUT_SIGN = (2, 3, 4)

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Inspection:
    """Results of inspecting a collection.

    Attributes:
        sizes: width and height of every upright picture that could be looked at, by its position.
        orientations: EXIF orientation of every picture that has another than 1, by its position.
        unreadable: why a picture cannot be decoded, by its position.
        problems: damaged files, copies and doubtful orientations.
        seconds_per_image: for reading and decoding one picture with `WORKERS` threads; 0 where none was decoded.
    """

    sizes: dict[int, tuple[int, int]]
    orientations: dict[int, int]
    unreadable: dict[int, str]
    problems: tuple[Problem, ...]
    seconds_per_image: float


def inspect(collection: Collection, decode: bool, progress: Progress = lambda done: None) -> Inspection:
    """Look at every file of a collection.

    Args:
        collection: the images.
        decode: whether every picture is decoded, which finds damaged files and copies that were saved anew; else only
            headers are read, and copies of whole files are found.
        progress: told how many pictures are done.
    """
    headers = headers_of(collection)
    seen = {image: header.size for image, header in headers.items() if isinstance(header, Header)}
    unreadable = {image: header.why for image, header in headers.items() if isinstance(header, UnreadableImageError)}
    orientations = {
        image: header.orientation
        for image, header in headers.items()
        if isinstance(header, Header) and header.orientation != 1
    }
    problems = doubtful_orientations(collection, orientations)
    seconds, small = 0.0, dict[int, UInt8[np.ndarray, "s s"]]()
    if decode:
        decoded, seconds = decode_all(collection, progress)
        small = {image: picture for image, (size, picture) in decoded.items() if not isinstance(picture, str)}
        seen |= {image: size for image, (size, picture) in decoded.items() if not isinstance(picture, str)}
        unreadable |= {image: picture for image, (_, picture) in decoded.items() if isinstance(picture, str)}
        problems += dark(collection)
    problems += [
        Problem(collection.paths[image], f"cannot be read: {why}", ProblemKind.FILE)
        for image, why in sorted(unreadable.items())
    ]
    return Inspection(seen, orientations, unreadable, (*problems, *copies(collection, small)), seconds)


def headers_of(collection: Collection) -> dict[int, Header | UnreadableImageError]:
    """Size and orientation of every file; empty for collections that are not made of files."""
    if not isinstance(collection, FileCollection):
        return {}
    paths = [collection.renamed.get(path, path) for path in collection.paths]
    return dict(enumerate(image_headers(collection.root, paths, collection.cache)))


def doubtful_orientations(collection: Collection, orientations: dict[int, int]) -> list[Problem]:
    """Annotated pictures that EXIF mirrors or turns upside down: sizes cannot show whether their boxes were turned."""
    annotated = set(collection.annotations.image.tolist())
    doubtful = [
        image
        for image, orientation in orientations.items()
        if image in annotated and orientation in TURNED_WITHOUT_SIGN
    ]
    if not doubtful:
        return []
    pictures = many(len(doubtful), "picture with boxes has", "pictures with boxes have")
    why = (
        f"{pictures} an EXIF orientation of 2, 3 or 4, "
        "which no size shows: look whether the boxes lie right in the contact sheet"
    )
    return [Problem(collection.paths[doubtful[0]], why, ProblemKind.NOTE, len(doubtful))]


def dark(collection: Collection) -> list[Problem]:
    """Pictures of 16 bits that are nearly black, among all of them."""
    if not isinstance(collection, FileCollection) or collection.white is not None:
        return []
    if collection.nearly_black():  # told when the collection was opened
        return []
    found = [image for image in range(len(collection.paths)) if nearly_black(collection.file(image))]
    if not found:
        return []
    return [dark_pictures([collection.paths[image] for image in found], len(collection.paths))]


Small = tuple[tuple[int, int], "UInt8[np.ndarray, 's s'] | str"]


def decode_all(collection: Collection, progress: Progress) -> tuple[dict[int, Small], float]:
    """Size and small grey copy of every picture, or why it cannot be decoded; and the seconds per picture."""

    def look(image: int) -> Small:
        try:
            picture = collection.read(image)
        except UnreadableImageError as error:
            return (0, 0), error.why
        return picture.size, np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))

    started = time.monotonic()
    found: dict[int, Small] = {}
    with ThreadPoolExecutor(WORKERS) as threads:
        for image, small in enumerate(threads.map(look, range(len(collection.paths)))):
            found[image] = small
            progress(image + 1)
    return found, (time.monotonic() - started) / max(1, len(found))


def copies(collection: Collection, small: dict[int, UInt8[np.ndarray, "s s"]]) -> list[Problem]:
    """Files of the same content, and pictures that look the same although their files differ."""
    groups: dict[object, list[int]] = {}
    if isinstance(collection, FileCollection):
        for image, content in enumerate(collection.content()):
            groups.setdefault(content, []).append(image)
    same = [group for content, group in groups.items() if len(group) > 1 and content != (-1, "unreadable")]
    known = {image for group in same for image in group[1:]}
    problems = [
        Problem(
            collection.paths[group[0]],
            f"the same file as {_listed([collection.paths[image] for image in group[1:]])}",
            ProblemKind.NOTE,
            len(group) - 1,
        )
        for group in same
    ]
    patterns: dict[bytes, list[int]] = {}
    for image, picture in small.items():
        if image not in known:
            patterns.setdefault(pattern(picture), []).append(image)
    for group in patterns.values():
        first = group[0]
        twins = [image for image in group[1:] if difference(small[first], small[image]) <= ALIKE]
        if twins:
            why = f"looks the same as {_listed([collection.paths[image] for image in twins])}"
            problems.append(Problem(collection.paths[first], why, ProblemKind.NOTE, len(twins)))
    return problems


def pattern(picture: UInt8[np.ndarray, "s s"]) -> bytes:
    """Difference hash: which of four by four parts are brighter than their right neighbours. Re-encoding keeps it."""
    parts = picture.reshape(4, SIDE // 4, 4, SIDE // 4).mean(axis=(1, 3))
    return np.packbits(parts[:, :-1] > parts[:, 1:] + 1).tobytes()


def difference(a: UInt8[np.ndarray, "s s"], b: UInt8[np.ndarray, "s s"]) -> float:
    """Mean absolute difference of two small pictures, in grey levels."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
