"""Diffusion: answers spread over the graph of the collection, and an image goes by what arrives most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.classifiers.objective import real_counts
from seekloop.contracts.declared import component
from seekloop.contracts.protocols import Aggregation, Scorer
from seekloop.contracts.records import Block, TrainingRows
from seekloop.graphs.affinity import Affinity, Kind
from seekloop.graphs.propagation import Solver, Spreading


@dataclass(frozen=True)
class FieldScorer(Scorer):
    """A score of every image of the collection, by position. It knows nothing of other images."""

    values: Float[Tensor, "q n"]

    def scores(self, descriptors: Float[Tensor, "r d"], image: Int[Tensor, " r"] | None = None) -> Float[Tensor, "q r"]:
        """Decision values of the images that the descriptors are from.

        Raises:
            ValueError: if nobody says which images these are.
        """
        if image is None:
            raise ValueError("these scores belong to the images of the collection: say which image each row is from")
        return self.values[:, image.to(self.values.device)]

    def of_block(self, block: Block, aggregation: Aggregation) -> Float[Tensor, "q b"]:
        """Decision values of images; no descriptor is read."""
        return self.values[:, block.image.to(self.values.device)]

    def select(self, queries: Int[Tensor, " k"]) -> "FieldScorer":
        """The scores of these queries."""
        return FieldScorer(self.values[queries.to(self.values.device)])

    def join(self, others: Sequence[Scorer]) -> "FieldScorer":
        """All queries in one."""
        return FieldScorer(torch.cat([self.values, *[o.values for o in others if isinstance(o, FieldScorer)]]))


@component
class Diffusion(Spreading):
    r"""Label propagation as a classifier of images; global descriptors only. Settings as in `Graph` and `Solver`.

    With :math:`z^\pm = (I - \alpha \mathcal{W})^{-1} y^\pm`, where :math:`y^+` is :math:`1 / |L^+|` on the relevant
    images and :math:`y^-` likewise on the irrelevant ones, an image's score is

    .. math:: f_i = z_i^+ - z_i^- \qquad \text{or, normalised,} \qquad
              f_i = \frac{z_i^+ - z_i^-}{z_i^+ + z_i^-} = 2 p_i - 1

    and 0 where nothing arrives. The score of an answered image contains its own answer.

    Args:
        normalise: whether a score is the share of the relevant answers in all that arrive, or a difference of amounts.

    Source:
        Zhou, Bousquet, Lal, Weston, Schölkopf, Learning with local and global consistency, NIPS 2003; the graph is that
        of `graphs.affinity`. Label spreading has the factor 1 - alpha, which changes no order.
    """

    kind: Kind = "sum"
    normalise: bool = True
    transductive: ClassVar[Literal[True]] = True

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> FieldScorer:
        """Spread every query's answers; all queries are one system of equations.

        Raises:
            ValueError: if a query lacks a class, or rows do not say which images they are from.
        """
        del previous
        real_counts(rows)
        graph = self.of(rows.global_descriptors, rows.cache)
        if not self.normalise:
            y = seeds(rows, graph.shape[0])
            return FieldScorer(self.solve(graph, y[0] - y[1]).T.to(rows.table))
        against, towards = spread(graph, rows, self).clamp(min=0.0).unbind(dim=2)
        total = against + towards
        return FieldScorer(((towards - against) / total.where(total > 0, 1.0)).to(rows.table))


def spread(graph: Affinity, rows: TrainingRows, solver: Solver) -> Float[Tensor, "q n 2"]:
    """Amounts of the irrelevant answers, and of the relevant ones, that arrive at each image."""
    y = seeds(rows, graph.shape[0])
    towards, against = solver.solve(graph, torch.cat([y[0], y[1]], dim=1)).T.chunk(2)
    return torch.stack([against, towards], dim=2)


def seeds(rows: TrainingRows, images: int) -> Float[Tensor, "2 n q"]:
    """Write answers as right sides: relevant ones, then irrelevant ones; the weights of each sum to 1.

    Raises:
        ValueError: if rows do not say which images they are from.
    """
    if rows.image is None:
        raise ValueError("answers spread from images, and these rows do not say which images they are from")
    weight = (rows.weights * rows.mask).double()
    image = rows.image.to(weight.device) * rows.mask
    y = weight.new_zeros(2, len(weight), images)
    for side, label in zip(y, (1, -1), strict=True):
        side.scatter_add_(1, image, weight * (rows.labels == label))
    return (y / y.sum(dim=2, keepdim=True)).transpose(1, 2).contiguous()
