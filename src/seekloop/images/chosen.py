"""Some images of another collection, as a collection: queries are chosen so, an image as often as it serves one."""

import hashlib
import json
from collections.abc import Sequence

from PIL import Image

from seekloop.contracts.problems import Problem
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import Annotations


class Chosen:
    """Images of a collection by position, in any order, also several times, with annotations of their own.

    Args:
        name: for people.
        source: the collection.
        positions: of its images.
        annotations: of the chosen ones: `image` counts `positions`.
        problems: what was left out when choosing.
    """

    def __init__(
        self,
        name: str,
        source: Collection,
        positions: Sequence[int],
        annotations: Annotations,
        problems: Sequence[Problem],
    ) -> None:
        self.name, self.source, self.positions = name, source, tuple(positions)
        self.paths: Sequence[str] = tuple(source.paths[position] for position in positions)
        self.annotations = annotations
        self.problems: Sequence[Problem] = tuple(problems)

    def read(self, image: int) -> Image.Image:
        """Decode one image; see the source."""
        return self.source.read(self.positions[image])

    def fingerprint(self) -> str:
        """Hash of the source's fingerprint, and of which images are chosen."""
        chosen = json.dumps([self.source.fingerprint(), self.positions])
        return hashlib.blake2b(chosen.encode(), digest_size=16).hexdigest()
