"""Centralities: how much each vertex of a graph matters, among all of them."""

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from torch import Tensor

from seekloop.contracts.errors import require
from seekloop.graphs.affinity import Affinity, lengths, normalised
from seekloop.graphs.propagation import Solver

Measure = Literal["degree", "eigenvector", "pagerank", "katz", "betweenness", "closeness", "harmonic"]
PATHS: tuple[Measure, ...] = ("betweenness", "closeness", "harmonic")
"""Measures of shortest paths, which need the features."""
DAMPING, REACH = 0.85, 0.99  # alpha of PageRank, and of Katz
SHORTEST = 1e-6  # length of an edge between equal vectors
_STEPS, _SETTLED = 1000, 1e-12  # of power iteration
Values = NDArray[np.float64]


def centrality(
    weights: Affinity,
    measure: Measure = "katz",
    *,
    alpha: float | None = None,
    features: Float[Tensor, "n d"] | None = None,
) -> Float[Tensor, " n"]:
    r"""Centrality of every vertex.

    With the weights W, their degrees :math:`D = \mathrm{diag}(W \mathbf{1})` and normalised weights
    :math:`\mathcal{W}`, and with the length :math:`d_{ij}` of the shortest path, edges being as long as the Euclidean
    distance of their ends:

    - degree: :math:`u = D \mathbf{1}`;
    - eigenvector: :math:`W u = \lambda_{\max} u`, of length 1, on the largest connected component, 0 elsewhere;
    - pagerank: the left eigenvector of :math:`\alpha D^{-1} W + (1 - \alpha) J / n`, of sum 1; a vertex without edges
      leads anywhere;
    - katz: :math:`(I - \alpha \mathcal{W}) u = (1 - \alpha) \mathbf{1}`, 1 on a graph of equal degrees;
    - betweenness: the share of the shortest paths, of all pairs of other vertices, that lead through the vertex;
    - closeness: :math:`(n_i - 1) / \sum_j d_{ij}` over the :math:`n_i` vertices of its component, 0 for a lonely one;
    - harmonic: :math:`\sum_{j \ne i} 1 / d_{ij}`, where 0 is added for vertices out of reach.

    The last three take time that grows with n times the number of edges.

    Args:
        weights: W, not normalised; symmetric, not negative.
        measure: one of the above.
        alpha: of pagerank (.85) or katz (.99); None for that.
        features: whose graph it is; needed for the last three, where equal vectors are `SHORTEST` apart.

    Returns:
        float64.

    Raises:
        ValueError: if `alpha` is not from 0 to below 1, or features are missing.
        MissingExtraError: for the last three, without igraph.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, section 5.3.7,
        eq. 5.13. Its closeness prints a sum of inverse lengths, its words say the inverse of their mean, taken here.
    """
    reach = (DAMPING if measure == "pagerank" else REACH) if alpha is None else alpha
    if not 0 <= reach < 1:
        raise ValueError(f"alpha={alpha} is not from 0 to below 1")
    if not weights.shape[0]:
        return torch.zeros(0, dtype=torch.float64)
    if measure in PATHS:
        if features is None:
            raise ValueError(f"{measure} is measured along edges: give features=, whose graph this is")
        found = _along_paths(lengths(weights, features), measure)
    elif measure == "katz":
        ones = torch.ones(weights.shape[0], 1, dtype=torch.float64)
        found = (1 - reach) * Solver(reach, _STEPS, _SETTLED).solve(normalised(weights), ones)[:, 0].numpy()
    elif measure == "pagerank":
        found = _pagerank(weights, reach)
    else:
        found = degrees(weights) if measure == "degree" else _eigenvector(weights)
    return torch.from_numpy(found)


def degrees(weights: Affinity) -> Values:
    """Sums of the weights of each vertex."""
    return np.asarray(weights.sum(axis=1), dtype=np.float64)


def _eigenvector(weights: Affinity) -> Values:
    """The dominant eigenvector of the largest component; the first of equally large ones."""
    _, component = connected_components(weights, directed=False)
    inside = np.flatnonzero(component == np.bincount(component, minlength=1).argmax())
    found = np.zeros(weights.shape[0])
    part = weights[inside][:, inside]
    if part.nnz:
        # The largest value, not the largest magnitude: of a graph of two sides -lambda is one, too.
        _, vector = eigsh(part, k=1, which="LA", v0=np.ones(len(inside)))
        found[inside] = np.abs(vector[:, 0])
    return found


def _pagerank(weights: Affinity, alpha: float) -> Values:
    """Power iteration from the uniform distribution.

    What reaches a vertex without edges is lost. Were it spread evenly, as the definition has it, all ranks would grow
    by one factor, so the last division makes up for it.
    """
    degree, size = degrees(weights), weights.shape[0]
    away = np.divide(1.0, degree, out=np.zeros(size), where=degree > 0)
    rank = np.full(size, 1.0 / size)
    for _ in range(_STEPS):
        before, rank = rank, alpha * (weights.T @ (away * rank)) + (1 - alpha) / size
        if np.abs(rank - before).sum() <= _SETTLED:
            break
    return rank / rank.sum()


def _along_paths(costs: Affinity, measure: Measure) -> Values:
    """Measures of shortest paths, by igraph."""
    igraph: Any = require("igraph", "graphs")
    upper = sparse.triu(sparse.coo_array(costs), k=1)
    graph = igraph.Graph(n=costs.shape[0], edges=np.stack([upper.row, upper.col], axis=1))
    cost = np.maximum(upper.data, SHORTEST).tolist()
    size = costs.shape[0]
    if measure == "betweenness":
        pairs = max((size - 1) * (size - 2) / 2, 1.0)
        return np.asarray(graph.betweenness(directed=False, weights=cost), dtype=np.float64) / pairs
    if measure == "closeness":
        return np.nan_to_num(np.asarray(graph.closeness(weights=cost, normalized=True), dtype=np.float64))
    near = np.asarray(graph.harmonic_centrality(weights=cost, normalized=True), dtype=np.float64)
    return np.nan_to_num(near) * max(size - 1, 0)
