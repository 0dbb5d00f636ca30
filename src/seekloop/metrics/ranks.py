"""Where the positives of each query stand in its ranking: what every measure of rankings is computed from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.compiled import in_threads

Result = TypeVar("Result")

BLOCK = 2**22  # scores ranked at once: bounds memory to a few hundred megabytes, and changes no result


@dataclass(frozen=True)
class Ranks:
    """The positives of several queries in their rankings, after what is ignored has been taken out.

    Images with equal scores share the worst rank of their group.

    Attributes:
        hits: how many positives stand no lower than this one, itself among them; p is the most that a query has.
        rank: how many images stand no lower: 1 is the first.
        ranked: which entries are real; those come first, in any order.
        positives: how many there are, ranked or not.
    """

    hits: Int[Tensor, "q p"]
    rank: Int[Tensor, "q p"]
    ranked: Bool[Tensor, "q p"]
    positives: Int[Tensor, " q"]


def ranks_of_positives(
    scores: Float[Tensor, "q n"], relevant: Bool[Tensor, "q n"], ignored: Bool[Tensor, "q n"] | None = None
) -> Ranks:
    """Rank the images of every query, and find its positives.

    Args:
        scores: any sign, higher is better; minus infinity (an unreadable image) is the last rank.
        relevant: the positives.
        ignored: images taken out of the ranking, relevant or not; None takes none out.

    Raises:
        ValueError: if a score is NaN.
    """

    def ranked(block: slice) -> Ranks:
        return count_ranks(scores[block], relevant[block], None if ignored is None else ignored[block])

    parts = in_blocks(ranked, scores)
    width = max(part.rank.shape[1] for part in parts)
    room = [(0, width - part.rank.shape[1]) for part in parts]
    return Ranks(
        torch.cat([F.pad(part.hits, more) for part, more in zip(parts, room, strict=True)]),
        torch.cat([F.pad(part.rank, more, value=1) for part, more in zip(parts, room, strict=True)]),
        torch.cat([F.pad(part.ranked, more) for part, more in zip(parts, room, strict=True)]),
        torch.cat([part.positives for part in parts]),
    )


def count_ranks(
    scores: Float[Tensor, "q n"],
    relevant: Bool[Tensor, "q n"],
    ignored: Bool[Tensor, "q n"] | None,
    ordered: Float[Tensor, "q n"] | None = None,
) -> Ranks:
    """Count ranks: how many scores are no lower is found in the sorted ones by bisection.

    Args:
        scores: of every image.
        relevant: the positives.
        ignored: images taken out of the ranking, relevant or not.
        ordered: the scores from `rising`, where they are sorted already.
    """
    ordered = rising(scores) if ordered is None else ordered
    values, count = _chosen(scores, relevant if ignored is None else relevant & ~ignored)
    hits = count - torch.searchsorted(values, values)  # no lower: all but those that come before it in rising order
    rank = ordered.shape[1] - torch.searchsorted(ordered, values)
    if ignored is not None:
        dropped, total = _chosen(scores, ignored)
        rank = rank - (total - torch.searchsorted(dropped, values))
    real = torch.arange(values.shape[1], device=values.device) < count
    return Ranks(hits, rank.clamp(min=1), real, count[:, 0])


def in_blocks(measure: Callable[[slice], Result], scores: Float[Tensor, "q n"]) -> list[Result]:
    """Measure some queries at a time, side by side in threads."""
    size = max(1, BLOCK // max(1, scores.shape[1]))
    blocks = [slice(start, start + size) for start in range(0, len(scores), size)]
    return in_threads(measure, blocks, torch.get_num_threads())


def rising(scores: Float[Tensor, "q n"]) -> Float[Tensor, "q n"]:
    """Each query's scores, sorted. numpy's sort uses vector instructions, torch's does not.

    Raises:
        ValueError: if a score is NaN.
    """
    if (missing := scores.isnan().any(dim=1)).any():
        raise ValueError(f"scores hold NaN, for instance of query {first_of(missing)}; rankings need numbers")
    if scores.device.type == "cpu":
        return torch.from_numpy(np.sort(scores.contiguous().numpy(), axis=1))
    return scores.sort(dim=1).values


def first_of(rows: Bool[Tensor, " q"]) -> int:
    """The first query whose row is true."""
    return int(rows.nonzero()[0, 0])


def _chosen(scores: Float[Tensor, "q n"], mask: Bool[Tensor, "q n"]) -> tuple[Float[Tensor, "q k"], Int[Tensor, "q 1"]]:
    """The scores where `mask` holds, rising and then padded with infinity, and how many there are."""
    count = mask.sum(dim=1, keepdim=True)
    query, image = mask.nonzero(as_tuple=True)
    column = torch.arange(len(query), device=scores.device) - (count.cumsum(0) - count)[query, 0]
    values = scores.new_full((len(scores), int(count.max())), torch.inf)
    values[query, column] = scores[query, image]
    return rising(values), count
