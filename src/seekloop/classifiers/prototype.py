"""Prototypes: an image is as relevant as it is nearer to the mean of the relevant rows than to that of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.classifiers.objective import check_finite, real_counts
from seekloop.classifiers.rocchio import weighted_mean
from seekloop.contracts.declared import component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows


@dataclass(frozen=True)
class PrototypeScorer(Scorer):
    """Means of the positive and of the negative rows of each query."""

    positive: Float[Tensor, "q d"]
    negative: Float[Tensor, "q d"]

    def scores(self, descriptors: Float[Tensor, "r d"], image: Int[Tensor, " r"] | None = None) -> Float[Tensor, "q r"]:
        """Distance to the negative mean minus distance to the positive one."""
        return distances(self.negative, descriptors) - distances(self.positive, descriptors)

    def select(self, queries: Int[Tensor, " k"]) -> "PrototypeScorer":
        """The means of these queries."""
        return PrototypeScorer(self.positive[queries], self.negative[queries])

    def join(self, others: Sequence[Scorer]) -> "PrototypeScorer":
        """All queries in one."""
        parts = [self, *[other for other in others if isinstance(other, PrototypeScorer)]]
        return PrototypeScorer(torch.cat([p.positive for p in parts]), torch.cat([p.negative for p in parts]))


@component
class Prototype:
    r"""Difference of distances to the weighted means of the two classes; not linear, unlike that of squared distances.

    .. math:: f(x) = \|x - \mu_-\| - \|x - \mu_+\|

    The published score is :math:`\sigma(f / T)` with :math:`T = 1`. T changes neither the order nor the boundary at
    one half, which is 0 here, so that there is no argument for it.

    Source: Voxel51, FiftyOne Labs, few-shot learning panel (github.com/voxel51/fiftyone-labs), `RocchioPrototypeModel`
    in its default mode `proto_softmax`.
    """

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> PrototypeScorer:
        """Average every query's rows.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
        """
        del previous
        real_counts(rows)
        check_finite(rows)
        return PrototypeScorer(weighted_mean(rows, 1.0), weighted_mean(rows, -1.0))


def distances(points: Float[Tensor, "q d"], descriptors: Float[Tensor, "r d"]) -> Float[Tensor, "q r"]:
    """Euclidean distances, each from its own differences: no cancellation, whatever the other points."""
    return torch.cdist(points.to(descriptors), descriptors, compute_mode="donot_use_mm_for_euclid_dist")
