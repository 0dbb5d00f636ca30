"""Grid geometry: regular grids of cells, their boxes, and coarse cells from fine ones.

Cells are counted row by row, and grid after grid where several are asked for.
"""

import math
import re
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.contracts.errors import ConfigError

Grid = tuple[int, int]


def parse_grid(text: str, argument: str = "grid", owner: object = None) -> tuple[Grid, ...]:
    """Grids written as rows x columns, joined by plus signs.

    Args:
        text: what is written.
        argument: where, for messages.
        owner: the part whose argument it is.

    Raises:
        ConfigError: if the text is no such list, has a grid without cells, or names a grid twice.

    Example:
        >>> parse_grid("1x1+2x3")
        ((1, 1), (2, 3))
    """
    matches = [re.fullmatch(r"\s*([1-9]\d*)\s*x\s*([1-9]\d*)\s*", part) for part in text.split("+")]
    grids = tuple((int(match[1]), int(match[2])) for match in matches if match)
    if len(grids) < len(matches):
        fix = f"Write for example {argument}=1x1+2x2+4x4."
        raise ConfigError(argument, text, "it is not rows x columns, joined by +", fix, owner)
    if len(set(grids)) < len(grids):
        raise ConfigError(argument, text, "it names a grid twice", "Name each grid once.", owner)
    return grids


def write_grid(grids: Sequence[Grid]) -> str:
    """The opposite of `parse_grid`."""
    return "+".join(f"{rows}x{columns}" for rows, columns in grids)


def divides(coarse: Grid, fine: Grid) -> bool:
    """Whether every cell of `coarse` is a union of whole cells of `fine`."""
    return fine[0] % coarse[0] == 0 and fine[1] % coarse[1] == 0


def common_grid(grids: Sequence[Grid]) -> Grid:
    """The smallest grid that all of these divide.

    Example:
        >>> common_grid([(2, 2), (3, 1)])
        (6, 2)
    """
    return math.lcm(*(rows for rows, _ in grids)), math.lcm(*(columns for _, columns in grids))


def grid_boxes(grids: Sequence[Grid]) -> Float[Tensor, "m 4"]:
    """The boxes of all cells.

    Example:
        >>> grid_boxes([(1, 2)])
        tensor([[0.0000, 0.0000, 0.5000, 1.0000],
                [0.5000, 0.0000, 1.0000, 1.0000]])
    """
    cells = [
        (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)
        for rows, columns in grids
        for row in range(rows)
        for column in range(columns)
    ]
    return torch.tensor(cells, dtype=torch.float32).reshape(-1, 4)


def pool_cells(cells: Float[Tensor, "n rows columns d"], grid: Grid) -> Float[Tensor, "n m d"]:
    """Means of coarse cells from the means of the fine cells they consist of.

    Exact, because all fine cells have the same area. Unit length is a matter for afterwards.

    Raises:
        ConfigError: if the coarse grid does not divide the fine one.
    """
    n, rows, columns, d = cells.shape
    if not divides(grid, (rows, columns)):
        raise ConfigError(
            "grid",
            write_grid([grid]),
            f"it does not divide the stored {rows}x{columns} cells",
            "Ask for a grid that does, or extract with this one.",
        )
    if grid == (rows, columns):
        return cells.flatten(1, 2)
    blocks = cells.reshape(n, grid[0], rows // grid[0], grid[1], columns // grid[1], d)
    return blocks.mean(dim=(2, 4)).flatten(1, 2)


def check_not_finer(grids: Sequence[Grid], tokens: Grid) -> None:
    """Refuse grids with more rows or columns than the map of tokens has.

    Raises:
        ConfigError: with both sizes.
    """
    for rows, columns in grids:
        if rows > tokens[0] or columns > tokens[1]:
            raise ConfigError(
                "grid",
                write_grid(grids),
                f"{rows}x{columns} cells are finer than the backbone's {tokens[0]}x{tokens[1]} tokens",
                "Take a coarser grid, a larger backbone.image_size, or encoding=crops.",
            )
