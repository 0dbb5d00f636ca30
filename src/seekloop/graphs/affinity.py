"""The k-NN graph of a collection: images joined to their nearest neighbours, with normalised weights."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.cache import Cache
from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.graphs.neighbours import nearest

Affinity = sparse.csr_array
Kind = Literal["reciprocal", "sum"]


@component
class Graph:
    """Settings of a k-NN graph of images.

    Args:
        neighbours: of each image, the k most similar others.
        kind: reciprocal or sum, see `affinity`.
        power: of the similarity.
        clamp: whether negative similarities count as 0.

    Raises:
        ConfigError: if a setting cannot work.
    """

    neighbours: Count = 50
    kind: Kind = "reciprocal"
    power: Positive = 3
    clamp: bool = True

    def __post_init__(self) -> None:
        if not self.clamp and self.power != int(self.power):
            why = "a negative similarity has no power that is not whole"
            raise ConfigError("power", self.power, why, "Choose 3, or clamp=true.", self)

    def of(self, features: Float[Tensor, "n d"], cache: Cache | None = None) -> Affinity:
        """Normalised weights of the k-NN graph of these features; `cache`, which belongs to them, keeps it."""
        settings = (self.neighbours, self.kind, self.power, self.clamp)
        return (cache or Cache()).once(("affinity", *settings), lambda: affinity(features, *settings))


def affinity(features: Float[Tensor, "n d"], k: int, kind: Kind, power: int | float, clamp: bool) -> Affinity:
    r"""The normalised weights :math:`\mathcal{W} = D^{-1/2} W D^{-1/2}`, :math:`D_{ii} = \sum_j W_{ij}`.

    With :math:`A_{ij} = [x_i \cdot x_j]_+^\gamma` where j is among the k nearest neighbours of i, and 0 elsewhere:

    - reciprocal: :math:`W_{ij} = A_{ij}` where both are among the neighbours of the other;
    - sum: :math:`W = A + A^\top`, so that a one-sided neighbour counts half of a mutual one.

    An image without neighbours (an unreadable one, say) has a row of zeros.

    Args:
        features: one row per image, of any length; brought to unit length here.
        k: neighbours of each image.
        kind: reciprocal or sum.
        power: :math:`\gamma`.
        clamp: whether :math:`[\cdot]_+` is taken. Without it negative weights remain, and an image whose weights sum to
            nothing or less has a row of zeros too.

    Returns:
        Symmetric, (n, n), float64, zeros on the diagonal.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, eq. 2.1 to 2.3:
        reciprocal and clamped. Iscen, Tolias, Avrithis, Chum, "Label Propagation for Deep Semi-supervised Learning",
        CVPR 2019, eq. 8 to 10: sum and clamped; the released code of both: sum and not clamped.
    """
    similarity, position = nearest(F.normalize(features.detach().float(), dim=1), k)
    size, width = position.shape
    value = similarity.double().clamp(min=0.0) if clamp else similarity.double()
    entries = ((value**power).flatten().cpu().numpy(), position.flatten().cpu().numpy(), np.arange(size + 1) * width)
    directed = sparse.csr_array(entries, shape=(size, size))  # A
    if kind == "reciprocal":
        pattern = directed.copy()
        pattern.data = np.ones_like(pattern.data)
        both = ((directed + directed.T) / 2) * (pattern * pattern.T)  # the two directions may differ in their last bit
    else:
        both = directed + directed.T
    weights = sparse.csr_array(both)  # W
    weights.eliminate_zeros()
    weights.sort_indices()
    degree = np.asarray(weights.sum(axis=1), dtype=np.float64)
    root = np.zeros_like(degree)
    np.divide(1.0, np.sqrt(degree, where=degree > 0, out=np.ones_like(degree)), where=degree > 0, out=root)
    row = np.repeat(np.arange(size), np.diff(weights.indptr))
    data = weights.data * (root[row] * root[weights.indices])  # this product is the same in both directions
    scaled = sparse.csr_array((data, weights.indices, weights.indptr), shape=weights.shape)
    scaled.eliminate_zeros()
    return scaled
