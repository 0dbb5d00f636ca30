"""Taking the few best of many candidates, exactly: equal keys go to the lower position."""

import torch
from jaxtyping import Bool, Int, Num
from torch import Tensor


def lowest(keys: Num[Tensor, "q n"], candidate: Bool[Tensor, "q n"], budget: int) -> Int[Tensor, "q {budget}"]:
    """The `budget` candidates with the lowest keys, lowest first; among equals the lower position first.

    Args:
        keys: numbers; infinities are allowed.
        candidate: what may be chosen.
        budget: how many, for every query.

    Returns:
        Positions into the columns of `keys`, distinct.

    Raises:
        ValueError: if a query has fewer candidates, or a candidate's key is NaN.
    """
    require_candidates(candidate, budget)
    return lowest_first(keys, candidate, budget)


def lowest_first(keys: Num[Tensor, "q n"], candidate: Bool[Tensor, "q n"], budget: int) -> Int[Tensor, "q {budget}"]:
    """Like `lowest`, but where a query has fewer candidates, columns after its last one are filled with others."""
    if budget == 0:
        return torch.zeros(len(keys), 0, dtype=torch.long, device=keys.device)
    if (keys.isnan() & candidate).any():
        raise ValueError("a candidate's score is NaN: there is no order to choose by")
    top = torch.finfo(keys.dtype).max  # what is no candidate lies beyond every candidate, even one at infinity
    keys = keys.clamp(max=top).masked_fill_(~candidate, torch.inf)
    last = keys.topk(budget, dim=1, largest=False, sorted=True).values[:, -1:]
    chosen = keys <= last
    crowded = (chosen.sum(dim=1) > budget).nonzero()[:, 0]
    chosen[crowded] = _thinned(keys[crowded], last[crowded], budget)
    positions = chosen.nonzero()[:, 1].reshape(len(keys), budget)  # rising within each query, so a stable sort is due
    return positions.gather(1, keys.gather(1, positions).sort(dim=1, stable=True).indices)


def require_candidates(candidate: Bool[Tensor, "q n"], budget: int) -> None:
    """Refuse a budget that some query's candidates cannot fill.

    Raises:
        ValueError: saying which query, and how many it has.
    """
    left = candidate.sum(dim=1)
    if (left < budget).any():
        query = int(left.argmin())
        raise ValueError(
            f"cannot choose {budget} images for query {query}: only {int(left[query])} candidates are left"
        )


def _thinned(keys: Num[Tensor, "q n"], last: Num[Tensor, "q 1"], budget: int) -> Bool[Tensor, "q n"]:
    """Of the keys equal to the last one chosen, only as many as fit, from the left."""
    below = keys < last
    level = keys == last
    room = budget - below.sum(dim=1, keepdim=True)
    return below | (level & (level.cumsum(dim=1) <= room))
