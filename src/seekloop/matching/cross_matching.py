"""Regional cross-matching: every region of a query looks for its best counterpart in an image."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.protocols import Descriptors
from seekloop.matching.instance_search import BLOCK_ROWS, first_highest


def cross_match(
    descriptors: Descriptors, regions: Float[Tensor, "r d"], query: Int[Tensor, " r"], queries: int
) -> Float[Tensor, "q n"]:
    r"""Compare all regions of each query with all regions of each image (R-Match).

    .. math:: s_{q,i} = \sum_{r \in q} \max_m \langle v_r, l_i^m \rangle

    Time grows with the product of the numbers of regions.

    Args:
        descriptors: the collection.
        regions: vectors of the regions of all queries, unit length.
        query: to which query each of them belongs.
        queries: how many there are; one without regions scores 0 everywhere.

    Returns:
        Scores; -inf for images that could not be read, or have no regions.

    Reference:
        Razavian, Sullivan, Carlsson, Maki, "Visual Instance Retrieval with Deep Convolutional Networks", 2014; the
        baseline of Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020,
        fig. 5.10.
    """
    images = descriptors.images
    scores = torch.zeros(images, queries)
    per_image = max(
        1, len(descriptors.regions.boxes) // (max(images, 1) if descriptors.regions.offsets is not None else 1)
    )
    step = max(1, BLOCK_ROWS // per_image)
    for some in torch.split(torch.arange(images), step):
        block = descriptors.read(some, local=True)
        highest, _ = first_highest(block.local_products(regions), block.owner, len(some))
        scores[some] = scores[some].index_add(1, query, highest)
        if block.offsets is not None:
            scores[some[block.offsets.diff() == 0]] = -torch.inf
    return scores.masked_fill(~descriptors.readable[:, None], -torch.inf).T.contiguous()
