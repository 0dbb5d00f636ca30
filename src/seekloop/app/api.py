"""The page's HTTP API: what the page asks for, and what other programs may ask for just as well."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from seekloop.app.library import NotReadyError
from seekloop.app.routes import answers, collection, exports, searches
from seekloop.app.safety import Guard
from seekloop.app.searches import MissingError
from seekloop.app.served import Served
from seekloop.app.uploads import UploadError
from seekloop.artifacts.folder import BusyError
from seekloop.contracts.errors import ConfigError, StoreError, UnreadableImageError
from seekloop.loop.sessions import NoSessionError, OtherPartsError

PAGE = Path(__file__).parent / "page"
STATUSES: Mapping[type[Exception], int] = {
    MissingError: 404,
    NotReadyError: 409,
    ConfigError: 409,
    BusyError: 409,
    UploadError: 422,  # or its own
    UnreadableImageError: 422,
    NoSessionError: 404,
    OtherPartsError: 409,
    StoreError: 500,
    ValueError: 422,
    OSError: 500,
}
"""Errors whose message says it all, and the statuses of their replies."""
GRACE_SECONDS = 2  # that requests under way have to end
KEPT_SECONDS = 75  # that a connection stays open while a person looks at photographs


class Server(uvicorn.Server):
    """The server itself. At its end it lets go of the windows that listen for news, and then waits for all others.

    Args:
        served: what it serves.
        hosts: names that it goes by; empty: any.
        token: that every request needs; empty: none.
    """

    def __init__(self, served: Served, *, hosts: frozenset[str] = frozenset(), token: str = "") -> None:
        app = make_app(served, hosts=hosts, token=token)
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEPT_SECONDS,
        )
        super().__init__(config)
        self.served = served

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self.served.news.end()
        await super().shutdown(sockets)


def make_app(served: Served, *, hosts: frozenset[str] = frozenset(), token: str = "") -> Guard:
    """Make the server: API and page, behind a guard.

    Args:
        served: what it serves.
        hosts: names that it goes by; empty: any.
        token: that every request needs; empty: none.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        served.news.begin()
        yield

    app = FastAPI(title="seekloop", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.served = served
    for kind, status in STATUSES.items():
        app.add_exception_handler(kind, explained(status))
    app.add_exception_handler(RequestValidationError, misunderstood)
    for module in (collection, searches, answers, exports):
        app.include_router(module.router)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return Guard(app, hosts, token)


def misunderstood(_: Request, error: Exception) -> Response:
    """Reply to a request of another shape: where it differs, and how; what was sent is not sent back."""
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    parts = [f"{'.'.join(str(word) for word in one['loc'][1:])}: {one['msg']}" for one in found]
    return JSONResponse({"detail": "the request cannot be understood: " + "; ".join(parts[:3])}, 422)


def explained(status: int) -> Callable[[Request, Exception], Response]:
    """Reply to a request with an error's own words."""
    return lambda _, error: JSONResponse({"detail": str(error)}, getattr(error, "status", status))
