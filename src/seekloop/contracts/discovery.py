"""The regions of a whole collection as a graph: the record that object saliency reads."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class RegionGraph:
    """Regions of all images, each a vertex of a k-NN graph. Axes: v vertices, d dimensions, p dimensions whitened.

    Attributes:
        vectors: of the regions, whitened, of unit length.
        saliency: mean feature saliency of each region, f.
        centrality: of each vertex in the graph, u.
        image: position in the collection of each region's image.
        box: where the region is in it.
        mean: of the whitening, what is taken off a vector of unit length.
        axes: of the whitening, what the rest is multiplied by; None: vectors are only centred.
    """

    vectors: Float[Tensor, "v p"]
    saliency: Float[Tensor, " v"]
    centrality: Float[Tensor, " v"]
    image: Int[Tensor, " v"]
    box: Float[Tensor, "v 4"]
    mean: Float[Tensor, " d"]
    axes: Float[Tensor, "d p"] | None
