"""Contents of the collection, and its pictures."""

from typing import Annotated, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from seekloop.app import models
from seekloop.app.pictures import LARGE, SMALL
from seekloop.app.searches import MissingError
from seekloop.app.served import ERRORS, FOR_EVER, NOT_KEPT, After, Count, Here, Now
from seekloop.app.uploads import UploadError

FileName = Annotated[str, Header(max_length=1000)]
router = APIRouter(prefix="/api", responses=ERRORS)


@router.get("/status")
def status(here: Here) -> models.Status:
    """Collection, network, words, criteria; how far indexing is."""
    return here.status()


@router.get("/events", response_class=StreamingResponse)
def events(here: Here) -> StreamingResponse:
    """News for a window, as server-sent events."""
    return StreamingResponse(here.news.stream(), media_type="text/event-stream", headers=NOT_KEPT)


@router.get("/browse")
def browse(
    now: Now,
    folder: str = "",
    after: After = 0,
    count: Count = 60,
    by: Literal["name", "date"] = "name",
    month: str = "",
) -> models.Browsed:
    """Images by folder, or by date."""
    try:
        return models.Browsed.model_validate(now.browser.page(folder, after, count, by, month))
    except LookupError as error:
        raise MissingError(str(error)) from error


@router.get("/overview")
def overview(now: Now) -> models.Overview:
    """The collection in groups of images that look alike."""
    found = [(now.image(one.image), len(one.members)) for one in now.groups()]
    return models.Overview(
        groups=[models.Group(name=image.name, path=image.path, images=size) for image, size in found]
    )


@router.get("/overview/{name}")
def group(now: Now, name: str, after: After = 0, count: Count = 60) -> models.Images:
    """Images of one group, the most typical first."""
    position = now.position(name)
    found = next((one for one in now.groups() if one.image == position), None)
    if found is None:
        raise MissingError("this photograph stands for no group; load the overview again")
    some = found.members[after : after + count]
    return models.Images(images=[now.image(image) for image in some], total=len(found.members))


@router.get("/images/{name}/thumbnail", response_class=Response)
def thumbnail(now: Now, name: str) -> Response:
    """A small picture of an image, or of an upload."""
    return Response(now.picture(name, SMALL), media_type="image/jpeg", headers=FOR_EVER)


@router.get("/images/{name}/picture", response_class=Response)
def picture(now: Now, name: str) -> Response:
    """A picture of an image, as large as a screen, upright."""
    return Response(now.picture(name, LARGE), media_type="image/jpeg", headers=FOR_EVER)


@router.post("/uploads", status_code=201)
async def upload(
    here: Here, request: Request, x_filename: Annotated[str, Header(max_length=1000)] = "upload"
) -> models.Uploaded:
    """Take a picture from outside the collection, to begin a search with."""
    data = await limited(request, here.pictures.uploads.limit_bytes)
    return models.Uploaded.model_validate(await run_in_threadpool(here.pictures.uploads.add, data, unquote(x_filename)))


async def limited(request: Request, limit: int) -> bytes:
    """The body of a request, read no further than allowed; not at all where it says that it is larger."""
    error = UploadError(413, f"the file is larger than {limit / 1e6:,.0f} MB; make it smaller first")
    data, said = bytearray(), request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit:
        raise error
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise error
    return bytes(data)
