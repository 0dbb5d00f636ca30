r"""Label propagation from a few images over the graph of all: :math:`Z = (I - \alpha \mathcal{W})^{-1} Y`."""

import math
import warnings
from typing import Annotated

import numpy as np
import torch
from annotated_types import Interval
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.compiled import in_threads
from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.learning import PseudoLabels
from seekloop.graphs.affinity import Affinity, Graph
from seekloop.graphs.conjugate_gradient import conjugate_gradient

_TOGETHER = 16  # columns solved side by side: a row of them fills one or two cache lines


@component
class Solver:
    r"""Reach of the labels, and accuracy of its computation.

    Args:
        alpha: :math:`\alpha`, from 0 (labels stay where they are) to below 1 (at which they would spread without end).
        iterations: most iterations of conjugate gradient; the published methods stop after 20.
        tolerance: length of the residual, relative to the right side's, at which a column is done.
    """

    alpha: Annotated[float, Interval(ge=0, lt=1)] = 0.99
    iterations: Count = 20
    tolerance: Positive = 1e-6

    def solve(self, graph: Affinity, y: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        r"""Approximate :math:`(I - \alpha \mathcal{W})^{-1} Y` by conjugate gradient from 0, all columns at once.

        On a CPU a column's result does not depend on its company. Where no label reaches, the result is exactly 0.

        Args:
            graph: :math:`\mathcal{W}` of `affinity`.
            y: right sides; their type and device are those of the computation.
        """
        if y.device.type != "cpu":
            return _solve_in_torch(graph, y, self.alpha, self.iterations, self.tolerance)
        values = y.detach().numpy()
        data = graph.data.astype(values.dtype)
        threads = torch.get_num_threads()
        width = max(1, min(_TOGETHER, math.ceil(values.shape[1] / threads)))

        def some(first: int) -> np.ndarray[tuple[int, ...], np.dtype[np.floating]]:
            part = np.ascontiguousarray(values[:, first : first + width]).copy()
            matrix = (graph.indptr, graph.indices, data)
            return conjugate_gradient(*matrix, self.alpha, part, self.iterations, self.tolerance)

        parts = in_threads(some, range(0, values.shape[1], width), threads)
        return torch.from_numpy(np.concatenate(parts, axis=1)) if parts else torch.zeros_like(y)


@component
class Spreading(Graph, Solver):
    """Hyper-parameters shared by all graph-based label propagation: those of `Graph` and of `Solver`."""


def _solve_in_torch(
    graph: Affinity, y: Float[Tensor, "n c"], alpha: int | float, iterations: int, tolerance: int | float
) -> Float[Tensor, "n c"]:
    """Conjugate gradient in torch, for any device."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse CSR.*")
        parts = [torch.from_numpy(part).to(y.device) for part in (graph.indptr, graph.indices, graph.data)]
        matrix = torch.sparse_csr_tensor(parts[0], parts[1], parts[2].to(y), graph.shape, check_invariants=False)
    z, residual, direction = torch.zeros_like(y), y.clone(), y.clone()
    squares = residual.square().sum(dim=0)
    enough = tolerance**2 * squares
    for _ in range(iterations):
        still = squares > enough
        if not still.any():
            break
        applied = direction - alpha * (matrix @ direction)
        products = (direction * applied).sum(dim=0)
        step = torch.where(still & (products != 0), squares / products, 0.0)
        z += step * direction
        residual -= step * applied
        before, squares = squares, residual.square().sum(dim=0)
        direction = residual + torch.where(before > 0, squares / before, 0.0) * direction
    return z


def seeds(labels: Int[Tensor, " n"], classes: int, balanced: bool) -> Float[Tensor, "n c"]:
    r"""Y: 1 at each labelled image in the column of its class; :math:`1 / |L_c|` where `balanced`."""
    y = torch.zeros(len(labels), classes, dtype=torch.float64, device=labels.device)
    known = (labels >= 0).nonzero()[:, 0]
    y[known, labels[known]] = 1.0
    return y / y.sum(dim=0).clamp(min=1.0) if balanced else y


def certainty(z: Float[Tensor, "*q n c"]) -> tuple[Int[Tensor, "*q n"], Float[Tensor, "*q n"]]:
    r"""Label and certainty of each image, from the amounts of each class that have reached it.

    .. math:: p_i = \frac{[z_i]_+}{\lVert [z_i]_+ \rVert_1}, \qquad \hat y_i = \arg\max p_i, \qquad
              \beta(p_i) = 1 - \frac{H(p_i)}{\log c}

    An image that nothing has reached has label -1 and weight 0.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, eq. 3.1, 3.10.
    """
    share = z.clamp(min=0.0)
    total = share.sum(dim=-1, keepdim=True)
    reached = total[..., 0] > 0
    share = share / total.where(total > 0, 1.0)
    entropy = torch.special.entr(share).sum(dim=-1)
    weight = (1 - entropy / max(math.log(z.shape[-1]), 1e-300)).clamp(min=0.0) * reached
    return torch.where(reached, share.argmax(dim=-1), -1), weight


def relative(weights: Float[Tensor, "*q n"]) -> Float[Tensor, "*q n"]:
    """Divide weights by the largest of them; all stay 0 where none is larger."""
    highest = weights.amax(dim=-1, keepdim=True)
    return weights / highest.where(highest > 0, 1.0)


def propagate(
    graph: Affinity, labels: Int[Tensor, " n"], classes: int, solver: Solver, *, balanced: bool, relative_weights: bool
) -> PseudoLabels:
    """Propagate the labels of a few images to all.

    Args:
        graph: of `affinity`.
        labels: class of each image, -1 where unknown.
        classes: how many there are.
        solver: how far labels spread.
        balanced: whether a class with few labels counts as much as one with many.
        relative_weights: whether weights are divided by the largest of all images, those with a label included.

    Returns:
        Known labels are kept, with weight 1; -1 with weight 0 where no label reaches.

    Source:
        Iscen, Tolias, Avrithis, Chum, "Label Propagation for Deep Semi-supervised Learning", CVPR 2019, eq. 10 and 11.
    """
    propagated, weight = certainty(solver.solve(graph, seeds(labels, classes, balanced)))
    weight = relative(weight) if relative_weights else weight
    known = labels >= 0
    return PseudoLabels(torch.where(known, labels.long(), propagated), torch.where(known, 1.0, weight))


@component
class LabelPropagation(Spreading):
    """Pseudo-labels along the k-NN graph, with the settings of `Graph` and `Solver`. Implements `Propagation`.

    Args:
        balanced: whether a class with few labels counts as much as one with many.
        relative_weights: whether weights are divided by the largest of all images.
    """

    balanced: bool = False
    relative_weights: bool = False

    def __call__(self, features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], classes: int) -> PseudoLabels:
        """Pseudo-labels of all images; `labels` is -1 where unknown."""
        how = {"balanced": self.balanced, "relative_weights": self.relative_weights}
        return propagate(self.of(features), labels, classes, self, **how)
