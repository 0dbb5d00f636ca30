"""Criteria that look at the graph of a collection, so that the images asked about stand for the others."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from seekloop.contracts.declared import component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import require_candidates
from seekloop.graphs.affinity import Affinity
from seekloop.graphs.balls import Balls, balls
from seekloop.graphs.propagation import Solver, Spreading

_NUMBERS = 2**24  # of images times queries worked on at once: bounds memory, and changes no result
_MOST = 2**28  # pairs of images in each other's balls: 2 GiB


@component
class Jlp(Spreading):
    """jLP: the images that label propagation reaches least, one after the other.

    Settings as in `Graph` and `Solver`. Scores play no part, nor does it matter which labels were answered.

    Reference:
        Siméoni, Budnik, Avrithis & Gravier, "Rethinking Deep Active Learning: Using Unlabeled Data at Model Training",
        ICPR 2020, Sec. 4.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        graph, device = self.of(view.descriptors, view.cache), view.descriptors.device
        size = max(1, _NUMBERS // view.candidate.shape[1])
        rows = zip(torch.split(view.candidate, size), torch.split(view.answers != 0, size), strict=True)
        parts = [least_reached(graph, c.to(device), known.to(device), budget, self) for c, known in rows]
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


@component
class Probcover:
    """The images whose balls hold most images that no labelled image's ball holds, one after the other.

    Scores play no part. Once everything is covered, the lowest positions follow.

    Args:
        radius: of the balls, a Euclidean distance between descriptors of unit length.

    Reference:
        Yehuda, Dekel, Hacohen & Weinshall, "Active Learning Through a Covering Lens", NeurIPS 2022, Alg. 1.
    """

    radius: Annotated[float, Interval(gt=0, lt=2)] = 0.75

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """Choose; `ConfigError` if the balls are so large that memory could not hold which image is in which."""
        require_candidates(view.candidate, budget)
        try:
            inside = view.cache.once(("balls", self.radius), lambda: balls(view.descriptors, self.radius, _MOST))
        except ValueError as crowded:
            raise ConfigError("radius", self.radius, str(crowded), "Choose a smaller radius.", self) from crowded
        rows = zip(view.candidate, view.answers != 0, strict=True)
        return torch.stack([most_covering(inside, candidate, labelled, budget) for candidate, labelled in rows])


def most_covering(
    inside: Balls, candidate: Bool[Tensor, " n"], labelled: Bool[Tensor, " n"], budget: int
) -> Int[Tensor, " {budget}"]:
    """Greedily choose the candidate with most uncovered images in its ball; ties go to the lowest position.

    Args:
        inside: of `balls`.
        candidate: what may be chosen, at least `budget` images.
        labelled: whose balls are covered already.
        budget: how many.
    """
    uncovered = torch.from_numpy(inside[labelled.nonzero()[:, 0].cpu().numpy()].sum(axis=0)) == 0
    gain = torch.from_numpy(inside @ uncovered.float().numpy())
    free = candidate.cpu().clone()
    chosen: list[int] = []
    for _ in range(budget):
        chosen.append(int(gain.masked_fill(~free, -1.0).argmax()))
        free[chosen[-1]] = False
        ball = inside.indices[inside.indptr[chosen[-1]] : inside.indptr[chosen[-1] + 1]]
        fresh = ball[uncovered[ball].numpy()]
        uncovered[fresh] = False
        gain -= torch.from_numpy(inside[fresh].sum(axis=0))
    return torch.tensor(chosen, dtype=torch.long, device=candidate.device)
