"""A search in files: for other programs, for another machine, and as a run."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from seekloop.app import export, models
from seekloop.app.imports import imported
from seekloop.app.routes.collection import limited
from seekloop.app.searches import Search
from seekloop.app.served import ERRORS, NOT_KEPT, Found, Here, shown

LARGEST = 100_000_000  # bytes of a session that is imported
KINDS = {"csv": "text/csv; charset=utf-8", "xmp": "application/zip"}
ENDINGS = {"csv": ".csv", "json": ".json", "coco": "_coco.json", "xmp": "_xmp.zip"}
Format = Literal["csv", "json", "coco", "xmp"]
Score = Annotated[float | None, Query(allow_inf_nan=False)]
First = Annotated[int | None, Query(ge=0)]

router = APIRouter(prefix="/api", responses=ERRORS)


@router.get("/searches/{id}/export", response_class=Response)
def download(search: Found, here: Here, format: Format, above: Score = None, first: First = None) -> Response:
    """Images found, and those of the ranking down to a cut-off, as a file; `json` is the session itself."""
    title = here.searches.listed(search.id).title
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(export.slug(title) + ENDINGS[format])}"}
    content = contents(search, here, title, format, models.CutOff(above=above, first=first))
    return Response(content, media_type=KINDS.get(format, "application/json"), headers=headers | NOT_KEPT)


def contents(search: Search, here: Here, title: str, format: Format, cut: models.CutOff) -> bytes:
    """The file of an export."""
    if format == "json":
        return export.as_json(here.searches.sessions.kept(search.id), search.id)
    collection = search.indexed.collection
    rows = search.exported(cut)
    if format == "xmp":
        return export.zipped(export.sidecars(rows, collection, title or "seekloop")[0])
    sizes = export.sizes(collection, rows)
    return export.as_csv(rows, sizes) if format == "csv" else export.as_coco(rows, sizes, title)


@router.post("/searches/{id}/export")
def put(search: Found, here: Here, wanted: models.ExportIn) -> models.Written:
    """Put links to the photographs, or copies of them, into a folder on this machine."""
    title = here.searches.listed(search.id).title
    folder = here.exports / f"{export.slug(title)}-{search.id[:8]}-{wanted.format}"
    copies = wanted.format == "copies"
    done = export.place(search.exported(wanted), search.indexed.collection, folder, copies=copies)
    return models.Written(folder=str(folder.absolute()), files=len(done.paths), skipped=done.skipped)


@router.post("/import", status_code=201)
async def bring(here: Here, request: Request) -> models.SearchOut:
    """Go on with a session that was exported as `json`, over this collection."""
    data = await limited(request, LARGEST)

    def keep() -> models.SearchOut:
        library = here.library
        about = library.parts.about
        came = imported(here.searches.sessions, data, images=library.indexed.images, about=about)
        try:
            return shown(here, here.searches.get(came.id), notice=came.said)
        except Exception as error:  # events of a damaged file may lead to anything
            here.searches.remove(came.id)
            raise ValueError(f"this session cannot go on here: {error}") from error

    return await run_in_threadpool(keep)


@router.post("/searches/{id}/finish")
def finish(search: Found, here: Here, _: models.Nothing) -> models.Finished:
    """Replay the session, and write the run that it is: tables, figures, W&B if asked for."""
    leave_run = here.library.parts.leave_run
    if leave_run is None:
        raise ValueError("this server leaves no runs")
    title = here.searches.listed(search.id).title
    with search.changing() as session:
        session.advance()  # answers that wait belong to it, too
        return leave_run(session, search.id, title, search.indexed.collection)
