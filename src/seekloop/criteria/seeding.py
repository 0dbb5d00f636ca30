"""k-means++ seeding: each point drawn with a chance that grows with its squared distance to all before it."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor


def drawn_by_distance(
    squares: Float[Tensor, " n"],
    candidate: Bool[Tensor, " n"],
    budget: int,
    rng: Generator,
    squares_to: Callable[[int], Float[Tensor, " n"]],
) -> Int[Tensor, " {budget}"]:
    """Draw candidates without replacement, each in proportion to its squared distance to the nearest centre.

    Where no candidate is away from the centres, the first is taken.

    Args:
        squares: squared distance of each point to its nearest centre so far; infinite where there is none yet: then
            the first is drawn with equal chances.
        candidate: what may be drawn, at least `budget` points.
        budget: how many.
        rng: draws.
        squares_to: squared distances of all points to a point.

    Returns:
        Positions, in the order drawn.

    Reference:
        Arthur & Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
    """
    squares, free = squares.double().cpu(), candidate.cpu().clone()
    chosen: list[int] = []
    for _ in range(budget):
        chances = torch.where(free, squares.isinf().double() if squares[free].isinf().any() else squares, 0.0)
        chosen.append(_drawn(chances, free, rng))
        free[chosen[-1]] = False
        squares = squares.minimum(squares_to(chosen[-1]).double().cpu().clamp(min=0.0))
    return torch.tensor(chosen, dtype=torch.long, device=candidate.device)


def _drawn(chances: Float[Tensor, " n"], free: Bool[Tensor, " n"], rng: Generator) -> int:
    ends = chances.cumsum(dim=0)
    mark = torch.rand((), generator=rng, dtype=torch.float64) * ends[-1]
    if not mark < ends[-1]:  # nothing to draw in proportion to
        return int(free.int().argmax())
    return int(torch.searchsorted(ends, mark, right=True))
