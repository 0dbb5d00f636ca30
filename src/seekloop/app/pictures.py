"""Pictures, folders and groups of a collection while it is being indexed."""

import threading
from collections.abc import Sequence
from pathlib import Path

from seekloop.app import models
from seekloop.app.browse import Browser
from seekloop.app.library import Indexed, Library
from seekloop.app.overview import Group, groups
from seekloop.app.searches import MissingError
from seekloop.app.thumbnails import Thumbnails, jpeg
from seekloop.app.uploads import Uploads
from seekloop.loop.items import Images

SMALL, LARGE = 320, 1600  # pixels along the longer side


class Pictures:
    """Pictures, folders and groups of the images that can be searched now, made anew when there are more.

    Args:
        library: what can be searched.
        uploads: pictures from outside the collection.
        cache: folder of thumbnails and dates.
    """

    images: Images
    thumbnails: Thumbnails
    browser: Browser

    def __init__(self, library: Library, uploads: Uploads, cache: Path) -> None:
        self.library, self.uploads, self.cache = library, uploads, cache
        self._lock = threading.Lock()
        self._of: Indexed | None = None

    def now(self) -> "Pictures":
        """The same, of what can be searched now.

        Raises:
            NotReadyError: if none can.
        """
        indexed = self.library.indexed
        with self._lock:
            if self._of is None or self._of.collection is not indexed.collection:
                if self._of is not None:
                    self.thumbnails.close()
                self.images = indexed.images
                self.thumbnails = Thumbnails(indexed.collection, indexed.images, self.cache / "thumbnails")
                self.browser = Browser(indexed.collection, indexed.images, self.cache)
                self._groups: list[Group] | None = None
                self._of = indexed
        return self

    def groups(self) -> list[Group]:
        """The overview of the collection, made when it is first looked at."""
        with self._lock:
            if self._groups is None:
                self._groups = groups(self.library.indexed.descriptors)
            return self._groups

    def position(self, name: str) -> int:
        """Position of an image.

        Raises:
            MissingError: if there is none of this name.
        """
        position = self.images.position(name)
        if position is None:
            raise MissingError(f"there is no photograph {name[:40]}; it may have been moved or changed")
        return position

    def image(self, image: int) -> models.Image:
        """An image with its path and date."""
        return models.Image.model_validate(self.browser.photograph(image))

    def warm(self, names: Sequence[str]) -> None:
        """Make thumbnails in the background that will soon be asked for."""
        positions = [self.images.position(name) for name in names]
        self.thumbnails.warm([position for position in positions if position is not None])

    def picture(self, name: str, side: int) -> bytes:
        """A picture of an image or of an upload, as JPEG, of at most so many pixels along its longer side.

        Raises:
            MissingError: if there is none of this name.
        """
        if self.images.position(name) is None and (upload := self.uploads.find(name)) is not None:
            return jpeg(self.uploads.collection([upload.name]).read(0), side)
        if side == SMALL:
            return self.thumbnails.get(self.position(name))
        return self.thumbnails.picture(self.position(name), side)
