"""The collection of a page: the images that can be searched now, and the parts of every search."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from seekloop.app.models import Finished
from seekloop.contracts.protocols import Backbone, Collection, Criterion, Descriptors
from seekloop.contracts.recipe import Json, settings
from seekloop.contracts.records import Text
from seekloop.loop.engine import Loop
from seekloop.loop.items import Images
from seekloop.loop.session import Session
from seekloop.store.joined import Joined


@dataclass(frozen=True)
class Indexed:
    """Images that are described already, and can be searched.

    Attributes:
        collection: these images.
        descriptors: of them.
        images: their names.
    """

    collection: Collection
    descriptors: Descriptors
    images: Images

    def followed_by(self, collection: Collection, descriptors: Descriptors, names: Sequence[str]) -> "Indexed":
        """These images and, behind them, some that are in no collection, such as uploads."""
        paths = [*self.collection.paths, *collection.paths]
        joined = Joined(self.descriptors, descriptors)
        known = self.images.names or [str(image) for image in range(self.images.count)]
        return Indexed(self.collection, joined, Images(joined.images, [*known, *names], paths))


@dataclass(frozen=True)
class Parts:
    """Parts of a page, handed in by whoever composes it.

    Attributes:
        loop: makes a loop over descriptors.
        criteria: that a search may change to, by name; its first is the loop's own.
        backbone: makes the network that described the images.
        describe: describes pictures as the collection is described.
        encode: gives words their vector; None where descriptors and words cannot be compared.
        negatives: how many random images each search presumes irrelevant.
        budget: images per question.
        about: what `seekloop replay` needs to make the same loop again; kept with every session.
        leave_run: replays a session, and writes the run that it is.
    """

    loop: Callable[[Descriptors], Loop]
    criteria: Mapping[str, Criterion]
    backbone: Callable[[], Backbone]
    describe: Callable[[Collection], Descriptors]
    encode: Callable[[str], Text] | None = None
    negatives: int = 0
    budget: int = 10
    about: Mapping[str, Json] = field(default_factory=dict)
    leave_run: "LeaveRun | None" = None


LeaveRun = Callable[[Session, str, str, Collection], Finished]
"""A session, its id, its title and its images to the run that it leaves."""


class NotReadyError(Exception):
    """Nothing of the collection can be searched yet."""


class Library:
    """The collection while it is being indexed: what of it can be searched grows.

    Args:
        parts: of every search.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._lock = threading.Lock()
        self._indexed: Indexed | None = None
        self._settings: Json = None
        self._backbone: Backbone | None = None

    @property
    def indexed(self) -> Indexed:
        """Images that can be searched now.

        Raises:
            NotReadyError: if none can.
        """
        if self._indexed is None:
            raise NotReadyError("the photographs are not ready yet: the first of them are being looked at")
        return self._indexed

    @property
    def ready(self) -> bool:
        """Whether anything can be searched."""
        return self._indexed is not None

    @property
    def loop_settings(self) -> Json:
        """Parts that every session of this page begins with."""
        return self._settings

    def grow(self, indexed: Indexed) -> None:
        """Let searches go on over these images; nothing changes where they are the same."""
        with self._lock:
            if self._indexed is None:
                self._settings = settings(self.parts.loop(indexed.descriptors))
            self._indexed = indexed

    def backbone(self) -> Backbone:
        """The network that described the images, loaded at the first call."""
        with self._lock:
            if self._backbone is None:
                self._backbone = self.parts.backbone()
            return self._backbone
