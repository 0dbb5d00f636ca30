"""The k-NN graph of a collection: images, or regions of images, joined to their nearest neighbours."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.cache import Cache
from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.graphs.neighbours import nearest

Affinity = sparse.csr_array
Kind = Literal["reciprocal", "sum", "max"]
_EDGES = 2**18  # whose vectors are subtracted at once: bounds memory, and changes no result


@component
class Graph:
    """Settings of a k-NN graph of images.

    Args:
        neighbours: of each image, the k most similar others.
        kind: reciprocal, sum or max, see `adjacency`.
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

    def weights(self, features: Float[Tensor, "n d"]) -> Affinity:
        """Weights of the k-NN graph of these features, as they are (`adjacency`)."""
        return adjacency(features, self.neighbours, self.kind, self.power, self.clamp)


def affinity(features: Float[Tensor, "n d"], k: int, kind: Kind, power: int | float, clamp: bool) -> Affinity:
    r"""The normalised weights :math:`\mathcal{W} = D^{-1/2} W D^{-1/2}` of the k-NN graph of these features.

    `adjacency`, then `normalised`, whose arguments and references are those of this.
    """
    return normalised(adjacency(features, k, kind, power, clamp))


def adjacency(features: Float[Tensor, "n d"], k: int, kind: Kind, power: int | float, clamp: bool) -> Affinity:
    r"""The weights W of the k-NN graph of these features, symmetric.

    With :math:`A_{ij} = [x_i \cdot x_j]_+^\gamma` where j is among the k nearest neighbours of i, and 0 elsewhere:

    - reciprocal: :math:`W_{ij} = \min(A_{ij}, A_{ji})`: an edge where both are among the neighbours of the other;
    - sum: :math:`W = A + A^\top`, so that a one-sided neighbour counts half of a mutual one;
    - max: :math:`W_{ij} = \max(A_{ij}, A_{ji})`, so that a one-sided neighbour counts as much as a mutual one.

    An image without neighbours (an unreadable one, say) has a row of zeros.

    Args:
        features: one row per image, or per region of any image, of any length; brought to unit length here.
        k: neighbours of each image.
        kind: reciprocal, sum or max.
        power: :math:`\gamma`.
        clamp: whether :math:`[\cdot]_+` is taken. Without it negative weights remain.

    Returns:
        Symmetric, (n, n), float64, zeros on the diagonal.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, eq. 2.1 and
        2.2: reciprocal and clamped; "any other symmetric operation" may replace the minimum. Iscen, Tolias, Avrithis,
        Chum, "Label Propagation for Deep Semi-supervised Learning", CVPR 2019, eq. 8 and 9: sum and clamped; the
        released code of both: sum and not clamped.
    """
    return joined(*nearest(F.normalize(features.detach().float(), dim=1), k), kind, power, clamp)


def joined(
    similarity: Float[Tensor, "n k"], position: Int[Tensor, "n k"], kind: Kind, power: int | float, clamp: bool
) -> Affinity:
    """The weights of `adjacency`, from lists of nearest neighbours.

    Args:
        similarity: of each row's neighbours.
        position: of each row's neighbours.
        kind: as in `adjacency`.
        power: as in `adjacency`.
        clamp: as in `adjacency`.
    """
    size, width = position.shape
    value = similarity.double().clamp(min=0.0) if clamp else similarity.double()
    entries = ((value**power).flatten().cpu().numpy(), position.flatten().cpu().numpy(), np.arange(size + 1) * width)
    directed = sparse.csr_array(entries, shape=(size, size))  # A
    if kind == "reciprocal":
        pattern = directed.copy()
        pattern.data = np.ones_like(pattern.data)
        both = ((directed + directed.T) / 2) * (pattern * pattern.T)  # the two directions may differ in their last bit
    else:
        both = directed + directed.T if kind == "sum" else directed.maximum(directed.T)
    weights = sparse.csr_array(both)  # W
    weights.eliminate_zeros()
    weights.sort_indices()
    return weights


def normalised(weights: Affinity) -> Affinity:
    r"""Divide weights by the degrees of both ends: :math:`\mathcal{W} = D^{-1/2} W D^{-1/2}`.

    :math:`D_{ii} = \sum_j W_{ij}`, and 0/0 = 0. An image whose weights sum to nothing, or to less, has a row of zeros.

    Args:
        weights: W of `adjacency`, or of a part of the graph.

    Returns:
        Symmetric, (n, n), float64.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, eq. 2.3.
    """
    size = weights.shape[0]
    degree = np.asarray(weights.sum(axis=1), dtype=np.float64)
    root = np.zeros_like(degree)
    np.divide(1.0, np.sqrt(degree, where=degree > 0, out=np.ones_like(degree)), where=degree > 0, out=root)
    row = np.repeat(np.arange(size), np.diff(weights.indptr))
    data = weights.data * (root[row] * root[weights.indices])  # this product is the same in both directions
    scaled = sparse.csr_array((data, weights.indices, weights.indptr), shape=weights.shape)
    scaled.eliminate_zeros()
    return scaled


def between_images(weights: Affinity, image: Int[Tensor, " n"]) -> Affinity:
    """Leave out edges between regions of one image, which would support each other.

    Args:
        weights: of a graph of regions, not normalised.
        image: that each region is from.
    """
    owner = image.cpu().numpy()
    row = np.repeat(owner, np.diff(weights.indptr))
    data = np.where(row == owner[weights.indices], 0.0, weights.data)
    kept = sparse.csr_array((data, weights.indices, weights.indptr), shape=weights.shape)
    kept.eliminate_zeros()
    return kept


def lengths(weights: Affinity, features: Float[Tensor, "n d"]) -> Affinity:
    """Euclidean distances along the edges of a graph: its entries (i, j) become the distance of i and j.

    Args:
        weights: of `adjacency`, or any graph of these features.
        features: brought to unit length here.

    Returns:
        Entries in the places of those of `weights`; those of equal vectors are 0 and still entries.
    """
    unit = F.normalize(features.detach().double().cpu(), dim=1)
    row = torch.from_numpy(np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr)))
    column = torch.from_numpy(weights.indices).long()
    pairs = zip(torch.split(row, _EDGES), torch.split(column, _EDGES), strict=True)
    found = torch.cat([torch.zeros(0).double(), *((unit[i] - unit[j]).norm(dim=1) for i, j in pairs)])
    return sparse.csr_array((found.numpy(), weights.indices, weights.indptr), shape=weights.shape)
