"""The boxes of a collection, cut out: a collection of their own."""

import hashlib
from collections.abc import Sequence

import torch
from PIL import Image

from seekloop.contracts.problems import Problem
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import Annotations


class Crops:
    """Each image of a collection reduced to its first box; an image without one stays as it is.

    Args:
        source: the images.
    """

    def __init__(self, source: Collection) -> None:
        self.source, self.name, self.paths = source, f"{source.name} crops", source.paths
        self.problems: Sequence[Problem] = source.problems
        known = source.annotations
        self.annotations: Annotations = known.keep(torch.zeros(len(known.image), dtype=torch.bool))
        rows = {int(image): row for row, image in reversed(list(enumerate(known.image.tolist())))}
        self._boxes = {image: known.box[row].tolist() for image, row in rows.items()}

    def read(self, image: int) -> Image.Image:
        """Decode and cut, edges rounded to pixels, at least one pixel wide and high."""
        picture = self.source.read(image)
        if image not in self._boxes:
            return picture
        width, height = picture.size
        x0, y0, x1, y1 = self._boxes[image]
        left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
        return picture.crop((left, top, max(round(x1 * width), left + 1), max(round(y1 * height), top + 1)))

    def fingerprint(self) -> str:
        """Hash of the source's fingerprint and of the boxes."""
        known = f"{self.source.fingerprint()} {sorted(self._boxes.items())}"
        return hashlib.blake2b(known.encode(), digest_size=16).hexdigest()
