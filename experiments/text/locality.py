"""Locality of a network's cells against what local descriptors gain in the loop.

    python experiments/text/locality.py runs/locality experiments/text/locality 40

The runs are of GO and LO-All with one grid, one pair for each network. A cell's descriptor is computed twice, from the
photograph and from the same photograph in which everything outside of the cell is painted over with its mean colour.
With c the cosine of these two, and c_0 the mean cosine of cells of different photographs, the change is

    (1 - mean c) / (1 - c_0),

0 where a cell sees itself alone, 1 where it is as far from itself as from any other photograph's cell. One cell of each
photograph is drawn by its position. Writes <name>.csv and <name>.png.
"""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional as F

from seekloop.commands.kinds import KINDS
from seekloop.commands.parts import build
from seekloop.contracts.grids import parse_grid, pool_cells
from seekloop.contracts.protocols import Backbone, Collection
from seekloop.contracts.randomness import generator
from seekloop.extraction.images import transform_of
from seekloop.logs.finished import finished_runs


def painted(pixels: Float[Tensor, "3 h w"], rows: slice, columns: slice) -> Float[Tensor, "3 h w"]:
    """The photograph's mean colour outside of a cell, the photograph inside."""
    other = pixels.mean(dim=(1, 2), keepdim=True).expand_as(pixels).clone()
    other[:, rows, columns] = pixels[:, rows, columns]
    return other


def change(own: Float[Tensor, "n d"], alone: Float[Tensor, "n d"]) -> float:
    """How far descriptors of unit length move, relative to the distance of two photographs' cells.

    Example:
        >>> east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> change(torch.stack([east, north]), torch.stack([east, east]))
        0.5
    """
    count = len(own)
    others = (own @ own.T).sum() - own.square().sum()
    apart = 1 - others / (count * (count - 1))
    return float((1 - (own * alone).sum(dim=1).mean()) / apart)


def locality(backbone: Backbone, collection: Collection, grid: tuple[int, int], photographs: int) -> float:
    """The change of cells, over some photographs spread evenly over the collection."""
    transform, own, alone = transform_of(backbone), [], []
    for image in [len(collection.paths) * n // photographs for n in range(photographs)]:
        pixels = transform(collection.read(image))
        cell = int(torch.randint(grid[0] * grid[1], (1,), generator=generator(0, "locality", image)))
        (row, column), (height, width) = divmod(cell, grid[1]), pixels.shape[1:]
        rows = slice(row * height // grid[0], (row + 1) * height // grid[0])
        columns = slice(column * width // grid[1], (column + 1) * width // grid[1])
        for kept, seen in ((own, pixels), (alone, painted(pixels, rows, columns))):
            with torch.inference_mode():
                kept.append(pool_cells(backbone.tokens(seen[None]).patches.float(), grid)[0, cell])
    return change(F.normalize(torch.stack(own), dim=1), F.normalize(torch.stack(alone), dim=1))


def name_of(config: dict[str, Any]) -> str:
    """Network, and which of its maps."""
    backbone, name = config["backbone"], str(config["choices"]["backbone"])
    part = backbone.get("layer") or backbone.get("map")
    return name if part is None else f"{name} {part}"


def pairs(folder: Path) -> dict[str, dict[str, Any]]:
    """For each network the config of a run, and areas under MAP by representation, means over seeds.

    Raises:
        ValueError: if a network lacks GO or LO-All.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in finished_runs(folder, KINDS)[0]:
        config: dict[str, Any] = dict(run.config)
        entry = found.setdefault(name_of(config), {"config": config, "areas": {}})
        entry["areas"].setdefault(config["choices"]["representation"], []).append(run.summary()["map_auc"])
    if lacking := [name for name, entry in found.items() if not {"go", "lo_all"} <= set(entry["areas"])]:
        raise ValueError(f"no runs of both go and lo_all of {', '.join(lacking)} in {folder}")
    return found


def drawn(table: pd.DataFrame) -> Figure:
    """One point for each network."""
    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.scatter(table["change"], table["gain"])
    axes.margins(0.15)
    for row in table.itertuples():
        axes.annotate(str(row.network), (row.change, row.gain), xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("change of a cell when the rest is painted over (1: as another photograph)")
    axes.set_ylabel("area under MAP, LO-All minus GO")
    return figure


def main(folder: str, name: str, photographs: str = "40") -> None:
    """Measure every network of the runs, write the table and draw it."""
    rows = []
    for network, entry in pairs(Path(folder)).items():
        config = OmegaConf.create({key: entry["config"][key] for key in ("backbone", "collection", "grid")})
        (grid,) = parse_grid(config.grid)
        areas = {kind: sum(values) / len(values) for kind, values in entry["areas"].items()}
        moved = locality(build(config, "backbone"), build(config, "collection"), grid, int(photographs))
        rows.append((network, moved, areas["go"], areas["lo_all"], areas["lo_all"] - areas["go"]))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows, columns=["network", "change", "go", "lo_all", "gain"]).sort_values("change")
    table.round(4).to_csv(f"{name}.csv", index=False)
    drawn(table).savefig(f"{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
