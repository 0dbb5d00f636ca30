"""Linear SVM by compiled dual coordinate descent with warm starts: the choice for CPUs."""

import math
from dataclasses import field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.classifiers.coordinate_descent import descend
from seekloop.classifiers.objective import Settings, real_counts, row_factors
from seekloop.contracts.compiled import in_threads
from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer

FINE = 1e-5  # tolerances below this need hyperplanes summed up in float64; above it float32 is a quarter faster


@component
class SvmNumba(Settings):
    """Dual coordinate descent, started from the duals of the round before.

    The queries of a batch are shared out among threads; each problem runs in one of them, so the result does not depend
    on their number, and nothing below spawns threads of its own.

    Args:
        cost: C of the objective.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: largest projected gradient at which a solution is accepted.
        max_iter: passes over the rows after which a fit is given up with an error.
        threads: most problems solved at a time, or auto: as many as torch uses (OMP_NUM_THREADS).
    """

    threads: Literal["auto"] | Count = field(default="auto", metadata=NOT_IN_RECIPE)

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query, starting from `previous.duals` where there are any.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
            ConfigError: if a fit needs more than `max_iter` passes.
        """
        return self.fit_around(torch.zeros_like(rows.query, dtype=torch.float64), rows, previous)

    def fit_around(self, centres: Float[Tensor, "q d"], rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        r"""`fit` with :math:`\tfrac12 \|w - w_0\|^2` in place of :math:`\tfrac12 \|w\|^2`; `centres` holds the w_0."""
        sizes = real_counts(rows).tolist()
        fine = rows.table.dtype == torch.float64 or self.tol < FINE
        weights = centres.to("cpu", torch.float64 if fine else torch.float32, copy=True)
        duals = starting_duals(rows, previous)
        table, index = rows.table.cpu().contiguous().numpy(), rows.index.cpu().contiguous().numpy()
        labels = rows.labels.to("cpu", torch.float64).contiguous().numpy()
        ridge = (1 / (2 * self.cost * row_factors(rows, self.class_weight))).cpu().contiguous().numpy()

        def solve(q: int) -> float:
            n = sizes[q]
            problem = (table, index[q, :n], labels[q, :n], ridge[q, :n], duals[q, :n].numpy(), weights[q].numpy())
            intercept, passes = descend(*problem, self.tol, self.max_iter)
            if math.isnan(intercept):
                raise ValueError(f"the query at position {q} of the batch has NaN or infinity in its rows")
            if passes > self.max_iter:
                why = f"coordinate descent needs more passes to come within tol={self.tol}"
                raise ConfigError("max_iter", self.max_iter, why, "Try ten times as many.", self)
            return float(intercept)

        threads = torch.get_num_threads() if self.threads == "auto" else self.threads
        intercepts = in_threads(solve, range(len(sizes)), threads)
        like = rows.table
        return LinearScorer(weights.to(like), torch.tensor(intercepts, dtype=like.dtype, device=like.device), duals)


def starting_duals(rows: TrainingRows, previous: Scorer | None) -> Float[Tensor, "q r"]:
    """The duals of the round before, for the rows that were there then; 0 for new rows.

    Any start from 0 up leads to the same solution; this one is close to it.
    """
    queries, width = rows.labels.shape
    duals = torch.zeros(queries, width, dtype=torch.float64)
    if isinstance(previous, LinearScorer) and previous.duals is not None:
        shared = min(width, previous.duals.shape[1])
        duals[:, :shared] = previous.duals[:, :shared].to("cpu", torch.float64).clamp(min=0)
    return duals * rows.mask.cpu()
