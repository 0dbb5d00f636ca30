"""Collections of image files: decoding by position, and a fingerprint that reads each file once."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from seekloop.artifacts.files import ABANDONED, make_folder, remove_drafts, write_bytes
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem, ProblemKind, counted, first_reasons, many
from seekloop.contracts.records import Annotations
from seekloop.images.decoding import Header, nearly_black, read_header, read_rgb
from seekloop.images.walk import printable

# Two writes within one tick of the file system's clock leave the same mtime: a hash is remembered only for files that
# had rested this long when they were read.
SETTLED_NS = 2_000_000_000

# By path: size, mtime and ctime, then the facts remembered: while the three stay, the content is taken to have stayed.
Facts = dict[str, list[Any]]

LOOKED_AT = 16  # pictures of 16 bits that are decoded to see whether they use their range
WIDE_SUFFIXES = (".tif", ".tiff", ".png", ".pgm", ".pnm", ".jp2")


class FileCollection:
    """Images in files below one folder.

    Args:
        name: for people.
        root: the folder.
        paths: of the images, relative to `root`, with forward slashes. They identify the images.
        annotations: of these images.
        problems: what was left out.
        cache: folder where hashes and headers are remembered; None to read every file anew.
        renamed: real relative paths of files whose names are not UTF-8, by their entry in `paths`.
        white: value of white in grey pictures of 16 bits; None: what each file states, else 65535.

    Raises:
        ConfigError: if there are no images.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        paths: Sequence[str],
        annotations: Annotations,
        problems: Sequence[Problem],
        cache: Path | str | None,
        renamed: Mapping[str, str] | None = None,
        white: int | None = None,
    ) -> None:
        if not paths:
            why = "; ".join(["there are no images in it", *first_reasons(problems)])
            raise ConfigError("root", str(root), why, "Point it at some images.")
        self.name, self.root, self.paths = name, root, tuple(paths)
        self.annotations, self.renamed, self.white = annotations, dict(renamed or {}), white
        self.cache = cache
        self.problems = (*problems, *self.nearly_black())

    def file(self, image: int) -> Path:
        """Path of an image's file."""
        return self.root / self.renamed.get(self.paths[image], self.paths[image])

    def read(self, image: int) -> Image.Image:
        """Decode one image.

        Raises:
            UnreadableImageError: if that cannot be done.
        """
        return read_rgb(self.file(image), self.white)

    def headers(self) -> list[Header | UnreadableImageError]:
        """Size and orientation of every picture, or the error of one that cannot be read."""
        return image_headers(self.root, [self.renamed.get(path, path) for path in self.paths], self.cache)

    def content(self) -> list[tuple[int, str]]:
        """Size in bytes and content hash of every file, in the order of the images."""
        return content_hashes(self.root, [self.renamed.get(path, path) for path in self.paths], self.cache)

    def contents(self) -> list[str]:
        """Content hash of each image, in the order of the images; equal hashes mean equal pixels."""
        return [
            self._named(content) if size >= 0 else f"unreadable {path}"
            for path, (size, content) in zip(self.paths, self.content(), strict=True)
        ]

    def remembered_contents(self) -> list[str | None]:
        """The same of files whose hash is remembered; None for those that would have to be read."""

        def not_read(path: Path) -> list[Any]:
            raise UnreadableImageError(path, "")

        real = [self.renamed.get(path, path) for path in self.paths]
        facts = remembered(self.root, real, self.cache, "", 1, not_read)
        return [self._named(str(fact[3])) if fact and fact[3] else None for fact in facts]

    def _named(self, content: str) -> str:
        """The hash of a file with all else that determines its pixels."""
        return content if self.white is None else f"{content} white {self.white}"

    def fingerprint(self) -> str:
        """Hash of the images' relative paths, sizes and contents, in their order. When they were changed is no part."""
        digest = hashlib.blake2b(digest_size=16)
        for path, (size, content) in zip(self.paths, self.content(), strict=True):
            digest.update(json.dumps([path, size, content]).encode())
        if self.white is not None:
            digest.update(json.dumps({"white": self.white}).encode())
        return digest.hexdigest()

    def nearly_black(self, most: int = LOOKED_AT) -> list[Problem]:
        """The problem of pictures of 16 bits that hold 12 bits or fewer, among at most `most` spread over all."""
        wide = [image for image, path in enumerate(self.paths) if path.lower().endswith(WIDE_SUFFIXES)]
        some = wide[:: max(1, len(wide) // most)][:most]
        dark = [image for image in some if nearly_black(self.file(image))] if self.white is None else []
        if not dark:
            return []
        why = (
            f"{len(dark):,} of {many(len(some), 'picture', 'pictures')} of 16 bits per value use less than an eighth "
            "of the range and are nearly black. If they hold 10 or 12 bits, say collection.white=1023 or 4095 (grey "
            "pictures)"
        )
        return [Problem(self.paths[dark[0]], why, ProblemKind.NOTE, len(dark))]


def refuse_losses(taken: int, problems: Sequence[Problem], max_loss: float, owner: object = None) -> None:
    """Stop where more of the annotated objects were lost than is allowed.

    Args:
        taken: how many objects were taken.
        problems: what was left out.
        max_loss: largest share of the objects that may be lost.
        owner: the collection, where it is built already.
    """
    lost = counted(problems)["objects_lost"]
    if lost <= max_loss * (taken + lost):
        return
    reasons = "\n  ".join(["", *first_reasons([one for one in problems if one.kind is ProblemKind.OBJECT])])
    others = [one for one in problems if one.kind in (ProblemKind.FILE, ProblemKind.NOTE)]
    notes = "\n  ".join(["", *first_reasons(others, 3)])
    objects = many(taken + lost, "annotated object", "annotated objects")
    why = f"{lost:,} of {objects} would be left out:{reasons}{notes}\n{lost / (taken + lost):.0%} is more than allowed"
    fix = (
        "Mend the boxes (`seekloop check` with the same collection lists every problem and draws the boxes), or go on "
        "without these objects with max_loss=1."
    )
    raise ConfigError("max_loss", max_loss, why, fix, owner)


def existing_folder(root: Path | str | None, what: str) -> Path:
    """The configured root as an absolute path."""
    if root is None:
        raise ConfigError("root", root, "this collection needs a folder", f"Give the path of {what}.")
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError("root", root, "there is no such folder", f"Give the path of {what}.")
    if printable(str(folder)) != str(folder):
        why = "its name holds bytes that are not UTF-8, which results could not record"
        raise ConfigError("root", printable(str(folder)), why, "Rename it, or link to it by another name.")
    return folder


def content_hashes(root: Path, paths: Sequence[str], cache: Path | str | None) -> list[tuple[int, str]]:
    """Hash every file, with its size; from the cache where size and times are those of when it was hashed.

    A file that cannot be read has size -1; it is reported when it is decoded.
    """

    def hashed(path: Path) -> list[Any]:
        with path.open("rb") as file:
            return [hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()]

    facts = remembered(root, paths, cache, "", 1, hashed)
    return [(-1, "unreadable") if fact is None else (fact[0], str(fact[3])) for fact in facts]


def image_headers(root: Path, paths: Sequence[str], cache: Path | str | None) -> list[Header | UnreadableImageError]:
    """Size and orientation of every picture, remembered like the hashes; errors for those that cannot be read."""

    def header(path: Path) -> list[Any]:
        read = read_header(path)
        return [*read.stored, read.orientation]

    facts = remembered(root, paths, cache, "-headers", 3, header)
    return [
        UnreadableImageError(root / path, "there is no such file" if fact is None else fact[3])
        if fact is None or isinstance(fact[3], str)
        else Header((fact[3], fact[4]), fact[5])
        for path, fact in zip(paths, facts, strict=True)
    ]


def remembered(
    root: Path,
    paths: Sequence[str],
    cache: Path | str | None,
    name: str,
    length: int,
    look: Callable[[Path], list[Any]],
) -> list[list[Any] | None]:
    """Stamp and facts of every file; None for one that cannot be opened.

    Args:
        root: the folder.
        paths: of the files.
        cache: folder where facts are remembered; None: nowhere.
        name: ending of the remembering file's name.
        length: how many facts there are of a file.
        look: finds the facts; may raise `UnreadableImageError`, whose reason is then the one fact.
    """
    key = hashlib.blake2b(os.fsencode(root), digest_size=12).hexdigest()
    memory = Path(cache) / f"{key}{name}.json" if cache else None
    known = load_facts(memory)

    def fact(path: str) -> tuple[list[Any] | None, bool]:
        file, entry = root / path, known.get(path)
        try:
            stat = file.stat()
            stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            if entry is not None and len(entry) == 3 + length and entry[:3] == stamp:
                return entry, True
            settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS
            return [*stamp, *look(file)], settled
        except UnreadableImageError as error:  # not remembered: another decoder may read it
            return [*stamp, error.why], False
        except OSError:
            return None, False

    with ThreadPoolExecutor(max_workers=8) as pool:  # hashing and reading both let other threads run
        current = list(pool.map(fact, paths))
    fresh = {path: entry for path, (entry, keep) in zip(paths, current, strict=True) if keep and entry is not None}
    if memory and any(known.get(path) != entry for path, entry in fresh.items()):
        with suppress(OSError):  # a cache that cannot be written costs time, nothing else
            save_facts(memory, {**load_facts(memory), **fresh})
    return [entry for entry, _ in current]


def load_facts(memory: Path | None) -> Facts:
    """Facts remembered of files; none where the memory is absent or damaged, since it only saves time."""
    if memory is None:
        return {}
    try:
        entries = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def save_facts(memory: Path, entries: Facts) -> None:
    """Replace the facts remembered in one step: a reader sees the old or the new file, never half of one."""
    make_folder(memory.parent, "collection.cache")
    remove_drafts(memory.parent, ABANDONED)
    write_bytes(memory, json.dumps(entries).encode(), "collection.cache")
