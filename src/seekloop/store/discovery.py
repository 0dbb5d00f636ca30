"""Discovered regions of a collection as a graph, on disk: vectors, saliency, centrality, whitening and edges."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from seekloop.artifacts import files
from seekloop.contracts.discovery import RegionGraph
from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.store.manifest import KEY, store_folder

DESCRIPTION = "discovery.json"  # the recipe of the graph
COLUMNS = ("vectors", "saliency", "centrality", "image", "box", "mean")
EDGES = ("indptr", "indices", "data")
OPEN = 2  # graphs kept in memory


def keep_graph(folder: Path, recipe: Recipe, graph: RegionGraph, weights: sparse.csr_array) -> None:
    """Write a graph and finish its folder. Only inside a claim.

    Args:
        folder: claimed.
        recipe: of the graph.
        graph: its vertices.
        weights: of its edges, W.
    """
    if store_folder(folder).begin(DESCRIPTION, recipe.key) is None:
        files.write_json(folder / DESCRIPTION, {"key": recipe.key, "recipe": recipe.plain()}, KEY)
    for name in COLUMNS:
        files.write_array(_path(folder, name), getattr(graph, name).numpy(), KEY)
    if graph.axes is not None:
        files.write_array(_path(folder, "axes"), graph.axes.numpy(), KEY)
    for name in EDGES:
        files.write_array(_path(folder, name), getattr(weights, name), KEY)
    store_folder(folder).finish()


@lru_cache(maxsize=OPEN)
def kept_graph(folder: Path) -> RegionGraph:
    """A finished graph; its content never changes, so it stays in memory.

    Raises:
        StoreError: if a file is missing or damaged.
    """
    columns = {name: torch.from_numpy(_read(folder, name)) for name in COLUMNS}
    axes = torch.from_numpy(_read(folder, "axes")) if _path(folder, "axes").exists() else None
    return RegionGraph(**columns, axes=axes)


def kept_edges(folder: Path) -> sparse.csr_array:
    """Weights of a finished graph's edges, W.

    Raises:
        StoreError: if a file is missing or damaged.
    """
    start, index, data = (_read(folder, name) for name in EDGES)
    return sparse.csr_array((data, index, start), shape=(len(start) - 1,) * 2)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _read(folder: Path, name: str) -> np.ndarray:
    try:
        found: np.ndarray = np.load(_path(folder, name), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        marker = store_folder(folder).marker
        raise StoreError(f"{_path(folder, name)} is missing or damaged. Delete {marker} and run again.") from error
    return found
