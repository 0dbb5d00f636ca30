"""k-means++: centres drawn far from the labelled images and from each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.seeding import drawn_by_distance
from seekloop.criteria.selection import require_candidates

_BLOCK = 2**13  # images compared at once: bounds memory, and changes no result


@dataclass(frozen=True)
class KmeansPp:
    """k-means++ seeding on the global descriptors; the labelled images are the first centres. Scores play no part.

    A core set (`core_set`) takes the farthest image, which is often an outlier; here it is only likelier than others.

    Reference:
        Arthur & Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        require_candidates(view.candidate, budget)
        rows = zip(view.candidate, view.answers != 0, rngs, strict=True)
        return torch.stack([seeds(view.descriptors, candidate, centre, budget, rng) for candidate, centre, rng in rows])


def seeds(
    whole: Float[Tensor, "n d"], candidate: Bool[Tensor, " n"], centre: Bool[Tensor, " n"], budget: int, rng: Generator
) -> Int[Tensor, " {budget}"]:
    """Draw candidates in proportion to their squared distance to the nearest centre or earlier draw.

    Args:
        whole: unit length.
        candidate: what may be drawn.
        centre: the labelled images; without any the first draw has equal chances.
        budget: how many.
        rng: draws.
    """
    squares = whole.new_full((len(whole),), torch.inf)
    if centre.any():
        centres = whole[centre.to(whole.device)]
        cosine = torch.cat([(block @ centres.T).amax(dim=1) for block in torch.split(whole, _BLOCK)])
        squares = (2 - 2 * cosine).clamp(min=0.0)
    return drawn_by_distance(squares, candidate, budget, rng, lambda point: 2 - 2 * (whole @ whole[point]))
