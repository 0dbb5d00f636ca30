"""Average precision of whole rankings, many queries at once, and the same restricted to objects of one size."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.metrics.strata import outside

_BLOCK = 2**23  # scores ranked at once: bounds memory to a few hundred megabytes, and changes no result


def average_precision(
    scores: Float[Tensor, "q n"], relevant: Bool[Tensor, "q n"], ignored: Bool[Tensor, "q n"] | None
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
        >>> average_precision(torch.tensor([[0.9, 0.1, -0.2, -0.7]]), torch.tensor([[True, False, True, False]]), None)
        tensor([0.8333], dtype=torch.float64)
    """
    if (empty := ~relevant.any(dim=1)).any():
        raise ValueError(f"average precision is undefined: no image is relevant to query {_first(empty)}")
    size = max(1, _BLOCK // scores.shape[1])
    blocks = [slice(start, start + size) for start in range(0, len(scores), size)]
    return torch.cat([_ranked(scores[b], relevant[b], None if ignored is None else ignored[b]) for b in blocks])


def stratified_average_precision(
    scores: Float[Tensor, "q n"], strata: Int[Tensor, "q n"], levels: int
) -> Float[Tensor, "q {levels}"]:
    """Average precision per size of the object: positives of the other sizes are taken out of the ranking.

    Args:
        scores: as in `average_precision`.
        strata: of each query's class, from `seekloop.metrics.strata.strata`; -1 where the image is not relevant.
        levels: how many strata there are.

    Returns:
        In float64; NaN where the class has no image in the stratum.
    """
    columns = [average_precision(scores, strata >= 0, outside(strata, level)) for level in range(levels)]
    return torch.stack(columns, dim=1)


def _ranked(
    scores: Float[Tensor, "q n"], relevant: Bool[Tensor, "q n"], ignored: Bool[Tensor, "q n"] | None
) -> Float[Tensor, " q"]:
    if (missing := scores.isnan().any(dim=1)).any():
        raise ValueError(f"scores hold NaN, for instance of query {_first(missing)}; rankings need numbers")
    kept = relevant if ignored is None else relevant & ~ignored
    score, order = scores.sort(dim=1, descending=True)
    hits = kept.gather(1, order).cumsum(dim=1)
    rank = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    if ignored is not None:
        rank = rank - ignored.gather(1, order).cumsum(dim=1)
    ends = torch.ones_like(kept)  # the last of each group of equal scores: the rank that the whole group gets
    ends[:, :-1] = score[:, 1:] != score[:, :-1]
    upto = torch.where(ends, hits, 0).cummax(dim=1).values
    fresh = upto.diff(dim=1, prepend=torch.zeros_like(hits[:, :1]))
    return (fresh * hits.double() / rank.clamp(min=1)).sum(dim=1) / hits[:, -1]


def _first(rows: Bool[Tensor, " q"]) -> int:
    return int(rows.nonzero()[0, 0])
