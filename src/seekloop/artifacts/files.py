"""Write files that are whole or absent, and say in one way why one cannot be written."""

import contextlib
import errno
import hashlib
import io
import json
import os
import pickle
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seekloop.contracts.errors import StoreError

if TYPE_CHECKING:
    import numpy as np

ABANDONED = 3600.0  # seconds after which a draft that nobody changes is that of a dead process
DRAFTS = ("*.tmp", "*.part")  # the second ending is that of earlier versions
REASONS = {
    errno.ENOSPC: "its disk has no space left",
    errno.EDQUOT: "the quota on its disk is used up",
    errno.EROFS: "its file system is read-only",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "there is no permission to write there",
    errno.EISDIR: "it is a folder, and a file belongs there",
    errno.ENAMETOOLONG: "a name in it is too long for its file system",
    errno.ELOOP: "it is a link that leads to itself",
}
FULL = (errno.ENOSPC, errno.EDQUOT)


class CannotWriteError(OSError):
    """A file or folder cannot be made. Says under which key it lies, which one it is, why, and what to do."""

    def __str__(self) -> str:
        return str(self.strerror)


def refused(error: OSError, path: Path, key: str) -> CannotWriteError:
    """The error in words that name key, path, reason and remedy.

    Args:
        error: raised by the system.
        path: of the file or folder that could not be made.
        key: of the config, below whose folder it lies.
    """
    if isinstance(error, CannotWriteError):
        return error
    remedy = f"Choose another {key}."
    if error.errno in FULL:
        remedy = f"Free some space, or choose another {key}; what was finished is kept, and the same command goes on."
    nearest = next(parent for parent in (path, *path.absolute().parents) if os.path.lexists(parent))
    reason = REASONS.get(error.errno or 0, f"the system says: {error.strerror or error}")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        reason = f"{nearest} is a file, and a folder belongs there"
    elif error.errno == errno.ENOENT:
        reason = f"{nearest} takes no new files and folders, or its contents were removed meanwhile"
    return cannot_write(error.errno or errno.EIO, path, key, reason, remedy)


def cannot_write(number: int, path: Path, key: str, reason: str, remedy: str) -> CannotWriteError:
    """The one message."""
    return CannotWriteError(number, f"{key} cannot work: {path} cannot be written, since {reason}. {remedy}")


def make_folder(folder: Path, key: str) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        CannotWriteError: if that is impossible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(error, folder, key) from error


def write_through(path: Path, key: str, write: Callable[[Path], object], durable: bool = True) -> None:
    """Let `write` fill a draft beside `path`, force it to disk, then rename it onto `path`.

    Whenever the process or the machine stops, `path` holds what it held before, or all of the new content. Drafts have
    names of their own, so that any number of processes and threads may write one file.

    Args:
        path: of the file; its folder exists.
        key: of the config, below whose folder it lies.
        write: takes the path of the draft.
        durable: whether it must survive a power cut; otherwise a cut may leave it damaged.

    Raises:
        CannotWriteError: if it cannot be written; what was there before is untouched.
    """
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        write(draft)
        if durable:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise refused(error, path, key) from error
    finally:
        with contextlib.suppress(OSError):  # must not hide why the draft was not renamed
            draft.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, key: str, durable: bool = True) -> None:
    """Write a file, as `write_through` does."""
    write_through(path, key, lambda draft: draft.write_bytes(content), durable)


def write_json(path: Path, content: object, key: str) -> None:
    """Write JSON, the same bytes for the same content."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode(), key)


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is whatever it is
    """Content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_array(path: Path, array: "np.ndarray", key: str) -> dict[str, Any]:
    """Write an array as `.npy`; returns its size in bytes and its checksum."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    content = buffer.getvalue()
    write_bytes(path, content, key)
    return {"bytes": len(content), "blake2b": hashlib.blake2b(content, digest_size=16).hexdigest()}


def checksum(path: Path) -> str:
    """Checksum of a file, as `write_array` returns it."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def write_tensors(path: Path, content: Mapping[str, Any] | None, key: str) -> None:
    """Write tensors in plain containers, with numbers, text and None beside them."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue(), key)


def read_tensors(path: Path, remedy: str) -> Any:  # noqa: ANN401 - whatever was written
    """Content of a file of `write_tensors`, on the CPU; nothing in it is run.

    Args:
        path: of the file.
        remedy: what to do if it is damaged.

    Raises:
        StoreError: if it is damaged, or holds anything but plain data, as files of earlier versions may.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError as error:
        raise StoreError(f"{path} is damaged, or holds objects of an earlier version. {remedy}") from error
    except Exception as error:  # a damaged file can raise nearly anything
        raise StoreError(f"{path} is damaged ({type(error).__name__}). {remedy}") from error


def link(source: Path, path: Path, key: str) -> None:
    """Let `path` be the same file as `source`, which nobody changes in place; a copy where that is impossible."""
    try:
        path.hardlink_to(source)
    except OSError:
        write_bytes(path, source.read_bytes(), key)


def remove_drafts(folder: Path, silent: float = 0.0) -> None:
    """Delete what killed processes left half written.

    Args:
        folder: where.
        silent: seconds without a change after which a draft is taken for that of a dead process; 0 only for whoever
            has claimed the folder.
    """
    for draft in (path for pattern in DRAFTS for path in folder.glob(pattern)):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime >= silent:
                draft.unlink()
