"""Descriptors of a collection, followed by those of a few further images: examples from outside."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.records import ArrayBlock, Block, Regions


class Joined:
    """Two collections' descriptors as one, made in the same way. Implements `Descriptors`.

    What lies in the first alone is read as if the second were not there.

    Args:
        first: of the collection.
        second: of the images behind it, which keep their order.

    Raises:
        ValueError: if dimensions or fixed regions differ, or only one has regions of each image's own.
    """

    def __init__(self, first: Descriptors, second: Descriptors) -> None:
        if first.dim != second.dim:
            raise ValueError(f"descriptors of {first.dim} and of {second.dim} dimensions cannot be joined")
        self.first, self.second = first, second
        self.images, self.dim = first.images + second.images, first.dim
        self.regions = _joined(first.regions, second.regions)
        self.readable: Bool[Tensor, " n"] = torch.cat([first.readable, second.readable])

    def read(self, images: Int[Tensor, " b"], local: bool) -> Block:
        """The descriptors of these images, unit length, in this order; local ones only if asked for."""
        behind = images >= self.first.images
        if not behind.any():
            return self.first.read(images, local)
        parts = self.first.read(images[~behind], local), self.second.read(images[behind] - self.first.images, local)
        order = torch.cat([(~behind).nonzero()[:, 0], behind.nonzero()[:, 0]]).argsort()
        global_ = torch.cat([part.global_ for part in parts])[order]
        if not local:
            return ArrayBlock(images, global_, None, None)
        cells, offsets = _in_order(parts, order)
        return ArrayBlock(images, global_, cells, offsets)


def _joined(first: Regions, second: Regions) -> Regions:
    """Regions of both; depth and origin where both know them."""
    if first.offsets is None and second.offsets is None:
        if not torch.equal(first.boxes, second.boxes):
            raise ValueError("descriptors with other fixed regions cannot be joined")
        return first
    if first.offsets is None or second.offsets is None:
        raise ValueError("fixed regions and regions of each image's own cannot be joined")
    return Regions(
        torch.cat([first.boxes, second.boxes]),
        torch.cat([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        None if first.level is None or second.level is None else torch.cat([first.level, second.level]),
        None if first.kind is None or second.kind is None else torch.cat([first.kind, second.kind]),
    )


def _in_order(
    parts: tuple[Block, Block], order: Int[Tensor, " b"]
) -> tuple[Float[Tensor, "r d"], Int[Tensor, " ends"]]:
    """Local descriptors of two blocks, their images brought into an order, and where each image's begin."""
    known = [(part.local, part.offsets.diff()) for part in parts if part.local is not None and part.offsets is not None]
    rows, counts = torch.cat([cells for cells, _ in known]), torch.cat([several for _, several in known])
    starts, counts = (counts.cumsum(0) - counts)[order], counts[order]
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return rows[torch.arange(len(rows)) + torch.repeat_interleave(starts - offsets[:-1], counts)], offsets
