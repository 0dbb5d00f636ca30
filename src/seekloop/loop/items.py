"""Names of a collection's images, and the images of a question as a person sees them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from seekloop.contracts.protocols import Collection, KnowsContents
from seekloop.loop.events import Box


@dataclass(frozen=True)
class Item:
    """An image of a question.

    Attributes:
        image: position in the collection.
        name: content hash, or the position where contents are not known.
        path: of its file; None where paths are not known.
        box: of the region that scores highest; None: the whole image.
        score: decision value; above 0 is likely relevant.
        box_wanted: whether a box of the object would tell more than True, should the image show it.
    """

    image: int
    name: str
    path: str | None
    box: Box | None
    score: float
    box_wanted: bool


@dataclass(frozen=True)
class Images:
    """Names of a collection's images.

    Args:
        count: how many there are.
        contents: content hash of each; None: they are known by position, and the collection may only grow at its end.
        paths: of their files; None where they are not known.
    """

    count: int
    contents: Sequence[str] | None = None
    paths: Sequence[str] | None = None

    @classmethod
    def of(cls, collection: Collection) -> "Images":
        """Names of a collection's images; hashes of collection and path where contents are not known."""
        contents: Sequence[str]
        if isinstance(collection, KnowsContents):
            contents = collection.contents()
        else:
            whole = collection.fingerprint()
            contents = [blake2b(f"{whole} {path}".encode(), digest_size=16).hexdigest() for path in collection.paths]
        return cls(len(collection.paths), contents, collection.paths)

    @cached_property
    def names(self) -> list[str] | None:
        """Names by content; the second of equal pictures ends on #2. None where contents are not known.

        Example:
            >>> Images(3, ["a", "b", "a"]).names
            ['a', 'b', 'a#2']
        """
        if self.contents is None:
            return None
        seen: Counter[str] = Counter()
        named = []
        for content in self.contents:
            seen[content] += 1
            named.append(content if seen[content] == 1 else f"{content}#{seen[content]}")
        return named

    def name(self, image: int) -> str:
        """Name of one image."""
        return str(image) if self.names is None else self.names[image]

    def position(self, name: str) -> int | None:
        """Position of the image of this name; None where there is none."""
        if self.names is None:
            return int(name) if name.isdecimal() and int(name) < self.count else None
        return self._positions.get(name)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names or ())}

    @cached_property
    def listing(self) -> str:
        """Hash of all names, whatever their order."""
        if self.names is None:
            return f"{self.count} images by position"
        return blake2b("\0".join(sorted(self.names)).encode(), digest_size=16).hexdigest()
