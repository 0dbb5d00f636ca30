"""Fine-tuning for retrieval: losses of pairs and triples of descriptors, and the pairs of an epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.metrics.average_precision import average_precision

EPS = 1e-6  # added to each difference, so that the gradient of a distance of 0 is finite; least value of GeM
Tuple = tuple[int, int, list[int]]
"""Positions of a query, of an image that matches it, and of some that do not."""


@component
class Contrastive:
    """Settings of a fine-tuning on pairs of images, with hard negatives found anew every epoch.

    Args:
        pooling: of the map: gem, whose exponent is learnt, or max.
        p: exponent that gem begins with.
        loss: contrastive (of pairs) or triplet.
        margin: distance beyond which images that do not match count as apart; for triplet, of squared distances, by
            which they should be farther than those that match. Published: 0.7 (VGG) and 0.85 (ResNet) contrastive, 0.1
            triplet.
        matched: whether the images of each pair are pooled over what spatial matching finds they have in common.
        epochs: how many.
        queries: drawn in each epoch, among the images that match another.
        pool: images drawn in each epoch, among which hard negatives are looked for; None: all.
        negatives: of each query, of different classes.
        batch: queries of a step, each with its images.
        lr: learning rate of Adam.
        decay: by which it falls: exp(-decay * epoch).
        weight_decay: of Adam, not for the exponent.
        exponent_lr: factor on the learning rate for the exponent.
        accelerator: auto, cpu or gpu.

    Reference:
        Radenovic, Tolias & Chum, Fine-tuning CNN image retrieval with no human annotation, TPAMI 2019; Siméoni's
        thesis, section 4.5 (`matched`).
    """

    pooling: Literal["gem", "max"] = "gem"
    p: Positive = 3.0
    loss: Literal["contrastive", "triplet"] = "contrastive"
    margin: Positive = 0.7
    matched: bool = False
    epochs: Count = 30
    queries: Count = 2000
    pool: Count | None = 20000
    negatives: Count = 5
    batch: Count = 5
    lr: Positive = 1e-6
    decay: Annotated[float, Ge(0)] = 0.01
    weight_decay: Annotated[float, Ge(0)] = 1e-6
    exponent_lr: Positive = 10.0
    accelerator: str = field(default="auto", metadata=NOT_IN_RECIPE)


def contrastive(
    first: Float[Tensor, "k d"], second: Float[Tensor, "k d"], matching: Bool[Tensor, " k"], margin: float
) -> Float[Tensor, " k"]:
    r"""Contrastive loss of pairs of unit vectors.

    .. math:: \tfrac12\, y\, d^2 + \tfrac12\, (1 - y) \max(m - d, 0)^2, \qquad d = \lVert z_1 - z_2 \rVert

    Args:
        first: one vector of each pair.
        second: the other one.
        matching: y, whether they match.
        margin: m.

    Reference:
        Chopra, Hadsell & LeCun, Learning a similarity metric discriminatively, CVPR 2005; with the epsilon of
        Radenovic's code.

    Example:
        >>> east, north = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> contrastive(east, north, torch.tensor([True]), 0.7)  # distance sqrt 2
        tensor([1.0000])
    """
    distance = (first - second + EPS).norm(dim=1)
    apart = (margin - distance).clamp(min=0)
    return torch.where(matching, distance**2, apart**2) / 2


def triplet(
    anchor: Float[Tensor, "k d"], positive: Float[Tensor, "k d"], negative: Float[Tensor, "k d"], margin: float
) -> Float[Tensor, " k"]:
    r"""Triplet loss of squared distances: :math:`\max(0, \lVert a - p \rVert^2 - \lVert a - n \rVert^2 + m)`.

    Reference:
        Gordo et al., End-to-end learning of deep visual representations for image retrieval, IJCV 2017.
    """
    near, far = ((anchor - other).square().sum(dim=1) for other in (positive, negative))
    return (near - far + margin).clamp(min=0)


def pooled(
    patches: Float[Tensor, "k h w d"],
    masks: Bool[Tensor, "k h w d"] | None,
    pooling: Literal["gem", "max"],
    p: Float[Tensor, ""],
) -> Float[Tensor, "k d"]:
    r"""Pool each channel over its own mask, to unit length: :math:`A_{i|j} = \phi(A_i, Q_{i|j})`.

    Args:
        patches: maps A.
        masks: positions that count, of each channel at least one; None: all of them.
        pooling: gem or max.
        p: exponent of gem, a parameter that is learnt.

    Reference:
        Siméoni's thesis, section 4.5.1 (masking the map, then pooling).
    """
    masks = torch.ones_like(patches, dtype=torch.bool) if masks is None else masks
    if pooling == "max":
        vectors = patches.masked_fill(~masks, -torch.inf).amax(dim=(1, 2))
    else:
        powers = patches.clamp(min=EPS).pow(p) * masks
        vectors = (powers.sum(dim=(1, 2)) / masks.sum(dim=(1, 2))).pow(1 / p)
    return F.normalize(vectors, dim=1)


@dataclass(frozen=True)
class Pool:
    """Images that an epoch is made of.

    Attributes:
        images: positions in the collection, ascending.
        shown: which classes each image of the whole collection shows.
    """

    images: Int[Tensor, " k"]
    shown: Bool[Tensor, "n c"]

    @staticmethod
    def draw(shown: Bool[Tensor, "n c"], settings: Contrastive, rng: Generator) -> tuple["Pool", list[tuple[int, int]]]:
        """Draw the pairs of an epoch, and the images among which negatives are looked for.

        Args:
            shown: which classes each image shows.
            settings: how many.
            rng: of this epoch.

        Returns:
            The pool, with the images of the pairs; and the pairs, each image of which may be a query.
        """
        members = [shown[:, one].nonzero()[:, 0].tolist() for one in range(shown.shape[1])]
        members = [images for images in members if len(images) > 1]
        able = sorted({image for images in members for image in images})
        queries = [able[at] for at in torch.randperm(len(able), generator=rng)[: settings.queries].tolist()]
        pairs = []
        for query in queries:
            near = sorted({image for images in members if query in images for image in images} - {query})
            pairs.append((query, near[int(torch.randint(len(near), (), generator=rng))]))
        order = torch.randperm(len(shown), generator=rng)[: settings.pool].tolist()
        return Pool(torch.tensor(sorted({*order, *(one for pair in pairs for one in pair)})), shown), pairs

    def tuples(self, vectors: Float[Tensor, "k d"], pairs: Sequence[tuple[int, int]], negatives: int) -> list[Tuple]:
        """Give every query its hardest negatives: the most similar images that show nothing in common with it.

        At most one of each class, so that they are not all of one object; images without a class are all different.

        Args:
            vectors: of the pool's images, of unit length.
            pairs: queries and their positives.
            negatives: of each query.
        """
        place = {image: row for row, image in enumerate(self.images.tolist())}
        rows = vectors[[place[query] for query, _ in pairs]] if pairs else vectors[:0]
        order = (rows @ vectors.T).argsort(dim=1, descending=True, stable=True)
        found = []
        for (query, positive), ranked in zip(pairs, self.images[order].tolist(), strict=True):
            taken, chosen = self.shown[query].clone(), list[int]()
            for image in ranked:
                if len(chosen) == negatives:
                    break
                if image != query and not bool((self.shown[image] & taken).any()):
                    chosen.append(image)
                    taken |= self.shown[image]
            found.append((query, positive, chosen))
        return found

    def mean_average_precision(self, vectors: Float[Tensor, "k d"]) -> float:
        """Mean over the images that match another of the average precision of ranking the others by cosine."""
        shown = self.shown[self.images].float()
        itself = torch.eye(len(shown), dtype=torch.bool)
        relevant = (shown @ shown.T > 0) & ~itself
        asked = relevant.any(dim=1)
        if not bool(asked.any()):
            return float("nan")
        return float(average_precision((vectors @ vectors.T)[asked], relevant[asked], itself[asked]).mean())
