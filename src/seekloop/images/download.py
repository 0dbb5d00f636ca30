"""Fetch a public collection's archive: whole or not at all, checked, and once even if two processes ask."""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from seekloop.artifacts.files import CannotWriteError, make_folder
from seekloop.artifacts.folder import lock
from seekloop.contracts.errors import ConfigError

TIMEOUT = 30  # seconds without a byte
FAILURES = (OSError, ValueError, EOFError, HTTPException, tarfile.TarError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Archive:
    """One file to fetch.

    Attributes:
        url: where it is.
        md5: of the file, where its owners publish it.
        member: the folder inside it that is wanted.
        target: what that folder becomes below the collection's root.
    """

    url: str
    md5: str | None
    member: str
    target: str


def fetch(archive: Archive, root: Path) -> None:
    """Put the archive's folder below `root`, unless it is there. It appears complete or not at all.

    Raises:
        ConfigError: if it cannot be fetched or is damaged (says what to put where by hand).
        CannotWriteError: if the folder cannot be made or locked.
    """
    target = root / archive.target
    try:
        make_folder(root, "collection.root")
        with lock(root / ".download.lock", "collection.root"):
            if not target.exists():
                # beside the target, then renamed: whoever looks sees nothing or all of it
                with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
                    (unpacked(archive, Path(folder)) / archive.member).replace(target)
    except CannotWriteError:
        raise
    except FAILURES as error:
        why = f"{archive.url} could not be fetched ({error})"
        fix = f"Fetch it elsewhere, and put its folder {archive.member} at {target}."
        raise ConfigError("download", True, why, fix) from error


def unpacked(archive: Archive, folder: Path) -> Path:
    """Download an archive into a folder and extract it; members that point outside are refused.

    Raises:
        OSError: if it cannot be reached.
        ValueError: if its checksum is wrong.
    """
    path = folder / archive.url.rsplit("/", 1)[-1]
    with urllib.request.urlopen(archive.url, timeout=TIMEOUT) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file, length=1 << 20)
    if archive.md5 is not None:
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != archive.md5:
            raise ValueError(f"its MD5 is {md5}, not {archive.md5}")
    shutil.unpack_archive(path, folder / "unpacked", filter="data" if path.suffix == ".tar" else None)
    return folder / "unpacked"
