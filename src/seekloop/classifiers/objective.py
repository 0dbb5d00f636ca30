r"""The one objective of all support vector machines here, and the checks on what they are given.

For every query, with rows :math:`x_i`, labels :math:`y_i = \pm 1` and row factors :math:`s_i`,

.. math:: \min_{w, b} \; \tfrac12 \|w\|^2 + \tfrac12 b^2 + C \sum_i s_i \max(0, 1 - y_i (w \cdot x_i + b))^2

The intercept is the weight of a constant feature 1 and is regularised like the others, which is what liblinear does
with `intercept_scaling=1`. :math:`s_i` is the row's weight times the weight of its class.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer

ClassWeight = Literal["none", "balanced"] | Positive


@component
class Settings:
    """Settings that all solvers of a regularised loss share.

    Args:
        cost: C, the weight of the losses against the squared length of w.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: when to stop; each solver says what it measures.
        max_iter: iterations after which a fit is given up with an error.
    """

    cost: Positive = 1.0
    class_weight: ClassWeight = "none"
    tol: Positive = 1e-4
    max_iter: Count = 10_000


class OneByOne(Settings, ABC):
    """A solver that takes one query at a time, and starts every round afresh."""

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query; `previous` is not used.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
            ConfigError: if a fit needs more than `max_iter` iterations.
        """
        del previous
        counts, factors = real_counts(rows).tolist(), row_factors(rows, self.class_weight)
        check_finite(rows)
        planes = [self.fit_one(rows.of(q), rows.labels[q, :n], factors[q, :n]) for q, n in enumerate(counts)]
        stacked = torch.stack(planes).to(rows.table)
        return LinearScorer(stacked[:, :-1].contiguous(), stacked[:, -1].contiguous())

    @abstractmethod
    def fit_one(
        self, rows: Float[Tensor, "r d"], labels: Float[Tensor, " r"], factors: Float[Tensor, " r"]
    ) -> Float[Tensor, " d+1"]:
        """Fit one query: w and b."""


def real_counts(rows: TrainingRows) -> Int[Tensor, " q"]:
    """Count the real rows of each query, which come first. Their values are looked at by `check_finite`.

    Raises:
        ValueError: if a query's rows cannot be learnt from; says which query and why.
    """
    used = rows.mask & (rows.weights > 0)
    _refuse((rows.mask[:, 1:] & ~rows.mask[:, :-1]).any(1), "has padding before a real row")
    _refuse((rows.mask & ~((rows.weights >= 0) & rows.weights.isfinite())).any(1), "has a negative or infinite weight")
    _refuse((rows.mask & (rows.labels.abs() != 1)).any(1), "has a label other than +1 and -1")
    _refuse(~(used & (rows.labels > 0)).any(1), "has no positive row with a weight above 0")
    _refuse(~(used & (rows.labels < 0)).any(1), "has no negative row with a weight above 0")
    return rows.mask.sum(1)


def check_finite(rows: TrainingRows) -> None:
    """Refuse rows with NaN or infinity.

    Raises:
        ValueError: naming the first query that has such a row.
    """
    finite = rows.table.sum(1).isfinite()  # a sum is not finite where a value is not; cheaper than asking every value
    _refuse((rows.mask & ~finite[rows.index * rows.mask]).any(1), "has NaN or infinity in its rows")


def _refuse(bad: Tensor, why: str) -> None:
    if bad.any():
        raise ValueError(f"the query at position {int(bad.nonzero()[0, 0])} of the batch {why}")


def row_factors(rows: TrainingRows, class_weight: ClassWeight | int) -> Float[Tensor, "q r"]:
    r"""The factors :math:`s_i`, in float64: the row's weight times the weight of its class; 0 for padding.

    `none`: 1. `balanced`: :math:`n / (2 n_c)` per query, where :math:`n` and :math:`n_c` sum the weights of its real
    rows (so that a row given twice and a row of weight 2 are the same thing). A number: that, for positives.

    Example:
        >>> y = torch.tensor([[1.0, -1.0, -1.0, -1.0, 0.0]])
        >>> rows = TrainingRows.padded(torch.zeros(1, 5, 1), y, torch.ones(1, 5), y != 0, torch.zeros(1, 1))
        >>> row_factors(rows, "balanced")
        tensor([[2.0000, 0.6667, 0.6667, 0.6667, 0.0000]], dtype=torch.float64)
    """
    weights = rows.weights.double() * rows.mask
    positive = (rows.labels > 0).double()
    if class_weight == "none":
        return weights
    if class_weight == "balanced":
        total, positives = weights.sum(1, keepdim=True), (weights * positive).sum(1, keepdim=True)
        return weights * total / 2 * (positive / positives + (1 - positive) / (total - positives))
    return weights * (1 + positive * (class_weight - 1))


def gradient_norm(
    rows: Float[Tensor, "r d"],
    labels: Float[Tensor, " r"],
    costs: Float[Tensor, " r"],
    plane: Float[Tensor, " d+1"],
) -> Float[Tensor, ""]:
    """Length of the objective's gradient at (w, b): no less than the distance to the solution, by strong convexity.

    `costs` are C s_i of one query.
    """
    points = torch.nn.functional.pad(rows, (0, 1), value=1.0)
    slack = (1 - labels * (points @ plane)).clamp(min=0)
    return (plane - 2 * points.T @ (costs * labels * slack)).norm()
