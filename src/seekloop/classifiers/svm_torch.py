r"""Linear SVM by Newton's method on the primal, for all queries at once, on CPU or GPU.

The objective (see `objective`) is strongly convex and piecewise quadratic. With :math:`A` the rows inside the margin,
each step solves the quadratic that holds there,

.. math:: (I + 2 \tilde X^\top C_A \tilde X) \tilde w = 2 \tilde X^\top C_A y, \qquad
          \tilde w = \tilde X^\top S (I + S \tilde X \tilde X^\top S)^{-1} S y, \quad S^2 = 2 C_A

on the left in the d + 1 coordinates, on the right in the r rows (Woodbury), whichever are fewer; then a line search
(Mangasarian: A finite Newton method for classification, 2002). Strong convexity with modulus 1 makes the stopping rule
a promise: :math:`\|\tilde w - \tilde w^\star\| \le \|\nabla\|`.
"""

from dataclasses import field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seekloop.classifiers.objective import Settings, check_finite, real_counts, row_factors
from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer

_SUFFICIENT = 1e-4  # the share of the decrease promised by the slope that a step must bring (Armijo)
_HALVINGS = 30


@component
class SvmTorch(Settings):
    """Batched primal Newton.

    Memory is q r d numbers for the rows and q min(r, d)^2 for the systems: hand in fewer queries at a time where that
    is too much. On a CPU it uses torch's threads, and `svm_numba` is faster.

    Args:
        cost: C of the objective.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: largest gradient, relative to the length of (w, b), at which a solution is accepted.
        max_iter: Newton steps after which a fit is given up with an error.
        device: auto (cuda where there is one), cpu, cuda, cuda:1, ...
        dtype: float64, or float32, whose rounding needs a tol of about 1e-3.
    """

    tol: Positive = 1e-7
    max_iter: Count = 200
    device: str = field(default="auto", metadata=NOT_IN_RECIPE)
    dtype: Literal["float32", "float64"] = "float64"

    def __post_init__(self) -> None:
        if self.device != "auto":
            try:
                torch.empty(0, device=self.device)
            except (RuntimeError, AssertionError) as missing:  # a torch without CUDA asserts
                why = f"torch cannot use it ({missing})"
                raise ConfigError("device", self.device, why, "Try auto.", self) from missing

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query, starting from the hyperplanes of `previous`.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
            ConfigError: if a fit needs more than `max_iter` steps.
        """
        real_counts(rows)
        check_finite(rows)
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        device, dtype = torch.device(auto if self.device == "auto" else self.device), getattr(torch, self.dtype)
        points = torch.nn.functional.pad(rows.rows, (0, 1), value=1.0).to(device, dtype)  # the last weight is b
        costs = (self.cost * row_factors(rows, self.class_weight)).to(device, dtype)
        start = torch.zeros_like(points[:, 0])
        if isinstance(previous, LinearScorer):
            start = torch.cat([previous.weights, previous.intercept[:, None]], dim=1).to(device, dtype)
        planes, accurate = newton(
            points, rows.labels.to(device, dtype), costs, start, tol=self.tol, max_iter=self.max_iter
        )
        if not accurate.all():
            why = f"Newton's method did not come within tol={self.tol} in {self.dtype}"
            raise ConfigError("max_iter", self.max_iter, why, "Try dtype=float64 or more steps.", self)
        planes = planes.to(rows.table)
        return LinearScorer(planes[:, :-1].contiguous(), planes[:, -1].contiguous())


def newton(
    points: Float[Tensor, "q r d"],
    labels: Float[Tensor, "q r"],
    costs: Float[Tensor, "q r"],
    start: Float[Tensor, "q d"],
    *,
    tol: int | float,
    max_iter: int,
) -> tuple[Float[Tensor, "q d"], Bool[Tensor, " q"]]:
    """Minimise all problems; returns where they are, and which have a gradient below `tol` times their length.

    `points` include the constant feature; rows with cost 0 have no influence. A problem that is done stays as it is.
    """
    width, dim = points.shape[1:]
    gram = points @ points.mT if width < dim else None
    planes = start
    for iteration in range(max_iter + 1):
        slack = (1 - labels * _apply(points, planes)).clamp(min=0)
        gradient = planes - 2 * _apply(points.mT, costs * labels * slack)
        done = gradient.norm(dim=1) <= tol * planes.norm(dim=1)
        if done.all() or iteration == max_iter:
            return planes, done
        scale = (2 * costs * (slack > 0)).sqrt()
        step = newton_point(points, gram, scale, labels) - planes
        length = step_length(points, labels, costs, planes, step, gradient)
        planes = torch.where(done[:, None], planes, planes + length[:, None] * step)
    raise AssertionError("the last iteration returns")


def newton_point(
    points: Float[Tensor, "q r d"],
    gram: Float[Tensor, "q r r"] | None,
    scale: Float[Tensor, "q r"],
    labels: Float[Tensor, "q r"],
) -> Float[Tensor, "q d"]:
    """The minimum of the quadratic that holds while the same rows are inside the margin.

    `scale` is S of the module's equation: 0 for rows outside. `gram` is given where rows are fewer than dimensions.
    """
    if gram is not None:
        system = scale[:, :, None] * gram * scale[:, None, :] + torch.eye(gram.shape[1]).to(gram)
        return _apply(points.mT, scale * _solve(system, scale * labels))
    scaled = scale[:, :, None] * points
    system = scaled.mT @ scaled + torch.eye(points.shape[2]).to(points)
    return _solve(system, _apply(scaled.mT, scale * labels))


def step_length(
    points: Float[Tensor, "q r d"],
    labels: Float[Tensor, "q r"],
    costs: Float[Tensor, "q r"],
    planes: Float[Tensor, "q d"],
    step: Float[Tensor, "q d"],
    gradient: Float[Tensor, "q d"],
) -> Float[Tensor, " q"]:
    """The first of 1, 1/2, 1/4, ... that decreases the objective enough, per query.

    Margins change linearly along the step, so trying a length costs r additions, not a product with all rows.
    """
    margins, change = labels * _apply(points, planes), labels * _apply(points, step)
    slope = (gradient * step).sum(1)

    def value(length: Float[Tensor, " q"]) -> Float[Tensor, " q"]:
        slack = (1 - margins - length[:, None] * change).clamp(min=0)
        return (planes + length[:, None] * step).square().sum(1) / 2 + (costs * slack.square()).sum(1)

    length = torch.ones_like(slope)
    now = value(torch.zeros_like(slope))
    rounding = 16 * torch.finfo(now.dtype).eps * now.abs()
    for _ in range(_HALVINGS):
        short = value(length) > now + _SUFFICIENT * length * slope + rounding
        if not short.any():
            break
        length = torch.where(short, length / 2, length)
    return length


def _apply(matrices: Float[Tensor, "q r d"], vectors: Float[Tensor, "q d"]) -> Float[Tensor, "q r"]:
    return (matrices @ vectors[:, :, None])[:, :, 0]


def _solve(systems: Float[Tensor, "q d d"], targets: Float[Tensor, "q d"]) -> Float[Tensor, "q d"]:
    return torch.cholesky_solve(targets[:, :, None], torch.linalg.cholesky(systems))[:, :, 0]
