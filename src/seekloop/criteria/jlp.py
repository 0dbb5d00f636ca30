"""jLP: ask about what the labels reach least along the graph of nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import require_candidates
from seekloop.graphs.affinity import Affinity
from seekloop.graphs.propagation import Solver, Spreading

_NUMBERS = 2**24  # of images times queries worked on at once: bounds memory, and changes no result


@dataclass(frozen=True)
class Jlp(Spreading):
    """The images that label propagation reaches least, one after the other. Scores play no part, nor do the answers.

    Args:
        neighbours: as in `Spreading`, and so on to tolerance.
        kind: see there.
        power: see there.
        clamp: see there.
        alpha: see there.
        iterations: see there.
        tolerance: see there.

    Raises:
        ConfigError: if a setting cannot work.

    Reference:
        Siméoni, Budnik, Avrithis & Gravier, "Rethinking Deep Active Learning: Using Unlabeled Data at Model Training",
        ICPR 2020, Sec. 4.
    """

    group = "criterion"

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        require_candidates(view.candidate, budget)
        graph, device = self.graph.of(view.descriptors), view.descriptors.device
        size = max(1, _NUMBERS // view.candidate.shape[1])
        rows = zip(torch.split(view.candidate, size), torch.split(view.answers != 0, size), strict=True)
        parts = [least_reached(graph, c.to(device), known.to(device), budget, self.solver) for c, known in rows]
        return torch.cat(parts).to(view.candidate.device)


def least_reached(
    graph: Affinity, candidate: Bool[Tensor, "q n"], labelled: Bool[Tensor, "q n"], budget: int, solver: Solver
) -> Int[Tensor, "q {budget}"]:
    r"""Choose, of every query's candidates, what is reached least from all that is labelled or chosen already.

    .. math:: z = (I - \alpha \mathcal{W})^{-1} y, \qquad i_b = \arg\min_i z_i, \qquad y_i = 1 \text{ on }
              L \cup \{i_1, \dots, i_{b-1}\}, \text{ else } 0

    One solution per image asked for, of all queries at once. What nothing reaches, and negative remainders of a
    solution that was cut short, count as 0; ties go to the lower position. Values are compared in single precision:
    below it, what a solver leaves of ties is rounding.

    Args:
        graph: of `affinity`.
        candidate: what may be chosen, at least `budget` images per query.
        labelled: the images :math:`L`.
        budget: how many to choose.
        solver: how z is computed.

    Returns:
        Positions of images, in the order chosen.
    """
    y, free = labelled.T.to(torch.float64, copy=True).contiguous(), candidate.T.clone()
    chosen: list[Tensor] = []
    for _ in range(budget):
        reached = solver.solve(graph, y).float().clamp(min=0.0).masked_fill(~free, torch.inf)
        chosen.append(reached.argmin(dim=0))
        y.scatter_(0, chosen[-1][None], 1.0)
        free.scatter_(0, chosen[-1][None], False)
    return torch.stack(chosen, dim=1)
