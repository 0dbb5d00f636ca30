"""Instance search: rank images by their region nearest to a query, which is also where the object is taken to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.protocols import Descriptors
from seekloop.representations.local import GLOBAL

__all__ = ["GLOBAL", "Against", "Found", "boxes_of_known", "compare", "first_highest", "search"]

BLOCK_ROWS = 2**16  # descriptors read at a time


@dataclass(frozen=True)
class Found:
    """Scores of a search, and the regions that they are from.

    Attributes:
        scores: of every image for every query; -inf for an image that could not be read.
        region: of each image, the region that answers the query best; `GLOBAL` where images are compared as a whole.
    """

    scores: Float[Tensor, "q n"]
    region: Int[Tensor, "q n"]

    def ranking(self, ignored: Bool[Tensor, "q n"], top: int) -> Int[Tensor, "q k"]:
        """The first images of each query, best first, equals by position; -1 where fewer are left."""
        scores = self.scores.masked_fill(ignored, -torch.inf)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :top]
        return order.masked_fill(scores.gather(1, order) == -torch.inf, -1)

    def boxes(self, descriptors: Descriptors, images: Int[Tensor, "q k"]) -> Float[Tensor, "q k 4"]:
        """Boxes found on the given images of each query; NaN where an image is -1."""
        region = self.region.gather(1, images.clamp(min=0))
        offsets, boxes = descriptors.regions.offsets, descriptors.regions.boxes
        first = torch.zeros_like(images) if offsets is None else offsets[images.clamp(min=0)]
        chosen = boxes[(first + region.clamp(min=0)).clamp(max=max(len(boxes) - 1, 0))]
        chosen = torch.where((region == GLOBAL)[..., None], torch.tensor(WHOLE_IMAGE), chosen)
        return chosen.masked_fill((images < 0)[..., None], torch.nan)


Against = Literal["regions", "whole", "both"]
"""Vectors of an image that a query is compared with: of its regions, its global descriptor, or of all."""


def compare(descriptors: Descriptors, queries: Float[Tensor, "q d"], against: Against) -> Found:
    """Compare every query with every image by these vectors; of both, the better one answers, the region if equal."""
    found = search(descriptors, queries, by_region=against != "whole")
    if against != "both":
        return found
    global_ = search(descriptors, queries, by_region=False)
    better = global_.scores > found.scores
    return Found(torch.where(better, global_.scores, found.scores), found.region.masked_fill(better, GLOBAL))


def search(descriptors: Descriptors, queries: Float[Tensor, "q d"], by_region: bool) -> Found:
    r"""Compare every query with every image of a collection.

    .. math:: s_{q,i} = \max_m \langle v_q, l_i^m \rangle

    All vectors have unit length, so the products are cosines.

    Args:
        descriptors: the collection.
        queries: one vector each.
        by_region: compare with the regions of each image; else with its global descriptor.

    Reference:
        Sun et al., class agnostic instance-level descriptor: one feature for a query; an image ranks where it first
        appears among the regions, that is by its best one.
    """
    images = descriptors.images
    scores = torch.full((len(queries), images), -torch.inf)
    region = torch.full((len(queries), images), GLOBAL, dtype=torch.int32)
    per_image = max(1, len(descriptors.regions.boxes) // (images if descriptors.regions.offsets is not None else 1))
    step = max(1, BLOCK_ROWS // per_image)
    for start in range(0, images, step):
        some = torch.arange(start, min(start + step, images))
        block = descriptors.read(some, local=by_region)
        if block.offsets is None:
            scores[:, some] = block.global_products(queries).T
        else:
            highest, row = first_highest(block.local_products(queries), block.owner, len(some))
            scores[:, some] = highest.T
            region[:, some] = torch.where(row < 0, GLOBAL, row - block.offsets[:-1, None]).T.int()
    return Found(scores.masked_fill(~descriptors.readable, -torch.inf), region)


def first_highest(
    values: Float[Tensor, "r v"], owner: Int[Tensor, " r"], groups: int
) -> tuple[Float[Tensor, "g v"], Int[Tensor, "g v"]]:
    """Highest value of each group of rows, and the first row that has it; -inf and -1 for a group without rows.

    Args:
        values: in columns that have nothing to do with each other.
        owner: group of each row.
        groups: how many there are.

    Example:
        >>> first_highest(torch.tensor([[1.0], [3.0], [3.0], [2.0]]), torch.tensor([0, 0, 0, 2]), 3)
        (tensor([[3.],
                [-inf],
                [2.]]), tensor([[ 1],
                [-1],
                [ 3]]))
    """
    owner = owner[:, None].expand(values.shape)
    highest = values.new_full((groups, values.shape[1]), -torch.inf).scatter_reduce(0, owner, values, "amax")
    last = len(values)
    row = torch.where(values == highest.gather(0, owner), torch.arange(last)[:, None], last)
    first = torch.full(highest.shape, last).scatter_reduce(0, owner, row, "amin")
    return highest, torch.where(first == last, -1, first)


def boxes_of_known(
    found: Found, descriptors: Descriptors, truth: tuple[Mapping[int, Float[Tensor, "_ 4"]], ...]
) -> tuple[Int[Tensor, "q k"], Float[Tensor, "q k 4"]]:
    """Images of each query on which the object's box is known, and the boxes found there."""
    most = max([1, *(len(one) for one in truth)])
    images = torch.full((len(truth), most), -1, dtype=torch.long)
    for query, one in enumerate(truth):
        images[query, : len(one)] = torch.tensor(sorted(one), dtype=torch.long)
    return images, found.boxes(descriptors, images)
