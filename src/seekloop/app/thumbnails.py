"""Small pictures of a collection's images, each made once and kept."""

import hashlib
import io
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

from PIL import Image

from seekloop.artifacts.files import make_folder, write_bytes
from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.protocols import Collection
from seekloop.images.decoding import upright
from seekloop.images.files import FileCollection
from seekloop.loop.items import Images

JPEG = ("JPEG", "MPO")  # formats that are decoded at a fraction of their size
QUALITY = 85
FINER = 2  # times the wanted size at which a JPEG is decoded, so that the rest of the reduction is smooth
GREY = (128, 128, 128)  # where an image cannot be read
THREADS = 2  # that make thumbnails ahead of their use
AHEAD = 600  # thumbnails that are waited for; older wishes are forgotten


class Thumbnails:
    """JPEGs of a collection's images, upright, by position. Any number of threads may ask.

    Thumbnails lie on disk by the images' contents, so that they stay when files are renamed or the collection grows;
    where contents are not known, by the collection's fingerprint and position.

    Args:
        collection: the images.
        names: of the same images.
        folder: where thumbnails are kept; one that cannot be written costs time, nothing else.
        side: pixels along the longer side, at most.
    """

    def __init__(self, collection: Collection, names: Images, folder: Path, side: int = 320) -> None:
        self.collection, self.names, self.side = collection, names, side
        apart = "" if names.contents is not None else collection.fingerprint()
        self.folder = folder / f"{side}{apart and '-'}{apart}"
        self._lock = Lock()
        self._making: dict[Path, Future[bytes]] = {}
        self._ahead: deque[int] = deque(maxlen=AHEAD)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="thumbnails")

    def get(self, image: int) -> bytes:
        """Thumbnail of one image, which is decoded once, however many ask for it; plain grey where it is unreadable."""
        path = self._path(image)
        with suppress(OSError):
            return path.read_bytes()
        with self._lock:
            waiting = self._making.get(path)
            mine = self._making.setdefault(path, Future())
        if waiting is not None:
            return waiting.result()
        try:
            mine.set_result(self._made(image, path))
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._making[path]
        return mine.result()

    def picture(self, image: int, side: int = 1600) -> bytes:
        """A large JPEG of one image, its longer side at most `side`; it is not kept."""
        try:
            return jpeg(self._read(image, side), side)
        except UnreadableImageError:
            return jpeg(Image.new("RGB", (self.side, self.side), GREY), self.side)

    def warm(self, images: Sequence[int]) -> None:
        """Make some in the background, in this order; those of a later call come first."""
        with self._lock:
            self._ahead.extend(reversed(images))
        for _ in images:
            self._threads.submit(self._next)

    def close(self) -> None:
        """Stop what runs in the background after the thumbnails that are being made."""
        with self._lock:
            self._ahead.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        with self._lock:
            image = self._ahead.pop() if self._ahead else None
        if image is not None and not self._path(image).exists():
            self.get(image)

    def _path(self, image: int) -> Path:
        contents = self.names.contents
        name = str(image) if contents is None else contents[image]
        key = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=16).hexdigest()
        return self.folder / key[:2] / f"{key[2:]}.jpg"

    def _made(self, image: int, path: Path) -> bytes:
        """The thumbnail, kept if it shows the image; whoever made it in the meantime has kept it, too."""
        with suppress(OSError):
            return path.read_bytes()
        try:
            content = jpeg(self._read(image, self.side), self.side)
        except UnreadableImageError:  # not kept: another decoder may read it
            return jpeg(Image.new("RGB", (self.side, self.side), GREY), self.side)
        with suppress(OSError):
            make_folder(path.parent, "store_dir")
            write_bytes(path, content, "store_dir", durable=False)
        return content

    def _read(self, image: int, side: int) -> Image.Image:
        """One image, upright; a JPEG at a fraction of its size that is still larger than `side`."""
        if isinstance(self.collection, FileCollection):
            with suppress(Exception), Image.open(self.collection.file(image), formats=JPEG) as picture:
                picture.draft(None, (FINER * side, FINER * side))
                return upright(picture)
        return self.collection.read(image)


def jpeg(picture: Image.Image, side: int) -> bytes:
    """An RGB picture as JPEG, its longer side at most `side`, without anything else that its file held."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info.clear()
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
