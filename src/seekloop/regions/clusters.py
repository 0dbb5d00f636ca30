"""Clusters of one image's tokens as regions, so that a few vectors stand for all of its dense embeddings."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, component
from seekloop.regions.segments import Segments


@component
class Clusters:
    r"""Group the tokens of an image by cosine; each cluster is a region, wherever its tokens lie.

    k-means is spherical: with tokens :math:`x_i` and centres :math:`c_k` of unit length, it alternates

    .. math:: a_i = \arg\max_k \langle x_i, c_k \rangle, \qquad
              c_k = \sum_{a_i = k} x_i \,\big/\, \big\lVert \sum_{a_i = k} x_i \big\rVert

    from a start by k-means++. A cluster that loses all its tokens takes the one that is least like its own centre.
    Agglomerative clustering joins the two clusters of highest mean cosine until there are K. Equal tokens are clustered
    once, counted as often as they occur: there are never more clusters than distinct tokens, and with that many each
    distinct token is a cluster. Clusters are ordered by size, equals by their first token.

    Args:
        clusters: K, most clusters of an image.
        method: spherical k-means, or agglomerative.
        steps: most rounds of k-means.

    Raises:
        ConfigError: if a setting is out of its range.

    Reference:
        Levi et al., "Object-Centric Open-Vocabulary Image Retrieval with Aggregated Features", BMVC 2023. How they
        cluster, and K, is not in their abstract; this is our reading.
    """

    clusters: Count = 25
    method: Literal["kmeans", "agglomerative"] = "kmeans"
    steps: Count = 100

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """The clusters, the largest first; `score` is the share of tokens.

        Raises:
            ValueError: if a token is not finite.
        """
        h, w, d = tokens.shape
        if not bool(tokens.isfinite().all()):
            raise ValueError("a token is not finite")
        rows = F.normalize(tokens.reshape(-1, d).float(), dim=1)
        distinct, inverse, count = np.unique(rows.numpy(), axis=0, return_inverse=True, return_counts=True)
        units, weights = torch.from_numpy(distinct), torch.from_numpy(count)
        if self.clusters >= len(units):
            labels = torch.arange(len(units))
        elif self.method == "kmeans":
            labels = spherical_kmeans(units, weights, self.clusters, self.steps, rng)
        else:
            labels = agglomerative(units, self.clusters)
        owner = labels[torch.from_numpy(inverse).flatten()]
        masks = owner == torch.from_numpy(np.unique(owner.numpy()))[:, None]
        order = (-masks.sum(dim=1) * h * w + masks.int().argmax(dim=1)).argsort(stable=True)
        masks = masks[order]
        size = masks.sum(dim=1)
        return Segments(masks.reshape(-1, h, w), torch.zeros_like(size), size / (h * w), None)


def spherical_kmeans(
    units: Float[Tensor, "t d"], weights: Int[Tensor, " t"], clusters: int, steps: int, rng: Generator
) -> Int[Tensor, " t"]:
    """Cluster of each vector by spherical k-means from a k-means++ start; every cluster has a vector.

    Args:
        units: distinct vectors of unit length, more than `clusters`.
        weights: how often each occurs.
        clusters: K.
        steps: most rounds.
        rng: of the start.
    """
    centres = units[start(units, weights, clusters, rng)]
    labels = torch.full((len(units),), -1)
    for _ in range(steps):
        best, assigned = (units @ centres.T).max(dim=1)
        for empty in (torch.bincount(assigned, minlength=clusters) == 0).nonzero()[:, 0].tolist():
            alone = torch.bincount(assigned, minlength=clusters)[assigned] == 1  # its cluster would be empty instead
            taken = int(best.masked_fill(alone, torch.inf).argmin())
            assigned[taken], best[taken] = empty, 1.0
        if assigned.equal(labels):
            break
        labels = assigned
        sums = torch.zeros_like(centres).index_add_(0, labels, units * weights[:, None])
        centres = F.normalize(sums, dim=1)
    return labels


def start(units: Float[Tensor, "t d"], weights: Int[Tensor, " t"], clusters: int, rng: Generator) -> list[int]:
    """k-means++: each next centre is drawn with odds in proportion to its distance, 1 - cos, to the nearest."""
    chosen = [int(torch.multinomial(weights.double(), 1, generator=rng))]
    distance = (1 - units @ units[chosen[0]]).clamp(min=0)
    for _ in range(clusters - 1):
        odds = (distance * weights).double()
        odds[chosen] = 0
        if not bool(odds.any()):  # distinct vectors whose cosines are 1 up to rounding
            odds = torch.ones_like(odds).index_fill(0, torch.tensor(chosen), 0)
        chosen.append(int(torch.multinomial(odds, 1, generator=rng)))
        distance = distance.minimum((1 - units @ units[chosen[-1]]).clamp(min=0))
    return chosen


def agglomerative(units: Float[Tensor, "t d"], clusters: int) -> Int[Tensor, " t"]:
    """Cluster of each vector by joining the two clusters of the highest mean cosine, until there are so many."""
    from sklearn.cluster import AgglomerativeClustering

    distance = (1 - units.double() @ units.double().T).clamp(min=0).numpy()
    joined = AgglomerativeClustering(clusters, metric="precomputed", linkage="average")  # type: ignore[no-untyped-call]
    return torch.from_numpy(joined.fit(distance).labels_.astype(np.int64))
