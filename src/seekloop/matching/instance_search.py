"""Instance search: rank images by their region nearest to a query, which is also where the object is taken to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.protocols import Descriptors
from seekloop.representations.local import WHOLE

__all__ = ["WHOLE", "Against", "Found", "QueryVectors", "boxes_of_known", "compare", "first_highest", "search"]

BLOCK_ROWS = 2**16  # descriptors read at a time


@dataclass(frozen=True)
class QueryVectors:
    """Vectors of the queries: one of unit length per query box; a query of several objects has several.

    Attributes:
        vectors: one after the other.
        query: which query each belongs to; every query has one at least.
    """

    vectors: Float[Tensor, "v d"]
    query: Int[Tensor, " v"]

    @property
    def queries(self) -> int:
        """Number of queries."""
        return int(self.query.max()) + 1


@dataclass(frozen=True)
class Found:
    """Scores of a search, and the regions that they are from.

    Attributes:
        scores: of every image for every query; -inf for an image that could not be read.
        region: of each image, the region that answers the query best; `WHOLE` where images are compared as a whole.
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
        chosen = torch.where((region == WHOLE)[..., None], torch.tensor(WHOLE_IMAGE), chosen)
        return chosen.masked_fill((images < 0)[..., None], torch.nan)


Against = Literal["regions", "whole", "both"]
"""Vectors of an image that a query is compared with: of its regions, its global descriptor, or of all."""


def compare(descriptors: Descriptors, asked: QueryVectors, against: Against) -> Found:
    """Compare every query with every image by these vectors; of both, the better one answers, the region if equal."""
    found = search(descriptors, asked, by_region=against != "whole")
    if against != "both":
        return found
    whole = search(descriptors, asked, by_region=False)
    better = whole.scores > found.scores
    return Found(torch.where(better, whole.scores, found.scores), found.region.masked_fill(better, WHOLE))


def search(descriptors: Descriptors, asked: QueryVectors, by_region: bool) -> Found:
    r"""Compare every query with every image of a collection.

    .. math:: s_{q,i} = \frac{1}{|V_q|} \sum_{v \in V_q} \max_m \langle v, l_i^m \rangle

    All vectors have unit length, so the products are cosines. A query of several objects wants all of them: its score
    is the mean over them, and its region that of the object found best. The mean is our reading; the paper does not
    say how queries of INSTRE-M are put together.

    Args:
        descriptors: the collection.
        asked: vectors of the queries.
        by_region: compare with the regions of each image; else with its global descriptor.

    Reference:
        Sun et al., class agnostic instance-level descriptor (image score by the maximum over its regions).
    """
    images, queries = descriptors.images, asked.queries
    scores = torch.full((queries, images), -torch.inf)
    region = torch.full((queries, images), WHOLE, dtype=torch.int32)
    per_image = max(1, len(descriptors.regions.boxes) // (images if descriptors.regions.offsets is not None else 1))
    step = max(1, BLOCK_ROWS // per_image)
    for start in range(0, images, step):
        some = torch.arange(start, min(start + step, images))
        block = descriptors.read(some, local=by_region)
        if block.offsets is None:
            values = block.whole_products(asked.vectors).T
            best = torch.full(values.shape, WHOLE)
        else:
            highest, row = first_highest(block.local_products(asked.vectors), block.owner, len(some))
            values, best = highest.T, torch.where(row < 0, WHOLE, row - block.offsets[:-1, None]).T
        if not asked.query.equal(torch.arange(queries)):  # of several vectors, the mean and the region of the best one
            owner = asked.query[:, None].expand(values.shape)
            best = best.gather(0, first_highest(values, asked.query, queries)[1].clamp(min=0))
            values = values.new_zeros(queries, len(some)).scatter_reduce(0, owner, values, "mean", include_self=False)
        scores[:, some], region[:, some] = values, best.int()
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
