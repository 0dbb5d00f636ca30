"""Files that are either whole or absent, whatever interrupts the writing."""

import errno
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from seekloop.contracts.errors import StoreError


def write_bytes(path: Path, payload: bytes) -> None:
    """Write next to `path`, force to disk, then rename onto it.

    Raises:
        StoreError: if the disk is full. What was written before stays valid.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _write_through(draft, payload)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"No space left while writing {path} ({len(payload) / 1e6:.1f} MB). Free some, or choose another "
                "folder with store_dir=<folder>; the same command then continues where it stopped."
            ) from error
        raise


def _write_through(path: Path, payload: bytes) -> None:
    with path.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


def write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Write an array as `.npy`; returns its size in bytes and checksum."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    payload = buffer.getvalue()
    write_bytes(path, payload)
    return {"bytes": len(payload), "blake2b": hashlib.blake2b(payload, digest_size=16).hexdigest()}


def write_json(path: Path, content: object) -> None:
    """Write JSON that is the same, byte for byte, for the same content."""
    write_bytes(path, (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is whatever it is
    """What `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def checksum(path: Path) -> str:
    """The checksum of a file, as `write_array` gives it."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def remove_drafts(folder: Path) -> None:
    """Delete what an interrupted writer left unfinished. Only for whoever holds the store's lock."""
    for draft in folder.glob("*.part"):
        draft.unlink()
