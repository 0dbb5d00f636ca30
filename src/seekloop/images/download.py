"""Fetching a public collection's archive: whole or not at all, checked, and once even if two processes ask."""

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
    try:
        make_folder(root, "collection.root")
        with lock(root / ".download.lock", "collection.root"):
            if not (root / archive.target).exists():
                fetch_now(archive, root)
    except CannotWriteError:
        raise
    except FAILURES as error:
        raise ConfigError(
            "collection.download",
            True,
            f"{archive.url} could not be fetched ({error})",
            f"Fetch it elsewhere, and put its folder {archive.member} at {root / archive.target}.",
        ) from error


def fetch_now(archive: Archive, root: Path) -> None:
    """Download and unpack beside the target, then rename: whoever looks sees nothing or all of it."""
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
        unpacked = unpack(download(archive, Path(folder)), Path(folder) / "unpacked")
        (unpacked / archive.member).replace(root / archive.target)


def download(archive: Archive, folder: Path) -> Path:
    """The archive as a file in `folder`.

    Raises:
        OSError: if it cannot be reached.
        ValueError: if its checksum is wrong.
    """
    path = folder / archive.url.rsplit("/", 1)[-1]
    with urllib.request.urlopen(archive.url, timeout=TIMEOUT) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file, length=1 << 20)
    if archive.md5 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != archive.md5:
            raise ValueError(f"its MD5 is {found}, not {archive.md5}")
    return path


def unpack(path: Path, folder: Path) -> Path:
    """Extract a tar or zip file; members that point outside the folder are refused."""
    if path.suffix == ".tar":
        shutil.unpack_archive(path, folder, filter="data")
    else:
        shutil.unpack_archive(path, folder)
    return folder
