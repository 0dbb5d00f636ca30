"""News for the windows of a page, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

from seekloop.contracts.recipe import Json

WAITING = 100  # pieces of news that a window may be behind; it reads everything anew if there are more
ALIVE_SECONDS = 15.0


class News:
    """Pieces of news from any thread to every window that listens."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._windows: set[asyncio.Queue[str | None]] = set()

    def begin(self) -> None:
        """Listen in the running event loop."""
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        """Let every window go, so that the server can end."""
        for window in self._windows:
            window.put_nowait(None)

    def tell(self, news: Mapping[str, Json]) -> None:
        """Tell every window."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, json.dumps(news))

    def _put(self, text: str) -> None:
        for window in self._windows:
            if window.qsize() < WAITING:
                window.put_nowait(text)

    async def stream(self) -> AsyncIterator[str]:
        """Stream the news to one window; a line now and then keeps the connection."""
        window: asyncio.Queue[str | None] = asyncio.Queue()
        self._windows.add(window)
        try:
            yield ": seekloop\n\n"
            while True:
                try:
                    text = await asyncio.wait_for(window.get(), ALIVE_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if text is None:
                    return
                yield f"data: {text}\n\n"
        finally:
            self._windows.discard(window)
