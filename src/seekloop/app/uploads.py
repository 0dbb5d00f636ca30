"""Pictures that a person brings along: examples that are no part of the collection."""

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import torch
from PIL import Image, UnidentifiedImageError

from seekloop.artifacts.files import make_folder, read_json, write_bytes, write_json
from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.problems import Problem
from seekloop.contracts.records import Annotations
from seekloop.images.decoding import formats, read_rgb, upright

LIMIT_BYTES = 64 * 2**20
LIMIT_PIXELS = 2**27  # a picture of so many takes 384 MiB once decoded
LONGEST_NAME = 120  # letters of a file's name that are kept
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
NAME = re.compile(r"[0-9a-f]{32}")
KEY = "store_dir"  # of the config: uploads lie below it


class UploadError(ValueError):
    """A file that is not taken: an HTTP status and a sentence that says why, and what to do."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Upload:
    """A picture that is kept.

    Attributes:
        name: hash of the file's content, as `FileCollection.contents` gives it for its own files.
        width: of the upright picture.
        height: likewise.
        path: name of the file, for people.
    """

    name: str
    width: int
    height: int
    path: str


def read_upload(data: bytes, *, limit_bytes: int = LIMIT_BYTES, limit_pixels: int = LIMIT_PIXELS) -> Image.Image:
    """Decode an uploaded file to an upright RGB picture that holds nothing else of the file.

    Its kind is decided by its content. Its pixels are counted before they are decoded.

    Args:
        data: content of the file.
        limit_bytes: most bytes.
        limit_pixels: most pixels.

    Raises:
        UploadError: 413 if it is too large, 415 if it is no picture of a kind that is read, 422 if it is damaged.
    """
    if len(data) > limit_bytes:
        sentence = f"The file has {len(data) / 2**20:.1f} MiB, and {limit_bytes / 2**20:.1f} MiB are allowed"
        raise UploadError(413, f"{sentence}: save it smaller.")
    too_many = f"The picture has more than the {limit_pixels:,} pixels allowed: save it smaller."
    try:
        with Image.open(io.BytesIO(data), formats=formats()) as image:
            if image.width * image.height > limit_pixels:
                raise UploadError(413, too_many)
            picture = upright(image)
    except UploadError:
        raise
    except BOMBS as error:
        raise UploadError(413, too_many) from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(sorted(formats()))
        raise UploadError(415, f"The file is no picture of a kind that can be read: give one of {kinds}.") from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise UploadError(422, "The picture is damaged or cut off: open it in a viewer and save it again.") from error
    picture.info.clear()
    return picture


class Uploads:
    """Uploaded pictures in a folder: pixels only, as PNG, so that no place or name of a camera leaves with them.

    Args:
        folder: where they are kept.
        limit_bytes: as in `read_upload`.
        limit_pixels: likewise.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES, limit_pixels: int = LIMIT_PIXELS) -> None:
        self.folder, self.limit_bytes, self.limit_pixels = folder, limit_bytes, limit_pixels

    def add(self, data: bytes, path: str = "") -> Upload:
        """Keep a picture; the same file again is the same upload, under its first name.

        Args:
            data: content of the file.
            path: its name, for people.

        Raises:
            UploadError: as `read_upload`.
            CannotWriteError: if it cannot be written.
        """
        picture = read_upload(data, limit_bytes=self.limit_bytes, limit_pixels=self.limit_pixels)
        upload = Upload(hashlib.blake2b(data, digest_size=16).hexdigest(), *picture.size, _shown(path))
        if (known := self.find(upload.name)) is not None:
            return known
        content = io.BytesIO()
        picture.save(content, "PNG", compress_level=1)
        make_folder(self.folder, KEY)
        write_bytes(self.file(upload.name), content.getvalue(), KEY)
        about = {"width": upload.width, "height": upload.height, "path": upload.path}
        write_json(self.file(upload.name).with_suffix(".json"), about, KEY)
        return upload

    def find(self, name: str) -> Upload | None:
        """The upload of this name; None where there is none."""
        if not NAME.fullmatch(name):
            return None
        try:
            return Upload(name, **read_json(self.file(name).with_suffix(".json")))
        except FileNotFoundError:
            return None

    def file(self, name: str) -> Path:
        """Path of the picture of an upload."""
        return self.folder / f"{name}.png"

    def collection(self, names: Sequence[str]) -> "UploadedImages":
        """Some uploads as a collection, in this order.

        Raises:
            LookupError: if there is no such upload.
        """
        found = [self.find(name) for name in names]
        for name, upload in zip(names, found, strict=True):
            if upload is None:
                raise LookupError(f"there is no uploaded picture {name!r}: upload it again")
        return UploadedImages(self.folder, [upload for upload in found if upload is not None])


class UploadedImages:
    """Uploads as a collection, known by their contents. Implements `Collection` and `KnowsContents`.

    Args:
        folder: where their pictures lie.
        uploads: in their order.
    """

    def __init__(self, folder: Path, uploads: Sequence[Upload]) -> None:
        self.name, self.folder, self.uploads = "uploads", folder, tuple(uploads)
        self.paths: Sequence[str] = tuple(upload.path for upload in uploads)
        nothing = torch.empty(0, dtype=torch.long)
        none = torch.empty(0, dtype=torch.bool)
        self.annotations = Annotations((), nothing, nothing, torch.empty(0, 4), none, none)
        self.problems: Sequence[Problem] = ()

    def read(self, image: int) -> Image.Image:
        """Decode one picture.

        Raises:
            UnreadableImageError: if its file was removed or damaged.
        """
        try:
            return read_rgb(self.folder / f"{self.uploads[image].name}.png")
        except UnreadableImageError as error:
            raise UnreadableImageError(self.paths[image], error.why) from error

    def contents(self) -> Sequence[str]:
        """Content hash of each uploaded file."""
        return [upload.name for upload in self.uploads]

    def fingerprint(self) -> str:
        """Hash of the contents, in their order."""
        return hashlib.blake2b("\0".join(self.contents()).encode(), digest_size=16).hexdigest()


def _shown(path: str) -> str:
    """The last part of a file's name, its letters only: neither folders nor characters that control a terminal."""
    letters = "".join(letter for letter in PureWindowsPath(path).name if letter.isprintable())
    return letters[:LONGEST_NAME] or "picture"
