"""Average precision of whole rankings, many queries at once, and the same restricted to objects of one size."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.metrics.ranked import finite_sum_average_precision
from seekloop.metrics.ranks import count_ranks, first_of, in_blocks, rising
from seekloop.metrics.strata import outside


def average_precision(
    scores: Float[Tensor, "q n"], relevant: Bool[Tensor, "q n"], ignored: Bool[Tensor, "q n"] | None = None
) -> Float[Tensor, " q"]:
    r"""Precision at each relevant image, averaged: the finite sum, not the trapezoid.

    .. math:: \mathrm{AP} = \frac{1}{|R|} \sum_{i \in R}
              \frac{|\{j \in R : s_j \ge s_i\}|}{|\{j : s_j \ge s_i\}|}

    Only the order of the scores matters. Images with equal scores share the worst rank of their group, so a constant
    ranking earns the share of relevant images. Minus infinity (an unreadable image) is the last rank.

    Args:
        scores: any sign, higher is better.
        relevant: what should come first.
        ignored: images taken out of the ranking, relevant or not; None takes none out.

    Returns:
        In float64; NaN for a query all of whose relevant images are ignored (average those with `nanmean`).

    Raises:
        ValueError: if a score is NaN, or a query has no relevant image at all.

    Example:
        >>> average_precision(torch.tensor([[0.9, 0.1, -0.2, -0.7]]), torch.tensor([[True, False, True, False]]))
        tensor([0.8333], dtype=torch.float64)
    """
    if (empty := ~relevant.any(dim=1)).any():
        raise ValueError(f"average precision is undefined: no image is relevant to query {first_of(empty)}")

    def measured(block: slice) -> Float[Tensor, " q"]:
        ranks = count_ranks(scores[block], relevant[block], None if ignored is None else ignored[block])
        return finite_sum_average_precision(ranks)

    return torch.cat(in_blocks(measured, scores))


def stratified_average_precision(
    scores: Float[Tensor, "q n"], strata: Int[Tensor, "q n"], levels: int
) -> Float[Tensor, "q {levels}+1"]:
    """Average precision of all, and per size of the object: positives of the other sizes are taken out of the ranking.

    Args:
        scores: as in `average_precision`.
        strata: of each query's class, from `seekloop.metrics.strata.strata`; -1 where the image is not relevant.
        levels: how many strata there are.

    Returns:
        In float64; the first column over all sizes, the others NaN where the class has no image in the stratum.

    Raises:
        ValueError: if a score is NaN, or a query has no relevant image at all.
    """
    if (empty := ~(strata >= 0).any(dim=1)).any():
        raise ValueError(f"average precision is undefined: no image is relevant to query {first_of(empty)}")

    def measured(block: slice) -> Float[Tensor, "q _"]:
        some, sizes = scores[block], strata[block]
        ordered = rising(some)
        ranks = [count_ranks(some, sizes >= 0, None, ordered)]
        ranks += [count_ranks(some, sizes == level, outside(sizes, level), ordered) for level in range(levels)]
        return torch.stack([finite_sum_average_precision(one) for one in ranks], dim=1)

    return torch.cat(in_blocks(measured, scores))
