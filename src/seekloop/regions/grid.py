"""Regular grids: every image is cut into the same cells."""

from seekloop.contracts.declared import component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import common_grid, divides, grid_boxes, parse_grid, write_grid
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import Regions
from seekloop.regions.parts import Parts


@component
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

    grid: str = "4x4"
    finest: str = "4x4"

    def __post_init__(self) -> None:
        parse_grid(self.grid, "grid", self)
        if len(parse_grid(self.finest, "finest", self)) > 1:
            raise ConfigError("finest", self.finest, "it is more than one grid", "Write one, such as 4x4.", self)

    def parts(self, collection: Collection, poolable: bool) -> Parts:
        """The cells to store; the same for every collection."""
        asked, (finest,) = parse_grid(self.grid), parse_grid(self.finest)
        shared = finest if all(divides(grid, finest) for grid in asked) else common_grid(asked)
        grids = (shared,) if poolable else tuple(sorted(asked))
        recipe = Recipe("regions", {"class": "Grid", "grids": write_grid(grids)})
        return Parts(Regions(grid_boxes(grids), None), grids, asked, poolable, recipe)
