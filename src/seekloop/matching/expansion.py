"""Query expansion: a query becomes the mean of itself and of what it found, and searches again."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import component
from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.records import ArrayBlock, Block
from seekloop.graphs.neighbours import nearest
from seekloop.matching.instance_search import BLOCK_ROWS, search

_AUGMENTED = 4096  # images at once: bounds memory, and changes no result


@component
class Expansion:
    r"""Average and alpha query expansion over global descriptors.

    .. math:: q' = \frac{\bar q}{\lVert \bar q \rVert}, \qquad
              \bar q = \frac{1}{1 + k} \left( q + \sum_{i=1}^{k} [s_i]_+^\alpha\, d_i \right)

    Here :math:`d_i` are the images that the query found, and :math:`s_i` their similarities.

    Args:
        neighbours: k, images that are taken; 0 leaves a query as it is.
        alpha: :math:`\alpha`, how much similar images count more; 0 is average query expansion.

    Reference:
        Chum, Philbin, Sivic, Isard, Zisserman, "Total Recall", ICCV 2007: alpha=0, spatially verified images alone.
        Radenović, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018: alpha > 0.
    """

    neighbours: Annotated[int, Ge(0)] = 10
    alpha: Annotated[float, Interval(ge=0, lt=float("inf"))] = 3.0

    def __call__(
        self,
        queries: Float[Tensor, "q d"],
        descriptors: Descriptors,
        scores: Float[Tensor, "q n"],
        verified: Sequence[Sequence[int]] | None = None,
    ) -> Float[Tensor, "q n"]:
        """Scores of the expanded queries for all images.

        Args:
            queries: unit length.
            descriptors: the collection.
            scores: similarities of every query and every image; -inf for images that could not be read.
            verified: for each query the images to take, best first, of which the first k are taken (those that passed
                geometric verification, say); None: those of the highest scores.
        """
        return search(descriptors, self.expanded(queries, descriptors, scores, verified), by_region=False).scores

    def expanded(
        self,
        queries: Float[Tensor, "q d"],
        descriptors: Descriptors,
        scores: Float[Tensor, "q n"],
        verified: Sequence[Sequence[int]] | None = None,
    ) -> Float[Tensor, "q d"]:
        """The expanded queries; arguments as those of a call."""
        if not self.neighbours:
            return queries
        images, taken = self._taken(scores, verified)
        similarity = scores.gather(1, images)
        taken &= similarity.isfinite()
        unique, row = torch.unique(images, return_inverse=True)
        found = descriptors.read(unique, local=False).global_[row]
        return mean_of(queries, found, torch.where(taken, similarity, 0.0), taken, self.alpha)

    def _taken(
        self, scores: Float[Tensor, "q n"], verified: Sequence[Sequence[int]] | None
    ) -> tuple[Int[Tensor, "q k"], Bool[Tensor, "q k"]]:
        """The images that each query takes, and which of them are real."""
        if verified is None:
            order = scores.argsort(dim=1, descending=True, stable=True)[:, : self.neighbours]
            return order, torch.ones_like(order, dtype=torch.bool)
        images = torch.full((len(scores), self.neighbours), -1, dtype=torch.long)
        for query, one in enumerate(verified):
            first = torch.as_tensor(list(one)[: self.neighbours], dtype=torch.long)
            images[query, : len(first)] = first
        return images.clamp(min=0), images >= 0


def mean_of(
    vectors: Float[Tensor, "q d"],
    found: Float[Tensor, "q k d"],
    similarity: Float[Tensor, "q k"],
    taken: Bool[Tensor, "q k"],
    alpha: float,
) -> Float[Tensor, "q d"]:
    """Means of each vector and of what it found, weighted by powers of the similarities; unit length.

    Args:
        vectors: with a weight of 1.
        found: vectors that each of them found.
        similarity: of those; negative ones count as 0.
        taken: which of them are real.
        alpha: the power; 0: all real ones have a weight of 1.
    """
    weight = similarity.clamp(min=0.0) ** alpha * taken
    return F.normalize(vectors + (weight[..., None] * found).sum(dim=1), dim=1)


class Augmented:
    """A collection whose global descriptors are expanded by those of their neighbours. Implements `Descriptors`.

    Database-side augmentation: what `Expansion` does to a query is done to every image, once. Local descriptors stay
    as they are. All global descriptors are held in memory.

    Args:
        descriptors: the collection.
        expansion: neighbours of each image, and alpha.
        itself: whether an image counts among its own k neighbours, too, so that it weighs 2. In the released code of
            Gordo et al. its similarity to itself is set to 0 instead, which is the default.

    Reference:
        Arandjelović, Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012;
        Gordo, Almazán, Revaud, Larlus, "End-to-end Learning of Deep Visual Representations", IJCV 2017.
    """

    def __init__(self, descriptors: Descriptors, expansion: Expansion, itself: bool = False) -> None:
        self.descriptors = descriptors
        self.images, self.dim, self.regions = descriptors.images, descriptors.dim, descriptors.regions
        self.readable = descriptors.readable
        everything = torch.split(torch.arange(self.images), BLOCK_ROWS)
        read = [descriptors.read(some, local=False).global_ for some in everything]
        unit = torch.cat([torch.zeros(0, self.dim), *read])
        others = expansion.neighbours - itself
        self.global_ = unit + (unit if itself and expansion.neighbours else 0)
        if others > 0 and self.images > 1:
            similarity, position = nearest(unit, others)
            real = descriptors.readable[position]
            rows = zip(
                *(torch.split(part, _AUGMENTED) for part in (self.global_, similarity, position, real)), strict=True
            )
            self.global_ = torch.cat([mean_of(own, unit[p], s, r, expansion.alpha) for own, s, p, r in rows])
        self.global_ = F.normalize(self.global_, dim=1) * self.readable[:, None]

    def read(self, images: Int[Tensor, " b"], local: bool) -> Block:
        """As `Descriptors.read`."""
        block = self.descriptors.read(images, local)
        return ArrayBlock(block.image, self.global_[images], block.local, block.offsets)
