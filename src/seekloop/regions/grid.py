"""Regular grids: every image is cut into the same cells."""

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import common_grid, divides, grid_boxes, parse_grid, write_grid
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import Regions
from seekloop.regions.parts import Parts

__all__ = ["Grid", "grid_boxes", "parse_grid"]


class Grid:
    """Cells of one grid, or of several together.

    Where descriptors are means of tokens, the cells of one fine grid are stored and all grids that divide it are read
    from the same store. Where every cell is cropped and described on its own, exactly the asked cells are stored.

    Args:
        grid: rows x columns, or a union such as "1x1+2x2+4x4".
        finest: the grid to store where every asked one divides it; else the least common multiple of the asked ones.

    Raises:
        ConfigError: if `grid` is no list of grids, or `finest` is not one grid.
    """

    def __init__(self, grid: str, finest: str) -> None:
        self.grids = parse_grid(grid)
        finest_grids = parse_grid(finest)
        if len(finest_grids) > 1:
            raise ConfigError("regions.finest", finest, "it is more than one grid", "Write one, such as 4x4.")
        self.finest = finest_grids[0]

    def parts(self, collection: Collection, poolable: bool) -> Parts:
        """The cells to store; the same for every collection."""
        shared = self.finest if all(divides(grid, self.finest) for grid in self.grids) else common_grid(self.grids)
        grids = (shared,) if poolable else tuple(sorted(self.grids))
        recipe = Recipe("regions", {"class": "Grid", "grids": write_grid(grids)})
        return Parts(Regions(grid_boxes(grids), None), grids, self.grids, poolable, recipe)
