"""1-NN relevance feedback: images predicted disliked go behind all others, and both groups keep the first ranking."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.classifiers.nearest import NearestScorer, remembered
from seekloop.contracts.declared import component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows

EQUAL = 1e-12  # cosines in float64 that differ by less are taken for equal


@dataclass(frozen=True)
class FilterScorer(Scorer):
    r"""The labelled rows, and the query that the first ranking is by.

    .. math:: f_q(x) = \cos(x, l_q) + \begin{cases} 2 & \max_{y_i = 1} \cos(x, x_i) \ge \max_{y_i = -1} \cos(x, x_i) \\
              -2 & \text{otherwise} \end{cases}

    The sign is the predicted label. What is as near to a liked row as to a disliked one counts as liked, so the order
    in which images were judged cannot matter, and a copy of a liked image is always kept.

    Attributes:
        rows: unit length, zeros for padding.
        labels: +1, -1, 0 for padding.
        query: of unit length.
    """

    rows: Float[Tensor, "q k d"]
    labels: Float[Tensor, "q k"]
    query: Float[Tensor, "q d"]

    def liked(self, descriptors: Float[Tensor, "r d"]) -> Bool[Tensor, "q r"]:
        """Label of the nearest row, query by query; equally near ones of both labels: liked."""
        unit = F.normalize(descriptors.double(), dim=1)
        labels = []
        for rows, label in zip(self.rows, self.labels, strict=True):
            liked, disliked = ((F.normalize(rows[label == sign].double(), dim=1) @ unit.T).amax(0) for sign in (1, -1))
            labels.append(liked >= disliked - EQUAL)
        return torch.stack(labels)

    def scores(self, descriptors: Float[Tensor, "r d"], image: Int[Tensor, " r"] | None = None) -> Float[Tensor, "q r"]:
        """Similarity to the query, shifted by 2 towards the predicted label."""
        similarity = self.query @ F.normalize(descriptors, dim=1).T
        return torch.where(self.liked(descriptors), similarity + 2, similarity - 2)

    def select(self, queries: Int[Tensor, " k"]) -> "FilterScorer":
        """The part of these queries."""
        return FilterScorer(self.rows[queries], self.labels[queries], self.query[queries])

    def join(self, others: Sequence[Scorer]) -> "FilterScorer":
        """All queries in one, padded to the longest."""
        parts = [self, *[other for other in others if isinstance(other, FilterScorer)]]
        first, *rest = [NearestScorer(part.rows, part.labels) for part in parts]
        joined = first.join(rest)
        return FilterScorer(joined.rows, joined.labels, torch.cat([part.query for part in parts]))


@component
class NearestFilter:
    """1-NN on cosine similarity as a filter of the ranking by similarity to the query.

    Row weights do not matter, except that rows of weight 0 are left out.

    Source: Nara et al., Revisiting relevance feedback for CLIP-based interactive image retrieval, arXiv 2404.16398.
    Whether disliked images are removed or go to the end is not stated there; they go to the end.
    """

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> FilterScorer:
        """Remember every query's rows.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
        """
        del previous
        unit, labels = remembered(rows)
        return FilterScorer(unit, labels, F.normalize(rows.query, dim=1))
