"""The ball graph of a collection: images joined to all others within a distance."""

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

Balls = sparse.csr_array
_PRODUCTS = 2**25  # compared at once: bounds memory, and changes no result


def balls(features: Float[Tensor, "n d"], radius: int | float, most: int) -> Balls:
    """Entry (i, j) is 1 where i and j are at most `radius` apart; an image is in its own ball.

    Args:
        features: unit length.
        radius: a Euclidean distance.
        most: entries that the result may have.

    Returns:
        (n, n).

    Raises:
        ValueError: if there are more pairs than `most`.
    """
    size, neighbours, count = len(features), [np.zeros(0, dtype=np.int32)], [np.zeros(1, dtype=np.int64)]
    first, pairs = 0, 0
    for block in torch.split(features, max(1, _PRODUCTS // max(size, 1))):
        inside = block @ features.T >= 1 - radius**2 / 2  # of unit vectors, |a - b|^2 = 2 - 2 a.b
        inside[torch.arange(len(block)), first + torch.arange(len(block))] = True
        first += len(block)
        count.append(inside.sum(dim=1).cpu().numpy())
        pairs += int(count[-1].sum())
        if pairs > most:
            raise ValueError(
                f"the first {first} of {size} balls of radius {radius} hold {pairs:,} images, over {most:,}"
            )
        neighbours.append(inside.nonzero()[:, 1].cpu().numpy().astype(np.int32))
    index, start = np.concatenate(neighbours), np.concatenate(count).cumsum()
    return sparse.csr_array((np.ones(len(index), dtype=np.float32), index, start), shape=(size, size))
