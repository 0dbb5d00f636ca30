"""Training vectors of all searches in one table: what several of them have labelled is read and kept once."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.protocols import Descriptors
from seekloop.representations.local import PROTOTYPE
from seekloop.representations.representation import Representation

READ_AT_ONCE = 256  # images


class RowTable:
    """Vectors of (image, region) pairs, read when they are first asked for.

    Args:
        descriptors: where vectors are read.
        representation: makes them.
        limit: vectors to keep; what goes beyond makes it forget, and read again what is asked for. Only what is asked
            for at once may take more.
    """

    def __init__(self, descriptors: Descriptors, representation: Representation, limit: int) -> None:
        self._descriptors = descriptors
        self._representation = representation
        self._limit = limit
        offsets = descriptors.regions.offsets
        most = len(descriptors.regions.boxes) if offsets is None else int(offsets.diff().max())
        self._stride = most - PROTOTYPE
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._vectors = torch.empty(0)
        self._used = 0
        self._keys = torch.empty(0, dtype=torch.long)  # sorted
        self._slot = torch.empty(0, dtype=torch.long)

    @property
    def vectors(self) -> Float[Tensor, "t e"]:
        """The table."""
        return self._vectors[: self._used]

    def index(self, image: Int[Tensor, " k"], region: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
        """Where the vectors of these pairs are in `vectors`; those that are missing are read."""
        keys = image * self._stride + (region - PROTOTYPE)
        missing = torch.unique(keys[~self._known(keys)])
        if self._used and self._used + len(missing) > self._limit:
            self.clear()
            missing = torch.unique(keys)
        if len(missing):
            self._add(missing)
        return self._slot[torch.searchsorted(self._keys, keys)]

    def _known(self, keys: Int[Tensor, " k"]) -> Bool[Tensor, " k"]:
        if not len(self._keys):
            return torch.zeros(len(keys), dtype=torch.bool)
        at = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        return self._keys[at] == keys

    def _add(self, keys: Int[Tensor, " k"]) -> None:
        image, region = keys // self._stride, keys % self._stride + PROTOTYPE
        images, counts = torch.unique_consecutive(image, return_counts=True)
        ends = counts.cumsum(0).tolist()
        for first in range(0, len(images), READ_AT_ONCE):
            some = images[first : first + READ_AT_ONCE]
            rows = slice(ends[first - 1] if first else 0, ends[min(first + READ_AT_ONCE, len(images)) - 1])
            block = self._descriptors.read(some, self._representation.local.uses_regions)
            position = torch.searchsorted(some, image[rows])
            self._append(self._representation.vectors(block, position, region[rows]))
        slot = torch.arange(self._used - len(keys), self._used)
        merged, order = torch.cat([self._keys, keys]).sort()
        self._keys, self._slot = merged, torch.cat([self._slot, slot])[order]

    def _append(self, vectors: Float[Tensor, "k e"]) -> None:
        needed = self._used + len(vectors)
        if needed > len(self._vectors):
            size = max(needed, min(2 * len(self._vectors), self._limit))
            grown = vectors.new_empty(size, vectors.shape[1])
            if self._used:
                grown[: self._used] = self.vectors
            self._vectors = grown
        self._vectors[self._used : needed] = vectors
        self._used = needed


def chunks(sizes: Sequence[int], width: int, limit: int) -> list[list[int]]:
    """Searches whose padded rows take at most `limit` bytes together, in order; one at least in each chunk."""
    groups: list[list[int]] = [[]]
    longest = 0
    for position, size in enumerate(sizes):
        longest = max(longest, size)
        if groups[-1] and longest * (len(groups[-1]) + 1) * width > limit:
            groups.append([])
            longest = size
        groups[-1].append(position)
    return groups
