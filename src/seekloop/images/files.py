"""What all collections of image files share: decoding by position, and a fingerprint that reads each file once."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from PIL import Image

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem
from seekloop.contracts.records import Annotations
from seekloop.images.decoding import read_rgb

# Two writes within one tick of the file system's clock leave the same mtime: a hash is remembered only for files that
# had rested this long when they were read.
SETTLED_NS = 2_000_000_000

Hashes = dict[str, list[int | str]]  # by path: the three numbers of the stamp, and the hash
Stamp = tuple[int, int, int]  # size, mtime, ctime: while these stay, the content is taken to have stayed


class FileCollection:
    """Images in files below one folder.

    Args:
        name: for people.
        root: the folder.
        paths: of the images, relative to `root`, with forward slashes. They identify the images.
        annotations: of these images.
        problems: what was left out.
        cache: folder where content hashes are remembered; None to hash anew every time.

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
        cache: str | None,
    ) -> None:
        if not paths:
            raise ConfigError("collection.root", str(root), "there are no images in it", "Point it at some images.")
        self.name, self.root, self.paths = name, root, tuple(paths)
        self.annotations, self.problems = annotations, tuple(problems)
        self.cache = Path(cache) if cache else None

    def read(self, image: int) -> Image.Image:
        """Decode one image.

        Raises:
            UnreadableImageError: if that cannot be done.
        """
        return read_rgb(self.root / self.paths[image])

    def fingerprint(self) -> str:
        """Hash of the images' relative paths, sizes and contents, in their order. When they were changed is no part."""
        digest = hashlib.blake2b(digest_size=16)
        for path, (size, content) in zip(self.paths, content_hashes(self.root, self.paths, self.cache), strict=True):
            digest.update(json.dumps([path, size, content]).encode())
        return digest.hexdigest()


def existing_folder(root: str | None, what: str) -> Path:
    """The configured root as an absolute path.

    Raises:
        ConfigError: if none is configured, or there is no such folder.
    """
    if root is None:
        raise ConfigError("collection.root", root, "this collection needs a folder", f"Give the path of {what}.")
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError("collection.root", root, "there is no such folder", f"Give the path of {what}.")
    return folder


def present(root: Path, paths: Sequence[str], listed_in: str) -> tuple[list[str], list[Problem]]:
    """Those of the listed images whose files are there, and a problem for each other one."""
    missing = [not (root / path).is_file() for path in paths]
    problems = [
        Problem(path, f"listed in {listed_in}, but there is no such file")
        for path, gone in zip(paths, missing, strict=True)
        if gone
    ]
    return [path for path, gone in zip(paths, missing, strict=True) if not gone], problems


def content_hashes(root: Path, paths: Sequence[str], cache: Path | None) -> list[tuple[int, str]]:
    """Size and content hash of every file, from the cache where size and times are those of when it was hashed."""
    memory = cache / f"{hashlib.blake2b(str(root).encode(), digest_size=12).hexdigest()}.json" if cache else None
    known = load_hashes(memory)
    with ThreadPoolExecutor(max_workers=8) as pool:  # hashing and reading both let other threads run
        current = list(pool.map(lambda path: hash_file(root / path, known.get(path)), paths))
    fresh: Hashes = {path: [*stamp, digest] for path, (stamp, digest, ok) in zip(paths, current, strict=True) if ok}
    if memory and any(known.get(path) != entry for path, entry in fresh.items()):
        with suppress(OSError):  # a cache that cannot be written costs time, nothing else
            save_hashes(memory, {**load_hashes(memory), **fresh})
    return [(stamp[0], digest) for stamp, digest, _ in current]


def hash_file(path: Path, known: list[int | str] | None) -> tuple[Stamp, str, bool]:
    """What the file is now: its stamp, its content's hash, and whether that may be remembered."""
    try:
        stat = path.stat()
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if known is not None and len(known) == 4 and tuple(known[:3]) == stamp:
            return stamp, str(known[3]), True
        settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS
        with path.open("rb") as file:
            return stamp, hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest(), settled
    except OSError:  # it will be reported when it is decoded
        return (-1, 0, 0), "unreadable", False


def load_hashes(memory: Path | None) -> Hashes:
    """The remembered hashes; none where there is no such file or it is damaged, since they only save time."""
    if memory is None:
        return {}
    try:
        entries = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def save_hashes(memory: Path, entries: Hashes) -> None:
    """Replace the remembered hashes in one step: a reader sees the old or the new file, never half of one."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=memory.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(entries, file)
        Path(name).replace(memory)
    finally:
        Path(name).unlink(missing_ok=True)
