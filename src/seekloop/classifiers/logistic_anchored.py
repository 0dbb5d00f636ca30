"""Logistic regression held near the query, and optionally smooth along the graph of the collection, as in SeeSaw."""

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Interval
from jaxtyping import Float
from scipy import optimize, sparse
from torch import Tensor
from torch.nn import functional as F

from seekloop.classifiers.objective import Settings, check_finite, real_counts, row_factors
from seekloop.classifiers.rocchio import weighted_mean
from seekloop.contracts.declared import Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer
from seekloop.graphs.affinity import Affinity, Graph

FromZero = Annotated[float, Interval(ge=0, lt=float("inf"))]
Vector = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@component
class LogisticAnchored(Settings):
    r"""Logistic regression whose normal has a length near 1 and a direction near the query's.

    .. math:: \min_w \; C \sum_i s_i \log(1 + e^{-y_i w \cdot (x_i - \bar x)}) + (\|w\| - 1)^2
              + \kappa \, \tfrac12 (1 - \cos(w, l_q))

    :math:`\bar x` is the weighted mean of the rows, :math:`l_q` the query's own descriptor. The source only ranks;
    here the boundary lies half-way between the means of the two classes, as in `rocchio`. The search for w starts at
    the query and is deterministic; the cosine makes the objective non-convex. Solved by L-BFGS in float64, query by
    query.

    Source: Moll, Favela, Madden, Gadepally, Cafarella, SeeSaw: interactive ad-hoc search over image databases, arXiv
    2208.06497, "query alignment"; the terms are those of its code (github.com/orm011/seesaw, `loops/multi_reg.py`),
    where C is 0.1 / 2.4 of the others' scale when all weights are 1.

    Args:
        cost: C.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: largest gradient component at which to stop.
        max_iter: iterations after which a fit is given up with an error.
        anchor: :math:`\kappa`; 0: the query is only where the search for w starts.
    """

    cost: Positive = 0.042
    tol: Positive = 1e-6
    anchor: FromZero = 1.0

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query; `previous` is not used.

        Raises:
            ValueError: if a query lacks a class, has values that are not finite, or a descriptor of its own that is 0.
            ConfigError: if a fit needs more than `max_iter` iterations.
        """
        del previous
        return self.fit_smooth(rows, None)

    def fit_smooth(self, rows: TrainingRows, roughness: Float[Tensor, "d d"] | None) -> LinearScorer:
        r"""`fit` with the further term :math:`\hat w^\top M \hat w`, :math:`\hat w = w / \|w\|`; None: without."""
        counts, factors = real_counts(rows).tolist(), row_factors(rows, self.class_weight)
        check_finite(rows)
        if not (rows.query.isfinite().all() and rows.query.any(dim=1).all()):
            raise ValueError("a query's own descriptor is 0, NaN or infinite: it cannot be an anchor")
        normals = []
        for query, count in enumerate(counts):
            points, share = rows.of(query).double(), factors[query, :count].to(rows.table.device)
            centre = (share[:, None] * points).sum(dim=0) / share.sum()
            normal = self.solve(
                (points - centre).cpu().numpy(),
                rows.labels[query, :count].double().cpu().numpy(),
                (self.cost * share).cpu().numpy(),
                F.normalize(rows.query[query].double(), dim=0).cpu().numpy(),
                None if roughness is None else roughness.cpu().numpy(),
            )
            normals.append(torch.from_numpy(normal))
        weights = torch.stack(normals).to(rows.table)
        middle = (weighted_mean(rows, 1.0) + weighted_mean(rows, -1.0)) / 2
        return LinearScorer(weights, -(weights * middle).sum(dim=1))

    def solve(self, points: Vector, labels: Vector, costs: Vector, query: Vector, roughness: Vector | None) -> Vector:
        """Minimise the objective of one query, from centred rows, costs C s_i and the query's direction."""

        def objective(normal: Vector) -> tuple[float, Vector]:
            return loss(normal, points, labels, costs, query, self.anchor, roughness)

        options = {"maxiter": self.max_iter, "maxfun": 2 * self.max_iter, "gtol": self.tol, "ftol": 1e-15}
        found = optimize.minimize(objective, query.copy(), jac=True, method="L-BFGS-B", options=options)
        if found.nit >= self.max_iter:
            why = f"L-BFGS needs more iterations to come within tol={self.tol}"
            raise ConfigError("max_iter", self.max_iter, why, "Try ten times as many.", self)
        normal: Vector = found.x
        return normal


@component
class LogisticSmoothed(Graph, LogisticAnchored):
    r"""`logistic_anchored` whose scores differ little between neighbouring images; global descriptors only.

    The objective has the further term :math:`\rho \, \hat w^\top M \hat w` with :math:`\hat w = w / \|w\|`,
    :math:`M = X^\top L X / \operatorname{tr} L`, the global descriptors X of all images, and the Laplacian
    :math:`L = I - \mathcal{W}` of the graph of `graphs.affinity` (settings as in `Graph`), without the images that
    have no neighbour.

    Source: as for `LogisticAnchored`, "database alignment"; its graph has weights :math:`e^{-(1 - \cos) / s}` and is
    not normalised.

    Args:
        smoothness: :math:`\rho`.
    """

    smoothness: FromZero = 1.0
    transductive: ClassVar[Literal[True]] = True

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query; all share one matrix M.

        Raises:
            ValueError: if a query lacks a class, has values that are not finite, or rows do not name their images.
            ConfigError: if a fit needs more than `max_iter` iterations.
        """
        del previous
        if rows.image is None:
            raise ValueError("the graph joins images, and these rows do not say which images they are from")
        descriptors = rows.global_descriptors
        key = ("roughness", self.neighbours, self.kind, self.power, self.clamp)
        matrix = rows.cache.once(key, lambda: roughness(self.of(descriptors, rows.cache), descriptors))
        return self.fit_smooth(rows, self.smoothness * matrix)


def roughness(graph: Affinity, descriptors: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    r"""The matrix :math:`M = X^\top L X / \operatorname{tr} L`, of which :math:`w^\top M w` measures how rough w is."""
    points = descriptors.double().cpu().numpy()
    joined = np.asarray(graph.sum(axis=1)).ravel() > 0
    laplacian = sparse.diags_array(joined.astype(np.float64)) - graph
    return torch.from_numpy(points.T @ (laplacian @ points) / max(int(joined.sum()), 1))


def loss(
    normal: Vector,
    points: Vector,
    labels: Vector,
    costs: Vector,
    query: Vector,
    anchor: float,
    roughness: Vector | None,
) -> tuple[float, Vector]:
    """The objective of one query at `normal`, and its gradient."""
    margins = labels * (points @ normal)
    length = float(np.linalg.norm(normal))
    unit = normal / length
    cosine = float(unit @ query)
    value = float(costs @ np.logaddexp(0.0, -margins)) + (length - 1) ** 2 + anchor * (1 - cosine) / 2
    along = -anchor / 2 * query  # gradient with respect to the direction
    if roughness is not None:
        rough = roughness @ unit
        value += float(unit @ rough)
        along = along + 2 * rough
    share = np.exp(-np.logaddexp(0.0, margins))  # 1 / (1 + e^margin)
    slope = points.T @ (-costs * labels * share) + 2 * (length - 1) * unit + (along - (along @ unit) * unit) / length
    return value, slope
