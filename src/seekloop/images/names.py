"""Match the image names of an annotation file to the images of a collection."""

import difflib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.decoding import HEIF_SUFFIXES, SUFFIXES
from seekloop.images.walk import RAW_SUFFIXES

ABSENT = "no image {!r} in the collection"
SEVERAL = "{} images are meant by {!r}: give the path from the collection's root"
GUESSES = 3  # names that were not found and get a suggestion


class ImageNames:
    """Finds the images that an annotation file means.

    A name is a path relative to the collection's root, or a bare file name that just one image has. Accented letters
    may be composed or not, since file systems differ in that. Where that finds nothing, the longest end of the path
    that names just one image is taken (files that were annotated elsewhere, web addresses), then without regard to
    case, then without regard to the ending (photographs that were converted). What was found so is told, and is not
    taken where another name of the same file means that image, too.

    Args:
        paths: relative POSIX paths of the collection's images.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        self.literal = {path: same[0] for path, same in grouped(paths).items() if len(same) == 1}
        self.by_path = grouped(normal(path) for path in paths)
        self.by_name = grouped(PurePosixPath(normal(path)).name for path in paths)

    def find(self, name: str) -> int | str:
        """The position of the image with this path or bare name, or why there is none."""
        if name in self.literal:
            return self.literal[name]
        key = normal(name)
        same = self.by_path.get(key) or ([] if "/" in key else self.by_name.get(key, []))
        if len(same) > 1:
            return SEVERAL.format(len(same), name)
        return same[0] if same else ABSENT.format(name)

    def match(self, names: Iterable[str], source: str) -> tuple[dict[str, int | str], list[Problem]]:
        """Find the images of all names of one annotation file.

        Args:
            names: as the file has them.
            source: the file, for people.

        Returns:
            By name, the image's position in the collection, or why there is none; names that were not taken literally.
        """
        images: dict[str, int | str] = {name: self.find(name) for name in dict.fromkeys(names)}
        literal = {image for image in images.values() if isinstance(image, int)}
        loose = {name: self._by_end(name) for name, why in images.items() if isinstance(why, str)}
        claims = Counter(image for image in loose.values() if isinstance(image, int))
        by_end: list[str] = []
        for name, image in loose.items():
            images[name] = image
            if isinstance(image, int) and (image in literal or claims[image] > 1):
                also = "" if image in literal else ", too"
                path = self.paths[image]
                images[name] = f"{ABSENT.format(name)}; {path!r} of the same name is meant by another entry{also}"
            elif isinstance(image, int):
                by_end.append(name)
        for name in [name for name, why in images.items() if why == ABSENT.format(name)][:GUESSES]:
            likely = [path for path in self.paths[:20_000] if digits(path) == digits(name)]
            if similar := difflib.get_close_matches(normal(name), likely, n=1, cutoff=0.6):
                images[name] = f"{images[name]}; there is {similar[0]!r}"
        if not by_end:
            return images, []
        shown = ", ".join(f"{name!r} for {self.paths[int(images[name])]!r}" for name in by_end[:2])
        count = many(len(by_end), "name was matched by its end", "names were matched by their ends")
        return images, [Problem(source, f"{count}, such as {shown}", ProblemKind.NOTE, len(by_end))]

    def _by_end(self, name: str) -> int | str:
        """The one image with the longest end of this path, or why there is none."""
        parts = [part for part in without_address(normal(name)).split("/") if part not in ("", ".", "..")]
        for spelling, index in zip(SPELLINGS, self._ends, strict=True):
            for start in range(len(parts)):
                same = index.get(spelling("/".join(parts[start:])), set())
                if len(same) > 1:
                    return SEVERAL.format(len(same), name)
                if same:
                    return next(iter(same))
        return ABSENT.format(name)

    @cached_property
    def _ends(self) -> list[dict[str, set[int]]]:
        """Positions by every end of a path: as it is, without case, without case and ending."""
        indices: list[dict[str, set[int]]] = [{} for _ in SPELLINGS]
        for position, path in enumerate(self.paths):
            parts = normal(path).split("/")
            for start in range(len(parts)):
                for spelling, index in zip(SPELLINGS, indices, strict=True):
                    index.setdefault(spelling("/".join(parts[start:])), set()).add(position)
        return indices


def stem_of(path: str) -> str:
    """A path in small letters, without the ending of a picture."""
    pure = PurePosixPath(path.casefold())
    return str(pure.with_suffix("")) if pure.suffix in SUFFIXES | HEIF_SUFFIXES | RAW_SUFFIXES else str(pure)


SPELLINGS: tuple[Callable[[str], str], ...] = (str, str.casefold, stem_of)
"""Ways to write an end of a path, strictest first."""


def without_address(name: str) -> str:
    """The path in a web address, its escapes undone; other names as they are.

    Example:
        >>> without_address("https://example.org/a%20b/c.jpg?size=1"), without_address("a%20b.jpg")
        ('/a b/c.jpg', 'a%20b.jpg')
    """
    try:
        return unquote(urlsplit(name).path) if "://" in name else name
    except ValueError:  # no address after all
        return name


def digits(name: str) -> str:
    """The digits of a file's name: another number is another photograph, however alike the names are."""
    return "".join(letter for letter in PurePosixPath(normal(name)).name if letter.isdigit())


def grouped(names: Iterable[str]) -> dict[str, list[int]]:
    """For each name, the positions where it stands."""
    groups: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        groups.setdefault(name, []).append(position)
    return groups


def normal(name: str) -> str:
    """One spelling of a path: composed letters, forward slashes, no leading dot."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).removeprefix("./")
