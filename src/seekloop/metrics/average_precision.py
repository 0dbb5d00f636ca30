"""Average precision of whole rankings, many queries at once, and the same restricted to objects of one size."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.compiled import in_threads
from seekloop.metrics.strata import outside

_BLOCK = 2**22  # scores ranked at once: bounds memory to a few hundred megabytes, and changes no result


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
    blocks = _blocks(scores)

    def ranked(block: slice) -> Float[Tensor, " q"]:
        dropped = None if ignored is None else ignored[block]
        kept = relevant[block] if dropped is None else relevant[block] & ~dropped
        return _average(scores[block], _sorted(scores[block]), kept, dropped)

    return torch.cat(in_threads(ranked, blocks, torch.get_num_threads()))


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
        raise ValueError(f"average precision is undefined: no image is relevant to query {_first(empty)}")

    def ranked(block: slice) -> Float[Tensor, "q _"]:
        some, sizes = scores[block], strata[block]
        ordered = _sorted(some)
        columns = [_average(some, ordered, sizes >= 0, None)]
        columns += [_average(some, ordered, sizes == level, outside(sizes, level)) for level in range(levels)]
        return torch.stack(columns, dim=1)

    return torch.cat(in_threads(ranked, _blocks(scores), torch.get_num_threads()))


def _blocks(scores: Float[Tensor, "q n"]) -> list[slice]:
    size = max(1, _BLOCK // scores.shape[1])
    return [slice(start, start + size) for start in range(0, len(scores), size)]


def _sorted(scores: Float[Tensor, "q n"]) -> Float[Tensor, "q n"]:
    """Each query's scores, rising. numpy's sort uses vector instructions, torch's does not."""
    if (missing := scores.isnan().any(dim=1)).any():
        raise ValueError(f"scores hold NaN, for instance of query {_first(missing)}; rankings need numbers")
    if scores.device.type == "cpu":
        return torch.from_numpy(np.sort(scores.contiguous().numpy(), axis=1))
    return scores.sort(dim=1).values


def _average(
    scores: Float[Tensor, "q n"],
    ordered: Float[Tensor, "q n"],
    kept: Bool[Tensor, "q n"],
    ignored: Bool[Tensor, "q n"] | None,
) -> Float[Tensor, " q"]:
    """Ranks are counted, not looked up: how many scores are no lower is found in the sorted ones by bisection."""
    values, count = _chosen(scores, kept)
    hits = _no_lower(values, count, values)
    rank = _no_lower(ordered, torch.full_like(count, ordered.shape[1]), values)
    if ignored is not None:
        rank = rank - _no_lower(*_chosen(scores, ignored), values)
    real = torch.arange(values.shape[1], device=values.device) < count
    return torch.where(real, hits.double() / rank.clamp(min=1), 0.0).sum(dim=1) / count[:, 0]


def _chosen(scores: Float[Tensor, "q n"], mask: Bool[Tensor, "q n"]) -> tuple[Float[Tensor, "q k"], Int[Tensor, "q 1"]]:
    """The scores where `mask` holds, rising and then padded with infinity, and how many there are."""
    count = mask.sum(dim=1, keepdim=True)
    query, image = mask.nonzero(as_tuple=True)
    place = torch.arange(len(query), device=scores.device) - (count.cumsum(0) - count)[query, 0]
    values = scores.new_full((len(scores), int(count.max())), torch.inf)
    values[query, place] = scores[query, image]
    return _sorted(values), count


def _no_lower(
    ordered: Float[Tensor, "q n"], count: Int[Tensor, "q 1"], values: Float[Tensor, "q k"]
) -> Int[Tensor, "q k"]:
    """How many of the first `count` numbers of each row of `ordered` are no lower than each value."""
    return count - torch.searchsorted(ordered, values)


def _first(rows: Bool[Tensor, " q"]) -> int:
    return int(rows.nonzero()[0, 0])
