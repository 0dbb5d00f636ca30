"""Scores by the nearest rows: as relevant as the nearest liked row is nearer than the nearest disliked one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.classifiers.objective import check_finite, real_counts
from seekloop.contracts.declared import component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows


@dataclass(frozen=True)
class NearestScorer(Scorer):
    r"""The labelled rows themselves.

    .. math:: f_q(x) = \max_{y_i = 1} \cos(x, x_i) - \lambda \max_{y_i = -1} \cos(x, x_i)

    With :math:`\lambda = 1` the sign is the label of the nearest row, as in 1-NN; 0 is a tie. The plain rule knows only
    that label, and ranks by similarity to the query inside each of the two groups (`nearest_filter`); this score ranks
    by how clear the vote is, which a criterion needs in order to find what is uncertain. What 1-NN likes still comes
    before what it dislikes.

    Attributes:
        rows: unit length, zeros for padding.
        labels: +1, -1, 0 for padding.
        penalty: :math:`\lambda`.
    """

    rows: Float[Tensor, "q k d"]
    labels: Float[Tensor, "q k"]
    penalty: float = 1.0

    def scores(self, descriptors: Float[Tensor, "r d"], image: Int[Tensor, " r"] | None = None) -> Float[Tensor, "q r"]:
        """Decision values, query by query, so that the similarities of one query alone are in memory."""
        unit = F.normalize(descriptors, dim=1)
        scores = []
        for rows, labels in zip(self.rows, self.labels, strict=True):
            liked, disliked = (rows[labels == label] @ unit.T for label in (1, -1))
            scores.append(liked.amax(0) - self.penalty * disliked.amax(0))
        return torch.stack(scores)

    def select(self, queries: Int[Tensor, " k"]) -> "NearestScorer":
        """The rows of these queries."""
        return NearestScorer(self.rows[queries], self.labels[queries], self.penalty)

    def join(self, others: Sequence[Scorer]) -> "NearestScorer":
        """All queries in one, padded to the longest."""
        parts = [self, *[other for other in others if isinstance(other, NearestScorer)]]
        width = max(part.labels.shape[1] for part in parts)
        missing = [width - part.labels.shape[1] for part in parts]
        return NearestScorer(
            torch.cat([F.pad(part.rows, (0, 0, 0, extra)) for part, extra in zip(parts, missing, strict=True)]),
            torch.cat([F.pad(part.labels, (0, extra)) for part, extra in zip(parts, missing, strict=True)]),
            self.penalty,
        )


@component
class NearestNeighbour:
    """Nearest liked row against nearest disliked row, by cosine.

    Row weights do not matter, except that rows of weight 0 are left out.

    Source: Shamsolmoali et al., IntRec: intent-based retrieval with contrastive refinement, arXiv 2602.17639, for
    regions; with a penalty of 1 its sign is the prediction of Nara et al., arXiv 2404.16398.

    Args:
        penalty: factor of the similarity to the nearest disliked row; 0: only likes count.
    """

    penalty: Annotated[float, Ge(0)] = 1.0

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> NearestScorer:
        """Remember every query's rows.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
        """
        del previous
        unit, labels = remembered(rows)
        return NearestScorer(unit, labels, self.penalty)


def remembered(rows: TrainingRows) -> tuple[Float[Tensor, "q r d"], Float[Tensor, "q r"]]:
    """Rows of unit length with their labels; zeros for padding and for rows of weight 0.

    Raises:
        ValueError: if a query lacks a class or has values that are not finite.
    """
    real_counts(rows)
    check_finite(rows)
    used = rows.mask & (rows.weights > 0)
    return F.normalize(rows.rows, dim=2) * used[:, :, None], rows.labels * used
