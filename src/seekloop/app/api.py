"""The page's HTTP API: what the page asks for, and what other programs may ask for just as well."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from seekloop.app import models, views
from seekloop.app.browse import Browser
from seekloop.app.events import News
from seekloop.app.heatmap import heat, render
from seekloop.app.library import Indexed, Library
from seekloop.app.overview import Group, groups
from seekloop.app.safety import Guard
from seekloop.app.searches import MissingError, Search, Searches
from seekloop.app.thumbnails import Thumbnails, jpeg
from seekloop.app.uploads import UploadError, Uploads
from seekloop.artifacts.folder import BusyError
from seekloop.contracts.errors import ConfigError, StoreError, UnreadableImageError

PAGE = Path(__file__).parent / "page"
SMALL, LARGE = 320, 1600  # pixels along the longer side
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
NOT_KEPT = {"Cache-Control": "no-store"}
Count = Annotated[int, Query(ge=1, le=500)]
After = Annotated[int, Query(ge=0)]


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


def make_app(served: Served, *, hosts: frozenset[str] = frozenset(), token: str = "") -> Guard:
    """The server: API and page, behind a guard.

    Args:
        served: what it serves.
        hosts: names that it goes by; empty: any.
        token: that every request needs; empty: none.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        served.news.begin()
        yield
        served.news.end()

    app = FastAPI(title="seekloop", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    _explain(app)
    shown = Shown(served)
    _collection_routes(app, served, shown)
    _search_routes(app, served)
    _answer_routes(app, served)
    _export_routes(app, served)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return Guard(app, hosts, token)


def _explain(app: FastAPI) -> None:
    """Turn errors whose message says it all into replies."""
    statuses: Mapping[type[Exception], int] = {
        MissingError: 404,
        ConfigError: 409,
        BusyError: 409,
        UnreadableImageError: 422,
        StoreError: 500,
        ValueError: 422,
        OSError: 500,
    }

    def reply(status: int) -> Callable[[Request, Exception], Response]:
        return lambda _, error: JSONResponse({"detail": str(error)}, status)

    for kind, status in statuses.items():
        app.add_exception_handler(kind, reply(status))

    def upload(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, getattr(error, "status", 422))

    app.add_exception_handler(UploadError, upload)


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}}
    for status, text in {
        401: "the token is missing",
        403: "not from this page",
        404: "there is no such search or image",
        409: "another window has gone on, or nothing is indexed yet",
        422: "the request cannot be understood",
        500: "the disk cannot be written or read",
    }.items()
}


def _collection_routes(app: FastAPI, served: Served, shown: Shown) -> None:
    """What the collection holds, and its pictures."""

    @app.get("/api/status", responses=ERRORS)
    def status() -> models.Status:
        """Collection, network, words, criteria; how far indexing is."""
        return served.status()

    @app.get("/api/events", response_class=StreamingResponse)
    def events() -> StreamingResponse:
        """News for a window, as server-sent events."""
        return StreamingResponse(served.news.stream(), media_type="text/event-stream", headers=NOT_KEPT)

    @app.get("/api/browse", responses=ERRORS)
    def browse(
        folder: str = "", after: After = 0, count: Count = 60, by: Literal["name", "date"] = "name", month: str = ""
    ) -> models.Browsed:
        """Images by folder, or by date."""
        try:
            return models.Browsed.model_validate(shown.now().browser.page(folder, after, count, by, month))
        except LookupError as error:
            raise MissingError(str(error)) from error

    @app.get("/api/overview", responses=ERRORS)
    def overview() -> models.Overview:
        """The collection in groups of images that look alike."""
        now = shown.now()
        found = [(now.image(one.image), len(one.members)) for one in now.groups()]
        return models.Overview(
            groups=[models.Group(name=image.name, path=image.path, images=size) for image, size in found]
        )

    @app.get("/api/overview/{name}", responses=ERRORS)
    def group(name: str, after: After = 0, count: Count = 60) -> models.Images:
        """Images of one group, the most typical first."""
        now = shown.now()
        position = now.position(name)
        found = next((one for one in now.groups() if one.image == position), None)
        if found is None:
            raise MissingError("this photograph stands for no group; load the overview again")
        some = found.members[after : after + count]
        return models.Images(images=[now.image(image) for image in some], total=len(found.members))

    @app.get("/api/images/{name}/thumbnail", response_class=Response, responses=ERRORS)
    def thumbnail(name: str) -> Response:
        """A small picture of an image, or of an upload."""
        return Response(shown.now().picture(name, SMALL), media_type="image/jpeg", headers=FOR_EVER)

    @app.get("/api/images/{name}/picture", response_class=Response, responses=ERRORS)
    def picture(name: str) -> Response:
        """A picture of an image, as large as a screen, upright."""
        return Response(shown.now().picture(name, LARGE), media_type="image/jpeg", headers=FOR_EVER)

    @app.post("/api/uploads", status_code=201, responses=ERRORS)
    async def upload(
        request: Request, x_filename: Annotated[str, Header(max_length=1000)] = "upload"
    ) -> models.Uploaded:
        """Take a picture from outside the collection, to begin a search with."""
        data = await _limited(request, served.uploads.limit_bytes)
        return models.Uploaded.model_validate(await run_in_threadpool(served.uploads.add, data, unquote(x_filename)))


async def _limited(request: Request, limit: int) -> bytes:
    """The body of a request, read no further than allowed."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise UploadError(413, f"the file is larger than {limit / 1e6:,.0f} MB; make it smaller first")
    return bytes(data)


def _out(served: Served, search: Search, undone: str = "", notice: str = "") -> models.SearchOut:
    """A search as the page shows it."""
    listed = served.searches.listed(search.id)
    remaining, hint = served.searches.estimated(search)
    with search.reading() as session:
        return views.search(
            session,
            listed,
            criteria=served.library.parts.criteria,
            learning=search.learning,
            remaining=remaining,
            hint=hint,
            undone=undone,
            notice=notice,
        )


def _changed(served: Served, search: Search, undone: str = "", notice: str = "") -> models.SearchOut:
    """A search that has changed, as the page shows it; its other windows are told."""
    out = _out(served, search, undone, notice)
    served.searches.changed(search.id, out.version)
    return out


def _search_routes(app: FastAPI, served: Served) -> None:
    """Searches: begin, list, look at, leave."""

    @app.get("/api/searches", responses=ERRORS)
    def listed() -> models.Searches:
        """All searches, the latest first."""
        return models.Searches(searches=served.searches.summaries())

    @app.post("/api/searches", status_code=201, responses=ERRORS)
    def begin(wanted: models.NewSearch) -> models.SearchOut:
        """Begin a search; its first question comes with it."""
        return _out(served, served.searches.begin(wanted))

    @app.get("/api/searches/{id}", responses=ERRORS)
    def get(id: str) -> models.SearchOut:
        """A search as it stands."""
        return _out(served, served.searches.get(id))

    @app.patch("/api/searches/{id}", responses=ERRORS)
    def rename(id: str, wanted: models.Title) -> models.SearchOut:
        """Give a search another title."""
        served.searches.rename(id, wanted.title)
        return _changed(served, served.searches.get(id))

    @app.delete("/api/searches/{id}", status_code=204, responses=ERRORS)
    def remove(id: str) -> None:
        """Delete a search and everything that was said in it."""
        served.searches.remove(id)

    @app.post("/api/searches/{id}/fork", status_code=201, responses=ERRORS)
    def fork(id: str) -> models.SearchOut:
        """Copy a search, so that both go on by themselves."""
        return _out(served, served.searches.fork(id))

    @app.get("/api/searches/{id}/ranking", responses=ERRORS)
    def ranking(id: str, after: After = 0, count: Count = 60) -> models.RankingOut:
        """A part of the ranking, most likely first."""
        return served.searches.get(id).ranking(after, count)

    @app.get("/api/searches/{id}/answers", responses=ERRORS)
    def answers(id: str) -> models.AnswersOut:
        """Everything that was said, the latest first."""
        return models.AnswersOut(answers=served.searches.get(id).answers())

    @app.get("/api/searches/{id}/images/{name}/heatmap", response_class=Response, responses=ERRORS)
    def heatmap(id: str, name: str) -> Response:
        """What every part of an image scores, to lay over its picture."""
        search = served.searches.get(id)
        picture, image = served.searches.picture(search, name), search.position(name)
        scores = heat(search.session, served.library.backbone(), picture, image)
        return Response(render(scores, picture.size), media_type="image/png", headers=NOT_KEPT)


def _answer_routes(app: FastAPI, served: Served) -> None:
    """What a person says in a search."""

    @app.post("/api/searches/{id}/answers", responses=ERRORS)
    def answer(id: str, given: models.AnswersIn) -> models.SearchOut:
        """Keep answers; they are on disk when this replies."""
        search = served.searches.get(id)
        with _still_ours(served, search):
            search.note(given.answers)
        served.searches.learn_ahead(search)
        return _changed(served, search)

    @app.post("/api/searches/{id}/next", responses={**ERRORS, 409: {"model": models.Conflict}})
    def go_on(id: str, seen: models.Seen) -> Response | models.SearchOut:
        """Take the answers in, and ask the next question."""
        search = served.searches.get(id)
        with _still_ours(served, search), search.changing() as session:
            if search.asked_at() > seen.version:
                why = "another window has gone on to the next question; nothing is lost"
                conflict = models.Conflict(detail=why, search=_out(served, search))
                return JSONResponse(conflict.model_dump(), 409)
            session.advance()
        return _changed(served, search)

    @app.post("/api/searches/{id}/revoke", responses=ERRORS)
    def revoke(id: str, some: models.Names) -> models.SearchOut:
        """Take answers back."""
        search = served.searches.get(id)
        with _still_ours(served, search), search.changing() as session:
            waiting = [search.position(name) for name in some.names if name in session.pending]
            taken_in = [search.position(name) for name in some.names if name not in session.pending]
            session.note({}, withdrawn=waiting)
            if taken_in:
                session.revoke(taken_in)
        return _changed(served, search)

    @app.post("/api/searches/{id}/undo", responses=ERRORS)
    def undo(id: str, _: models.Nothing) -> models.SearchOut:
        """Undo the last step."""
        search = served.searches.get(id)
        with _still_ours(served, search), search.changing() as session:
            event = session.undo()
            paths = {search.name(image): search.path(image) for image in search.images_of(event)}
            told = views.undone(event, paths)
        return _changed(served, search, undone=told)

    @app.post("/api/searches/{id}/examples", responses=ERRORS)
    def example(id: str, given: models.ExampleIn) -> models.SearchOut:
        """Give another image that shows the object."""
        search = served.searches.get(id)
        with _still_ours(served, search):
            served.searches.add_example(search, given.name, given.box)
        return _changed(served, search)

    @app.post("/api/searches/{id}/criterion", responses=ERRORS)
    def criterion(id: str, wanted: models.CriterionIn) -> models.SearchOut:
        """Choose questions another way; nothing is fitted anew."""
        search = served.searches.get(id)
        with _still_ours(served, search), search.changing() as session:
            session.use(wanted.name)
        return _changed(served, search)

    @app.post("/api/searches/{id}/accept", responses=ERRORS)
    def accept(id: str, cut: models.Accepted) -> models.SearchOut:
        """Give the top of the ranking one answer, where an image has none."""
        search = served.searches.get(id)
        with _still_ours(served, search):
            count = search.accept(cut)
        served.searches.learn_ahead(search)
        return _changed(served, search, notice=f"{count:,} photographs answered {cut.answer}")


@contextmanager
def _still_ours(served: Served, search: Search) -> Iterator[None]:
    """Read a search again, and say so, where another process has added to it."""
    try:
        yield
    except BusyError:
        served.searches.forget(search.id)
        raise
