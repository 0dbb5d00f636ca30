"""Core set: ask about what lies farthest from everything already labelled."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import require_candidates

_BLOCK = 2**13  # images compared at once: bounds memory, and changes no result


@dataclass(frozen=True)
class CoreSet:
    """Greedy k-center on the global descriptors; the labelled images are the first centres. Scores play no part.

    Reference:
        Sener & Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018, Alg. 1.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        require_candidates(view.candidate, budget)
        rows = zip(view.candidate, view.answers != 0, strict=True)
        return torch.stack([farthest_first(view.descriptors, candidate, centre, budget) for candidate, centre in rows])


def farthest_first(
    whole: Float[Tensor, "n d"], candidate: Bool[Tensor, " n"], centre: Bool[Tensor, " n"], budget: int
) -> Int[Tensor, " {budget}"]:
    r"""Greedily choose the candidates farthest from all centres and from everything chosen so far.

    .. math:: i_b = \arg\max_i \min_{j \in L \cup \{i_1, \dots, i_{b-1}\}} \lVert g_i - g_j \rVert_2

    Between vectors of unit length that is the smallest of the largest cosines. Ties go to the lowest position.

    Args:
        whole: global descriptors, unit length.
        candidate: what may be chosen, at least `budget` images.
        centre: the images :math:`L`, at least one.
        budget: how many to choose.

    Returns:
        Positions into `whole`, in the order chosen.

    Raises:
        ValueError: if there is no centre.
    """
    if not centre.any():
        raise ValueError("farthest first needs an answered image to be far from, and there is none yet")
    cosine = torch.cat([(block @ whole[centre].T).amax(dim=1) for block in _blocks(whole)])
    cosine[~candidate] = torch.inf
    chosen: list[Tensor] = []
    for _ in range(budget):
        chosen.append(cosine.argmin())
        cosine = torch.maximum(cosine, whole @ whole[chosen[-1]])
        cosine[chosen[-1]] = torch.inf  # even among exact duplicates, nobody is chosen twice
    return torch.stack(chosen)


def _blocks(whole: Float[Tensor, "n d"]) -> list[Tensor]:
    return [whole[start : start + _BLOCK] for start in range(0, len(whole), _BLOCK)]
