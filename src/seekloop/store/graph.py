"""A k-NN graph on disk: its weights, which image each vertex is from, and how much of the exact graph they are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from scipy import sparse
from torch import Tensor

from seekloop.artifacts import files, shards
from seekloop.artifacts.shards import Batches
from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.store.manifest import KEY, store_folder

DESCRIPTION = "graph.json"  # the recipe of the graph
INDPTR, INDICES, WEIGHTS, IMAGE = "indptr.npy", "indices.npy", "weights.npy", "image.npy"
Weights = sparse.csr_array


@dataclass(frozen=True)
class StoredGraph:
    """A graph that was read from disk.

    Attributes:
        folder: where it lies.
        weights: W, (n, n), symmetric, as they are.
        image: that each vertex is from: its own number where vertices are images.
        recall: share of the exact neighbours that were found, on a sample; 1 for an exact search.
    """

    folder: Path
    weights: Weights
    image: Int[Tensor, " v"]
    recall: float


def begin(folder: Path, recipe: Recipe) -> Batches:
    """Start, or go on: the lists of neighbours that are kept until the graph is written. Only inside a claim.

    Args:
        folder: claimed.
        recipe: of the graph.
    """
    if store_folder(folder).begin(DESCRIPTION, recipe.key) is None:
        files.write_json(folder / DESCRIPTION, {"key": recipe.key, "recipe": recipe.plain()}, KEY)
    return Batches(folder, KEY)


def finish(folder: Path, weights: Weights, image: Int[Tensor, " v"], recall: float) -> None:
    """Write a graph with the checksums of its files, then mark it as finished. Only inside a claim.

    Args:
        folder: that `begin` prepared.
        weights: as in `StoredGraph`.
        image: as in `StoredGraph`.
        recall: as in `StoredGraph`.
    """
    arrays = {INDPTR: weights.indptr, INDICES: weights.indices, WEIGHTS: weights.data, IMAGE: image.numpy()}
    shards.write_shard(folder, 0, arrays, {"recall": recall}, KEY)
    Batches(folder, KEY).clear()
    store_folder(folder).finish()


def read_graph(folder: Path) -> StoredGraph:
    """Read a finished graph.

    Raises:
        StoreError: if it is not finished, or a file is missing or damaged.
    """
    if not store_folder(folder).finished:
        raise StoreError(f"{folder} holds no finished graph.")
    for name, why in shards.damaged(folder, 0):
        raise StoreError(f"{folder / name} is damaged: {why}. Delete {store_folder(folder).marker} and run again.")
    start, index, data, image = (np.load(folder / name) for name in (INDPTR, INDICES, WEIGHTS, IMAGE))
    weights = sparse.csr_array((data, index, start), shape=(len(image), len(image)))
    return StoredGraph(folder, weights, torch.from_numpy(image), float(shards.read_record(folder, 0)["recall"]))
