"""Instance search: which images show this very object, and where on them, by the nearest of each image's regions."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.protocols import Descriptors
from seekloop.representations.local import WHOLE

__all__ = ["WHOLE", "Found", "QueryVectors", "best_of_each", "boxes_of_known", "search"]

BLOCK_ROWS = 2**16  # descriptors read at a time


@dataclass(frozen=True)
class QueryVectors:
    """What is searched for: one unit vector per query box; a query of several objects has several.

    Attributes:
        vectors: one after the other.
        query: which query each belongs to; every query has one at least.
    """

    vectors: Float[Tensor, "v d"]
    query: Int[Tensor, " v"]

    @property
    def queries(self) -> int:
        """How many there are."""
        return int(self.query.max()) + 1


@dataclass(frozen=True)
class Found:
    """What a search gives.

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
        """Where the object is taken to be on some images of each query; NaN where an image is -1."""
        region = self.region.gather(1, images.clamp(min=0))
        offsets, boxes = descriptors.regions.offsets, descriptors.regions.boxes
        first = torch.zeros_like(images) if offsets is None else offsets[images.clamp(min=0)]
        found = boxes[(first + region.clamp(min=0)).clamp(max=max(len(boxes) - 1, 0))]
        found = torch.where((region == WHOLE)[..., None], torch.tensor(WHOLE_IMAGE), found)
        return found.masked_fill((images < 0)[..., None], torch.nan)


def search(descriptors: Descriptors, asked: QueryVectors, by_region: bool) -> Found:
    r"""Compare every query with every image of a collection.

    .. math:: s_{q,i} = \frac{1}{|V_q|} \sum_{v \in V_q} \max_m \langle v, l_i^m \rangle

    All vectors have unit length, so the products are cosines. A query of several objects wants all of them: its score
    is the mean over them, and its region that of the object found best. The mean is our reading; the paper does not
    say how queries of INSTRE-M are put together.

    Args:
        descriptors: the collection.
        asked: what is searched for.
        by_region: compare with the regions of each image; else with its global descriptor.

    Reference:
        Sun et al., class agnostic instance-level descriptor (image score by the maximum over its regions).
    """
    images = descriptors.images
    scores = torch.full((asked.queries, images), -torch.inf)
    region = torch.full((asked.queries, images), WHOLE, dtype=torch.int32)
    per_image = max(1, len(descriptors.regions.boxes) // (images if descriptors.regions.offsets is not None else 1))
    step = max(1, BLOCK_ROWS // per_image)
    for start in range(0, images, step):
        block = torch.arange(start, min(start + step, images))
        values, best = _block(descriptors, block, asked.vectors, by_region)
        scores[:, block], region[:, block] = _of_queries(values.T, best.T.int(), asked)
    return Found(scores.masked_fill(~descriptors.readable, -torch.inf), region)


def _block(
    descriptors: Descriptors, images: Int[Tensor, " b"], vectors: Float[Tensor, "v d"], by_region: bool
) -> tuple[Float[Tensor, "b v"], Int[Tensor, "b v"]]:
    block = descriptors.read(images, local=by_region)
    if block.offsets is None:
        whole = block.whole_products(vectors)
        return whole, torch.full(whole.shape, WHOLE)
    return best_of_each(block.local_products(vectors), block.offsets)


def best_of_each(
    products: Float[Tensor, "r v"], offsets: Int[Tensor, " ends"]
) -> tuple[Float[Tensor, "b v"], Int[Tensor, "b v"]]:
    """The highest value among each image's rows and the first row that has it; -inf and `WHOLE` without any row.

    Example:
        >>> best_of_each(torch.tensor([[1.0], [3.0], [3.0], [2.0]]), torch.tensor([0, 3, 3, 4]))
        (tensor([[3.],
                [-inf],
                [2.]]), tensor([[ 1],
                [-1],
                [ 0]]))
    """
    images, counts = len(offsets) - 1, offsets.diff()
    owner = torch.repeat_interleave(torch.arange(images), counts)[:, None].expand(products.shape)
    best = products.new_full((images, products.shape[1]), -torch.inf).scatter_reduce(0, owner, products, "amax")
    within = torch.arange(len(products)) - torch.repeat_interleave(offsets[:-1], counts)
    last = len(products)
    place = torch.where(products == best.gather(0, owner), within[:, None], last)
    first = torch.full(best.shape, last).scatter_reduce(0, owner, place, "amin")
    return best, torch.where(first == last, WHOLE, first)


def _of_queries(
    values: Float[Tensor, "v b"], best: Int[Tensor, "v b"], asked: QueryVectors
) -> tuple[Float[Tensor, "q b"], Int[Tensor, "q b"]]:
    """Means over the vectors of each query; the region of its best vector, the first of equals."""
    if asked.query.equal(torch.arange(asked.queries)):
        return values, best
    owner = asked.query[:, None].expand(values.shape)
    mean = values.new_zeros(asked.queries, values.shape[1]).scatter_reduce(0, owner, values, "mean", include_self=False)
    top = values.new_full(mean.shape, -torch.inf).scatter_reduce(0, owner, values, "amax")
    place = torch.where(values == top.gather(0, owner), torch.arange(len(values))[:, None], len(values))
    first = torch.full(mean.shape, len(values)).scatter_reduce(0, owner, place, "amin")
    return mean, best.gather(0, first.clamp(max=len(values) - 1))


def boxes_of_known(
    found: Found, descriptors: Descriptors, truth: tuple[Mapping[int, Float[Tensor, "_ 4"]], ...]
) -> tuple[Int[Tensor, "q k"], Float[Tensor, "q k 4"]]:
    """The images on which the object's place is known, of each query, and where it is taken to be there."""
    most = max([1, *(len(one) for one in truth)])
    images = torch.full((len(truth), most), -1, dtype=torch.long)
    for query, one in enumerate(truth):
        images[query, : len(one)] = torch.tensor(sorted(one), dtype=torch.long)
    return images, found.boxes(descriptors, images)
