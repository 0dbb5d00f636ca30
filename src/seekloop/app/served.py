"""Everything that a page serves, for the routes of its API."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from seekloop.app import models, views
from seekloop.app.events import News
from seekloop.app.library import Library
from seekloop.app.pictures import Pictures
from seekloop.app.searches import Search, Searches

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
        pictures: of its images.
        news: for its windows.
        status: what is told of collection, network, words and criteria.
        exports: folder of exported files.
    """

    library: Library
    searches: Searches
    pictures: Pictures
    news: News
    status: Callable[[], models.Status]
    exports: Path


def served_by(request: Request) -> Served:
    """Everything behind the server of a request."""
    found: Served = request.app.state.served
    return found


def pictured(request: Request) -> Pictures:
    """Pictures, folders and groups of what can be searched now.

    Raises:
        NotReadyError: if none can.
    """
    return served_by(request).pictures.now()


Here = Annotated[Served, Depends(served_by)]
Now = Annotated[Pictures, Depends(pictured)]


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
        out = views.search(
            session,
            listed,
            criteria=here.library.parts.criteria,
            learning=search.learning,
            remaining=remaining,
            hint=hint,
            undone=undone,
            notice=notice,
        )
    here.pictures.now().warm([one.name for one in out.question])
    return out


def changed(here: Served, search: Search, undone: str = "", notice: str = "") -> models.SearchOut:
    """A search that has changed, as the page shows it; its other windows are told."""
    out = shown(here, search, undone, notice)
    here.searches.changed(search.id, out.version)
    return out
