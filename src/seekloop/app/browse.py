"""Images of a collection by folder and by the date they were taken."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Literal

from PIL import Image

from seekloop.contracts.protocols import Collection
from seekloop.images.decoding import formats
from seekloop.images.files import FileCollection, remembered
from seekloop.loop.items import Images

EXIF, TAKEN = 0x8769, 0x9003  # the directory of EXIF's own tags, and DateTimeOriginal in it
LISTINGS = 64  # folders whose images stay sorted


@dataclass(frozen=True)
class Photograph:
    """An image of a page: its name by content, its path, and its date (ISO 8601, "" where it is not known)."""

    name: str
    path: str
    date: str


@dataclass(frozen=True)
class Subfolder:
    """A folder of a folder, and how many images are anywhere below it."""

    path: str
    name: str
    images: int


@dataclass(frozen=True)
class Month:
    """A month, such as 2021-07, and how many of the listed images are of it."""

    month: str
    images: int


@dataclass(frozen=True)
class Page:
    """Some of the images of a folder.

    Attributes:
        folder: relative to the collection's root, "" for the root.
        folders: in it.
        images: of this page.
        total: images of all pages.
        months: of all images that there would be without a choice of a month, latest first.
    """

    folder: str
    folders: tuple[Subfolder, ...]
    images: tuple[Photograph, ...]
    total: int
    months: tuple[Month, ...]


class Browser:
    """Pages of a collection's images.

    Dates are read in the background, and remembered while files stay as they are: until all are known, none is.

    Args:
        collection: the images; only those in files have dates.
        names: of the same images.
        cache: folder where dates are remembered; None to read them anew.
    """

    def __init__(self, collection: Collection, names: Images, cache: Path | None = None) -> None:
        self.collection, self.names, self.cache = collection, names, cache
        self._dates: Sequence[str] = [""] * len(collection.paths)
        self._folders, self._counts = _folders(collection.paths)
        self._listed = lru_cache(LISTINGS)(self._sorted)
        self._reading = Thread(target=self._read_dates, name="dates", daemon=True)
        self._reading.start()

    def page(
        self,
        folder: str = "",
        after: int = 0,
        count: int = 60,
        by: Literal["name", "date"] = "name",
        month: str = "",
    ) -> Page:
        """Some images of a folder.

        Args:
            folder: relative to the root, "" for the root.
            after: how many images come before this page.
            count: images on it.
            by: name: the images in the folder itself, by name; date: all that are anywhere below it, latest first,
                those without a date last.
            month: such as 2021-07: only images of this month; "" for all.

        Raises:
            LookupError: if the collection has no such folder.
        """
        folder = folder.strip("/")
        if folder not in self._counts:
            raise LookupError(f"there is no folder {folder!r} in the collection: choose one of those listed")
        images, months = self._listed(folder, by)
        if month:
            images = [image for image in images if self._dates[image].startswith(month)]
        inside = [path for path in self._counts if path and _parent(path) == folder]
        return Page(
            folder,
            tuple(Subfolder(path, PurePosixPath(path).name, self._counts[path]) for path in sorted(inside)),
            tuple(self.photograph(image) for image in images[after : after + count]),
            len(images),
            months,
        )

    def photograph(self, image: int) -> Photograph:
        """Name, path and date of one image."""
        return Photograph(self.names.name(image), self.collection.paths[image], self._dates[image])

    def wait(self) -> None:
        """Return once all dates are known."""
        self._reading.join()

    def _sorted(self, folder: str, by: str) -> tuple[list[int], tuple[Month, ...]]:
        """Positions of the images of a folder in their order, and their months."""
        images = self._folders.get(folder, [])
        if by == "date":
            below = [path for path in self._folders if _is_below(path, folder)]
            everything = sorted(image for path in below for image in self._folders[path])
            images = sorted(everything, key=self._dates.__getitem__, reverse=True)
        months = Counter(self._dates[image][:7] for image in images)
        return images, tuple(Month(month, months[month]) for month in sorted(months, reverse=True) if month)

    def _read_dates(self) -> None:
        collection = self.collection
        if not isinstance(collection, FileCollection):
            return
        files = [collection.renamed.get(path, path) for path in collection.paths]
        facts = remembered(collection.root, files, self.cache, "-dates", 1, lambda path: [taken(path)])
        self._dates = ["" if fact is None else fact[3] or _local(fact[1]) for fact in facts]
        self._listed = lru_cache(LISTINGS)(self._sorted)  # another one: what is being sorted now goes into the old


def taken(path: Path) -> str:
    """When a photograph was taken, as its EXIF data say (ISO 8601); "" where they do not."""
    try:
        with Image.open(path, formats=formats()) as image:
            if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode all of it to look behind it
                return ""
            stated = str(image.getexif().get_ifd(EXIF).get(TAKEN, ""))
        return datetime.strptime(stated[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except Exception:  # damaged files and data raise nearly anything; the image is reported where it is decoded
        return ""


def _local(nanoseconds: int) -> str:
    """A time since 1970 as the date and time of this place."""
    return datetime.fromtimestamp(nanoseconds // 10**9).isoformat()


def _folders(paths: Sequence[str]) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Positions of the images in each folder itself, and for all folders the number of images anywhere below."""
    inside: dict[str, list[int]] = {}
    for image, path in enumerate(paths):
        inside.setdefault(_parent(path), []).append(image)
    counts = Counter({"": 0})
    for folder, images in inside.items():
        counts[folder] += len(images)
        while folder:
            folder = _parent(folder)
            counts[folder] += len(images)
    return inside, dict(counts)


def _parent(path: str) -> str:
    """The folder of a path, "" for the root."""
    return path.rpartition("/")[0]


def _is_below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")
