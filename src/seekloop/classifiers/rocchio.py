"""Rocchio's relevance feedback: towards the mean of the relevant rows, away from the mean of the others."""

import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.classifiers.objective import check_finite, real_counts
from seekloop.contracts.declared import component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer


@component
class Rocchio:
    r"""The moved query of relevance feedback, as a hyperplane.

    .. math:: w = \alpha\, l_q + \beta\, \mu_+ - \gamma\, \mu_-, \qquad b = -\tfrac12\, w \cdot (\mu_+ + \mu_-)

    with the weighted means of the positive and negative rows. The intercept, which Rocchio's ranking does without and
    which does not change the order of a single query, puts the boundary half-way between the two means. Components of w
    are not clipped at 0, as is done for counts of terms: descriptors have both signs.

    Source: Rocchio, Relevance feedback in information retrieval, in Salton (ed.), The SMART retrieval system, 1971;
    Manning, Raghavan, Schütze, Introduction to information retrieval, 2008, section 9.1.1, for the constants.

    Args:
        alpha: factor of the query's own descriptor.
        beta: factor of the mean of the positive rows.
        gamma: factor of the mean of the negative rows.
    """

    alpha: float = 1.0
    beta: float = 0.75
    gamma: float = 0.15

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Move every query.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
        """
        del previous
        real_counts(rows)
        check_finite(rows)
        positive, negative = weighted_mean(rows, 1.0), weighted_mean(rows, -1.0)
        weights = self.alpha * rows.query + self.beta * positive - self.gamma * negative
        return LinearScorer(weights, -(weights * (positive + negative)).sum(1) / 2)


def weighted_mean(rows: TrainingRows, label: float) -> Float[Tensor, "q d"]:
    """Average the real rows of each query with this label by their weights, each query by itself."""
    means = []
    for query, chosen in enumerate(rows.mask & (rows.labels == label)):
        weights = rows.weights[query, chosen, None]
        means.append((weights * rows.table[rows.index[query, chosen]]).sum(dim=0) / weights.sum())
    return torch.stack(means)
