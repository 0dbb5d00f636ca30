"""Numbers read off a curve over rounds. Axis t is the rounds, the query alone first."""

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor


def area_under_curve(values: Float[Tensor, "*q t"]) -> Float[Tensor, "*q"]:
    r"""Area under a curve over rounds by the trapezoid, divided by the number of intervals: a constant keeps its value.

    .. math:: \frac{1}{T} \sum_{t=1}^{T} \frac{v_{t-1} + v_t}{2}

    Raises:
        ValueError: if there is a single point, which spans no area.

    Example:
        >>> area_under_curve(torch.tensor([0.0, 1.0, 1.0]))
        tensor(0.7500)
    """
    intervals = values.shape[-1] - 1
    if intervals < 1:
        raise ValueError(f"an area needs at least two points, got {values.shape[-1]}")
    return torch.trapezoid(values, dim=-1) / intervals


def first_reached(positives: Int[Tensor, "q t"], clock: Num[Tensor, "q t"], goal: int) -> Float[Tensor, " q"]:
    """The clock at the end of the first round by which `goal` positives are found; NaN where they never are.

    Rounds are not divided: a user sees the answers of a round when it is over.

    Args:
        positives: positives found by the end of each round, in all; the query's own image counts.
        clock: seconds, or labels, by the end of each round.
        goal: how many.
    """
    reached = positives >= goal
    first = reached.int().argmax(dim=1, keepdim=True)
    when = clock.gather(1, first)[:, 0].double()
    return torch.where(reached.any(dim=1), when, torch.nan)
