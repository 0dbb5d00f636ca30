"""Everything that a page serves, for the routes of its API."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from seekloop.app import models, views
from seekloop.app.browse import Browser
from seekloop.app.events import News
from seekloop.app.library import Indexed, Library
from seekloop.app.overview import Group, groups
from seekloop.app.searches import MissingError, Search, Searches
from seekloop.app.thumbnails import Thumbnails, jpeg
from seekloop.app.uploads import Uploads

SMALL, LARGE = 320, 1600  # pixels along the longer side
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
NOT_KEPT = {"Cache-Control": "no-store"}
Count = Annotated[int, Query(ge=1, le=500)]
After = Annotated[int, Query(ge=0)]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}}
    for status, text in {
        400: "the request cannot be read",
        401: "the token is missing",
        403: "not from this page",
        404: "there is no such search or image",
        409: "another window has gone on, or nothing is indexed yet",
        413: "the file is too large",
        415: "the file is no picture",
        422: "the request cannot be understood",
        500: "the disk cannot be written or read",
    }.items()
}


@dataclass(frozen=True)
class Served:
    """Everything that a page serves.

    Attributes:
        library: what is searched.
        searches: of it.
        uploads: pictures from outside.
        news: for its windows.
        status: what is told of collection, network, words and criteria.
        cache: folder of thumbnails and dates.
        exports: folder of exported files.
    """

    library: Library
    searches: Searches
    uploads: Uploads
    news: News
    status: Callable[[], models.Status]
    cache: Path
    exports: Path


class Shown:
    """Pictures, folders and groups of the images that can be searched now, made anew when there are more."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._lock = threading.Lock()
        self._of: Indexed | None = None

    def now(self) -> "Shown":
        """The same, of what can be searched now.

        Raises:
            ConfigError: if nothing can.
        """
        indexed = self._served.library.indexed
        with self._lock:
            if self._of is None or self._of.collection is not indexed.collection:
                self.images = indexed.images
                self.thumbnails = Thumbnails(indexed.collection, indexed.images, self._served.cache / "thumbnails")
                self.browser = Browser(indexed.collection, indexed.images, self._served.cache)
                self._groups: list[Group] | None = None
                self._of = indexed
        return self

    def groups(self) -> list[Group]:
        """The overview of the collection, made when it is first looked at."""
        with self._lock:
            if self._groups is None:
                self._groups = groups(self._served.library.indexed.descriptors)
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

    def picture(self, name: str, side: int) -> bytes:
        """A picture of an image or of an upload, as JPEG, of at most so many pixels along its longer side.

        Raises:
            MissingError: if there is none of this name.
        """
        if self.images.position(name) is None and (upload := self._served.uploads.find(name)) is not None:
            return jpeg(self._served.uploads.collection([upload.name]).read(0), side)
        if side == SMALL:
            return self.thumbnails.get(self.position(name))
        return self.thumbnails.picture(self.position(name), side)


def served_by(request: Request) -> Served:
    """What the server of a request serves."""
    found: Served = request.app.state.served
    return found


def shown_by(request: Request) -> Shown:
    """Pictures, folders and groups of what can be searched now.

    Raises:
        ConfigError: if nothing can.
    """
    found: Shown = request.app.state.shown
    return found.now()


Here = Annotated[Served, Depends(served_by)]
Now = Annotated[Shown, Depends(shown_by)]


def found(here: Here, id: str) -> Search:
    """The search that a path names.

    Raises:
        MissingError: if there is none.
    """
    return here.searches.get(id)


Found = Annotated[Search, Depends(found)]


def shown(here: Served, search: Search, undone: str = "", notice: str = "") -> models.SearchOut:
    """A search as the page shows it."""
    listed = here.searches.listed(search.id)
    remaining, hint = here.searches.estimated(search)
    with search.reading() as session:
        return views.search(
            session,
            listed,
            criteria=here.library.parts.criteria,
            learning=search.learning,
            remaining=remaining,
            hint=hint,
            undone=undone,
            notice=notice,
        )


def changed(here: Served, search: Search, undone: str = "", notice: str = "") -> models.SearchOut:
    """A search that has changed, as the page shows it; its other windows are told."""
    out = shown(here, search, undone, notice)
    here.searches.changed(search.id, out.version)
    return out
