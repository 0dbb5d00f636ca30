"""The graph of a collection: images joined to their nearest neighbours, with normalised weights."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.graphs.memory import built_once
from seekloop.graphs.neighbours import nearest

Affinity = sparse.csr_array
KINDS = ("reciprocal", "sum")


@dataclass(frozen=True)
class Graph:
    """How images become a graph. Two graphs with equal settings over the same features are built once.

    Args:
        neighbours: of each image, the k most similar others.
        kind: reciprocal or sum, see `affinity`.
        power: of the similarity.
        clamp: whether negative similarities count as 0.
    """

    neighbours: int
    kind: str
    power: int | float
    clamp: bool

    def check(self, group: str) -> None:
        """Refuse settings that cannot work.

        Args:
            group: whose settings they are, such as "criterion": named in the error.

        Raises:
            ConfigError: naming the key.
        """
        if not isinstance(self.neighbours, int) or isinstance(self.neighbours, bool) or self.neighbours < 1:
            raise ConfigError(f"{group}.neighbours", self.neighbours, "it counts images", "Usual: 50.")
        if self.kind not in KINDS:
            raise ConfigError(f"{group}.kind", self.kind, "it is no kind of graph", f"Choose from {list(KINDS)}.")
        if not self.power > 0:
            raise ConfigError(f"{group}.power", self.power, "farther images would weigh more", "Usual: 3.")
        if not self.clamp and self.power != int(self.power):
            why = "a negative similarity has no power that is not whole"
            raise ConfigError(f"{group}.power", self.power, why, f"Choose 3, or {group}.clamp=true.")

    def of(self, features: Float[Tensor, "n d"]) -> Affinity:
        """The graph of these features; the one of the last time while the same tensor is alive and unchanged."""
        settings = (self.neighbours, self.kind, self.power, self.clamp)
        return built_once(features, ("affinity", settings), lambda: affinity(features, *settings))


def affinity(features: Float[Tensor, "n d"], k: int, kind: str, power: int | float, clamp: bool) -> Affinity:
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

    Source:
        Iscen, Tolias, Avrithis, Chum, "Label Propagation for Deep Semi-supervised Learning", CVPR 2019, eq. 8 to 10:
        reciprocal and clamped there, sum and not clamped in its code.
    """
    weights = _weights(features, k, power, clamp)
    if kind == "reciprocal":
        pattern = weights.copy()
        pattern.data = np.ones_like(pattern.data)
        both = ((weights + weights.T) / 2) * (pattern * pattern.T)  # the two directions may differ in their last bit
    else:
        both = weights + weights.T
    both = sparse.csr_array(both)
    both.eliminate_zeros()
    both.sort_indices()
    return _normalised(both)


def _weights(features: Float[Tensor, "n d"], k: int, power: int | float, clamp: bool) -> Affinity:
    """A: the powers of the similarities, one row of k per image."""
    similarity, position = nearest(F.normalize(features.detach().float(), dim=1), k)
    size, width = position.shape
    value = similarity.double().clamp(min=0.0) if clamp else similarity.double()
    start = np.arange(size + 1) * width
    parts = ((value**power).flatten().cpu().numpy(), position.flatten().cpu().numpy(), start)
    return sparse.csr_array(parts, shape=(size, size))


def _normalised(weights: Affinity) -> Affinity:
    degree = np.asarray(weights.sum(axis=1), dtype=np.float64)
    root = np.zeros_like(degree)
    np.divide(1.0, np.sqrt(degree, where=degree > 0, out=np.ones_like(degree)), where=degree > 0, out=root)
    row = np.repeat(np.arange(len(degree)), np.diff(weights.indptr))
    data = weights.data * (root[row] * root[weights.indices])  # this product is the same in both directions
    scaled = sparse.csr_array((data, weights.indices, weights.indptr), shape=weights.shape)
    scaled.eliminate_zeros()
    return scaled
