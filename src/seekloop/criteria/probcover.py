"""ProbCover: cover as many images as possible with balls around those asked about."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import require_candidates
from seekloop.graphs.balls import Balls, balls

_MOST = 2**28  # pairs of images in each other's balls: 2 GiB


@dataclass(frozen=True)
class Probcover:
    """The images whose balls hold most images that no labelled image's ball holds, one after the other.

    Scores play no part. Once everything is covered, the lowest positions follow.

    Args:
        radius: of the balls, a Euclidean distance between descriptors of unit length.

    Reference:
        Yehuda, Dekel, Hacohen & Weinshall, "Active Learning Through a Covering Lens", NeurIPS 2022, Alg. 1.
    """

    radius: float

    def __post_init__(self) -> None:
        if not 0 < self.radius < 2:
            why = "descriptors of unit length lie between 0 and 2 apart"
            raise ConfigError("criterion.radius", self.radius, why, "Choose what keeps classes apart, such as 0.5.")

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about.

        Raises:
            ConfigError: if the balls are so large that memory could not hold which image is in which.
        """
        require_candidates(view.candidate, budget)
        try:
            inside = balls(view.descriptors, self.radius, _MOST)
        except ValueError as crowded:
            fix = "Choose a smaller radius."
            raise ConfigError("criterion.radius", self.radius, str(crowded), fix) from crowded
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
