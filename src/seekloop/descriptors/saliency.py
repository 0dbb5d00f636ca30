"""Saliency of the cells of a map: by the map alone, or by what recurs in the whole collection."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.discovery import RegionGraph
from seekloop.contracts.errors import ConfigError
from seekloop.descriptors.whitening import Whitening

Normalisation = Literal["crow", "area", "maximum", "none"]
_PRODUCTS = 2**24  # patches times vertices compared at once: bounds memory, and changes no result


def channel_weights(tokens: Float[Tensor, "h w d"], eps: float = 1e-6) -> Float[Tensor, " d"]:
    r"""Weigh channels by how rarely they are active.

    .. math:: b_j = \log \frac{\sum_l (a_l + \epsilon)}{a_j + \epsilon}

    where :math:`a_j` is the share of cells in which channel j is above 0. No weight is negative.

    Args:
        tokens: a map after a ReLU.
        eps: :math:`\epsilon`.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, eq. 5.1.

    Example:
        >>> tokens = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [3.0, 4.0], [5.0, 0.0]]])
        >>> channel_weights(tokens, 1e-9).exp()  # active in 4 and 1 of 4 cells: 1.25 / 1, 1.25 / 0.25
        tensor([1.2500, 5.0000], dtype=torch.float64)
    """
    active = (tokens > 0).double().mean(dim=(0, 1)) + eps
    return (active.sum() / active).log()


def feature_saliency(
    tokens: Float[Tensor, "h w d"], normalisation: Normalisation = "crow", eps: float = 1e-6
) -> Float[Tensor, "h w"]:
    r"""Sum up the channels of a map, the rarely active ones counting most.

    .. math:: F = \sum_j b_j A_{\cdot j}

    with the weights of `channel_weights`, then normalised. Values below 0 count as 0: the map should be one after a
    ReLU. A map without activation, or of one channel, gives zeros.

    Args:
        tokens: A.
        normalisation: see `normalised`.
        eps: of the weights.

    Reference:
        Siméoni, 2020, section 5.3.3, eq. 5.1 and 5.2. CroW (Kalantidis et al., 2016) sums channels without weights.
    """
    positive = tokens.clamp(min=0)
    return normalised((positive.double() @ channel_weights(positive, eps)).to(tokens.dtype), normalisation)


def normalised(saliency: Float[Tensor, "h w"], how: Normalisation) -> Float[Tensor, "h w"]:
    r"""Bring a saliency map to a scale of its own; a map of zeros stays so.

    - crow: :math:`\hat F = (F / \lVert F \rVert_2)^{1/2}`, as CroW does; about :math:`(hw)^{-1/4}`, so values depend
      on the size of the map;
    - area: :math:`\hat F (hw)^{1/4}`, which does not;
    - maximum: divided by its largest value, so that contrasts stay as they are;
    - none.

    Example:
        >>> normalised(torch.tensor([[9.0, 12.0]]), "crow") ** 2
        tensor([[0.6000, 0.8000]])
    """
    if how == "none" or not bool(saliency.any()):
        return saliency
    if how == "maximum":
        return saliency / saliency.max()
    rooted = (saliency / torch.linalg.vector_norm(saliency)).sqrt()
    return rooted if how == "crow" else rooted * saliency.numel() ** 0.25


def patches(
    tokens: Float[Tensor, "h w d"], side: int, pool: Literal["gem", "max"] = "gem", p: float = 3.0
) -> Float[Tensor, "t d"]:
    """Pool the square patch around every cell, cut at the map's edges, row by row.

    Args:
        tokens: a map after a ReLU; values below 0 count as 0.
        side: of the patches, in cells; odd.
        pool: the generalised mean, or the maximum.
        p: power of the mean.

    Example:
        >>> patches(torch.tensor([[[0.0], [0.0], [2.0]]]), 3, "gem", 1.0)[:, 0]
        tensor([0.0000, 0.6667, 1.0000])
    """
    channels = tokens.clamp(min=0).permute(2, 0, 1)[None]
    if pool == "max":
        return F.max_pool2d(channels, side, 1, side // 2)[0].flatten(1).T
    means = F.avg_pool2d(channels.pow(p), side, 1, side // 2, count_include_pad=False)
    return means[0].flatten(1).T.pow(1 / p)


def object_saliency(
    feature: Float[Tensor, " t"],
    similarity: Float[Tensor, "t k"],
    saliency: Float[Tensor, "t k"],
    centrality: Float[Tensor, "t k"],
    exponent: float,
) -> Float[Tensor, " t"]:
    r"""Saliency of cells by the regions of the collection that their patches are most like.

    .. math:: S_p = \hat F_p^\theta \sum_{i \in N_p} s(v_i, z_p)\, f_i^\theta u_i

    Args:
        feature: feature saliency of the cells, :math:`\hat F`.
        similarity: s of each cell's patch and its nearest regions.
        saliency: mean feature saliency of those regions, f.
        centrality: their centrality, u.
        exponent: :math:`\theta`.

    Reference:
        Siméoni, 2020, section 5.3.8, eq. 5.14.
    """
    return feature**exponent * (similarity * saliency**exponent * centrality).sum(dim=1)


@dataclass(frozen=True)
class Nearest:
    """The vertices nearest to every patch of a map, highest similarity first.

    Attributes:
        vertex: which vertices of the graph.
        similarity: s of each; 0 for vertices that do not count.
    """

    vertex: Int[Tensor, "t k"]
    similarity: Float[Tensor, "t k"]


@component
class ObjectSaliency:
    r"""Settings of object saliency: patches, their nearest regions, and how these count.

    Args:
        patch: side of the patch around a cell, in cells; odd.
        nearest: regions of the collection that a patch is compared with, the most similar ones.
        exponent: :math:`\theta` of the feature saliency, of the cell and of the regions.
        similarity: power, s is the cosine, cut at 0, to the power `power`, as in the graph; cosine, cut at 0 alone.
        power: of that.
        pool: pooling of patches: gem, as of regions, or max.
        p: power of gem, of patches and regions.
        own: whether regions of the image itself count among the nearest.
        normalisation: of the map, before regions are looked for in it: maximum, crow, area or none, see `normalised`.

    Raises:
        ConfigError: if `patch` is even.

    Reference:
        Siméoni, 2020, section 5.3.8. It leaves patch, nearest, s and the normalisation open.
    """

    patch: Count = 3
    nearest: Count = 10
    exponent: Annotated[float, Ge(0)] = 3.0
    similarity: Literal["power", "cosine"] = "power"
    power: Positive = 3.0
    pool: Literal["gem", "max"] = "gem"
    p: Positive = 3.0
    own: bool = True
    normalisation: Normalisation = "maximum"

    def __post_init__(self) -> None:
        if self.patch % 2 == 0:
            raise ConfigError("patch", self.patch, "no cell is in the middle of such a patch", "Use 1, 3, 5.", self)

    def __call__(
        self,
        tokens: Float[Tensor, "h w d"],
        feature: Float[Tensor, "h w"],
        graph: RegionGraph,
        image: int | None = None,
    ) -> Float[Tensor, "h w"]:
        """Object saliency of a map; zeros where the collection has no regions.

        Nothing but the graph is needed, so it may be that of an image which the collection lacks.

        Args:
            tokens: the map, after a ReLU.
            feature: its feature saliency.
            graph: of the collection.
            image: its position in the collection, where its own regions must not count; None: a new image.
        """
        near = self.nearest_to(tokens, feature, graph, image)
        at = near.vertex
        cells = object_saliency(
            feature.flatten(),
            near.similarity,
            graph.saliency.to(feature)[at],
            graph.centrality.to(feature)[at],
            self.exponent,
        )
        return normalised(cells.reshape(feature.shape), self.normalisation)

    def nearest_to(
        self,
        tokens: Float[Tensor, "h w d"],
        feature: Float[Tensor, "h w"],
        graph: RegionGraph,
        image: int | None = None,
    ) -> Nearest:
        """The regions nearest to every patch. Cells without feature saliency, which have no other, are not compared."""
        live = feature.flatten().nonzero()[:, 0]
        count = min(self.nearest, len(graph.vectors))
        vertex = torch.zeros(feature.numel(), count, dtype=torch.long)
        value = torch.zeros(feature.numel(), count)
        if count and len(live):
            vectors = self.vectors(patches(tokens, self.patch, self.pool, self.p)[live], graph)
            barred = None if self.own or image is None else graph.image == image
            parts = []
            for some in torch.split(vectors, max(1, _PRODUCTS // len(graph.vectors))):
                cosine = some @ graph.vectors.T
                parts.append((cosine if barred is None else cosine.masked_fill(barred, 0)).topk(count, dim=1))
            vertex[live] = torch.cat([part.indices for part in parts])
            value[live] = torch.cat([part.values for part in parts]).float()
        value = value.clamp(min=0)
        return Nearest(vertex, value if self.similarity == "cosine" else value**self.power)

    def vectors(self, pooled: Float[Tensor, "t d"], graph: RegionGraph) -> Float[Tensor, "t p"]:
        r"""Whitened vectors of unit length, :math:`w(z) = n(U^\top T (n(z) - m))`."""
        return Whitening(graph.mean, graph.axes).unit(F.normalize(pooled, dim=1))
