"""Inspect the files of a collection: sizes, orientations, damaged files, copies. Nothing is kept."""

import time
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.contracts.protocols import Collection
from seekloop.images.decoding import Header
from seekloop.images.files import FileCollection

SIDE = 16  # pixels of the small grey pictures by which copies are recognised
ALIKE = 4.0  # of 255: mean difference up to which two small pictures with the same pattern are one picture
WORKERS = 4  # decoding threads
TURNED_WITHOUT_SIGN = (2, 3, 4)

Progress = Callable[[int], None]
Small = tuple[tuple[int, int], UInt8[np.ndarray, "s s"]]  # a picture's size, and a small grey copy of it


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
    files = collection if isinstance(collection, FileCollection) else None
    headers = dict(enumerate(files.headers())) if files else dict[int, Header | UnreadableImageError]()
    sizes = {image: header.size for image, header in headers.items() if isinstance(header, Header)}
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
        for image, picture in decoded.items():
            if isinstance(picture, str):
                unreadable[image] = picture
                sizes.pop(image, None)
            else:
                sizes[image], small[image] = picture
        if files and not files.nearly_black():  # else it was told when the collection was opened
            problems += files.nearly_black(max(1, len(files.paths)))
    problems += [
        Problem(collection.paths[image], f"cannot be read: {why}", ProblemKind.FILE)
        for image, why in sorted(unreadable.items())
    ]
    same = same_files(files) if files else list[list[int]]()
    alike = same_looks(small, {image for group in same for image in group[1:]})
    for groups, what in ((same, "the same file as"), (alike, "looks the same as")):
        for first, *others in groups:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            why = f"{what} {', '.join(collection.paths[image] for image in others[:3])}{more}"
            problems.append(Problem(collection.paths[first], why, ProblemKind.NOTE, len(others)))
    return Inspection(sizes, orientations, unreadable, tuple(problems), seconds)


def doubtful_orientations(collection: Collection, orientations: Mapping[int, int]) -> list[Problem]:
    """Annotated pictures that EXIF mirrors or turns upside down: sizes cannot show whether their boxes were turned."""
    annotated = set(collection.annotations.image.tolist())
    doubtful = [image for image, number in orientations.items() if image in annotated and number in TURNED_WITHOUT_SIGN]
    if not doubtful:
        return []
    pictures = many(len(doubtful), "picture with boxes has", "pictures with boxes have")
    which = "which no size shows: look whether the boxes lie right in the contact sheet"
    why = f"{pictures} an EXIF orientation of 2, 3 or 4, {which}"
    return [Problem(collection.paths[doubtful[0]], why, ProblemKind.NOTE, len(doubtful))]


def decode_all(collection: Collection, progress: Progress) -> tuple[dict[int, Small | str], float]:
    """Size and small grey copy of every picture, or why it cannot be decoded; and the seconds per picture."""

    def look(image: int) -> Small | str:
        try:
            picture = collection.read(image)
        except UnreadableImageError as error:
            return error.why
        return picture.size, np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))

    started = time.monotonic()
    decoded: dict[int, Small | str] = {}
    with ThreadPoolExecutor(WORKERS) as threads:
        for image, small in enumerate(threads.map(look, range(len(collection.paths)))):
            decoded[image] = small
            progress(image + 1)
    return decoded, (time.monotonic() - started) / max(1, len(decoded))


def same_files(collection: FileCollection) -> list[list[int]]:
    """Images whose files have one content, in groups."""
    groups: dict[tuple[int, str], list[int]] = {}
    for image, content in enumerate(collection.content()):
        if content[0] >= 0:
            groups.setdefault(content, []).append(image)
    return [group for group in groups.values() if len(group) > 1]


def same_looks(small: Mapping[int, UInt8[np.ndarray, "s s"]], besides: Set[int]) -> list[list[int]]:
    """Pictures with the same pattern and nearly the same grey values, in groups.

    Args:
        small: grey copies of the pictures.
        besides: pictures that are known to be copies.
    """
    patterns: dict[bytes, list[int]] = {}
    for image, picture in small.items():
        if image not in besides:
            patterns.setdefault(pattern(picture), []).append(image)
    groups = []
    for first, *others in patterns.values():
        near = [image for image in others if difference(small[first], small[image]) <= ALIKE]
        groups += [[first, *near]] if near else []
    return groups


def pattern(picture: UInt8[np.ndarray, "s s"]) -> bytes:
    """Difference hash: which of four by four parts are brighter than their right neighbours. Re-encoding keeps it."""
    parts = picture.reshape(4, SIDE // 4, 4, SIDE // 4).mean(axis=(1, 3))
    return np.packbits(parts[:, :-1] > parts[:, 1:] + 1).tobytes()


def difference(a: UInt8[np.ndarray, "s s"], b: UInt8[np.ndarray, "s s"]) -> float:
    """Mean absolute difference of two small pictures, in grey levels."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())
