"""Nearest neighbours of every image among all others: exactly, or by an index that leaves some out."""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.errors import require

Index = Literal["flat", "ivf", "hnsw"]
"""How neighbours are looked for: among all rows; in the nearest clusters; along a graph of them (both by faiss)."""
Lookup = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""Takes rows, and how many to find for each; returns inner products, highest first, and positions, -1 for nothing."""
_PRODUCTS = 2**25  # compared at once: bounds memory, and changes no result
_PER_CLUSTER, _PROBED = 64, 0.1  # rows of a cluster, at least; share of the clusters that are looked into
_LINKS, _VIEW = 32, 4  # of a row in the graph; rows kept in view for each one asked for


def nearest(features: Float[Tensor, "n d"], k: int) -> tuple[Float[Tensor, "n _"], Int[Tensor, "n _"]]:
    """Find the `k` other rows with the highest inner product with each row, highest first; all where there are fewer.

    By faiss where the rows are on a CPU and it is installed, else block by block in torch. A row is never its own
    neighbour, and is known by its position: among exact copies it need not come first in its own list.

    Args:
        features: rows; in single precision from here on.
        k: neighbours per row.

    Returns:
        Inner products, and positions of the neighbours, (n, min(k, n - 1)) each.

    Raises:
        ValueError: if k is below 1, or a value is not finite.
    """
    rows = features.detach().float().contiguous()
    return others(lookup(rows), rows, 0, len(rows), k)


def lookup(rows: Float[Tensor, "n d"], index: Index = "flat") -> Lookup:
    """Make these rows searchable.

    Args:
        rows: float32; they are not copied for an exact search.
        index: flat, for exact neighbours; ivf or hnsw, which find most of them much faster among many rows.

    Raises:
        ValueError: if a value is not finite.
        MissingExtraError: for ivf or hnsw, without faiss.
    """
    if not rows.isfinite().all():
        raise ValueError("features have NaN or infinity: nothing is near them")
    if index == "flat":
        by_faiss = rows.device.type == "cpu" and importlib.util.find_spec("faiss")
        return partial(_by_faiss if by_faiss else _by_blocks, rows)
    return partial(_by_index, _built(rows, index))


def others(
    find: Lookup, rows: Float[Tensor, "n d"], first: int, end: int, k: int
) -> tuple[Float[Tensor, "b _"], Int[Tensor, "b _"]]:
    """Find the neighbours of some rows among all others, as `nearest` does for all.

    Args:
        find: of `lookup`, of these rows.
        rows: all of them.
        first: of the rows whose neighbours are looked for.
        end: the one after the last of them.
        k: neighbours per row.

    Returns:
        As `nearest`. Where an index finds too few, a row stands for its own neighbour, with an inner product of 0.

    Raises:
        ValueError: if k is below 1.
    """
    if k < 1:
        raise ValueError(f"a graph needs at least one neighbour per row, and k={k}")
    count = min(k + 1, len(rows))
    similarity, position = find(rows[first:end], count)
    # Each list without the row's own position; without its last entry where many copies crowd the row itself out.
    number = torch.arange(first, end, device=position.device)[:, None]
    own = position == number
    left_out = torch.where(own.any(dim=1), own.int().argmax(dim=1), count - 1)
    column = torch.arange(count - 1, device=position.device)
    kept = column + (column >= left_out[:, None])
    similarity, position = similarity.gather(1, kept), position.gather(1, kept)
    found = position >= 0
    return similarity.masked_fill(~found, 0.0), torch.where(found, position, number)


def recall(rows: Float[Tensor, "n d"], position: Int[Tensor, "s k"], sample: Int[Tensor, " s"]) -> float:
    """Share of the exact neighbours of some rows that were found; of equally near ones, any counts.

    Args:
        rows: all of them.
        position: neighbours that were found of the sample.
        sample: positions of some rows.
    """
    if not position.numel():
        return 1.0
    products = rows[sample] @ rows.T
    products[torch.arange(len(sample)), sample] = -torch.inf
    least = products.topk(position.shape[1], dim=1).values[:, -1:]
    return float((products.gather(1, position) >= least - 1e-6).double().mean())


Pairs = tuple[Float[Tensor, "b j"], Int[Tensor, "b j"]]


def _by_faiss(rows: Float[Tensor, "n d"], asked: Float[Tensor, "b d"], count: int) -> Pairs:
    faiss = require("faiss", "faiss-cpu")
    faiss.omp_set_num_threads(torch.get_num_threads())
    similarity, position = faiss.knn(asked.numpy(), rows.numpy(), count, faiss.METRIC_INNER_PRODUCT)
    return torch.from_numpy(similarity), torch.from_numpy(position)


def _by_index(index: Any, asked: Float[Tensor, "b d"], count: int) -> Pairs:  # noqa: ANN401 - faiss has no types
    faiss = require("faiss", "faiss-cpu")
    faiss.omp_set_num_threads(torch.get_num_threads())
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = max(_VIEW * count, _LINKS)
    similarity, position = index.search(asked.numpy(), count)
    return torch.from_numpy(similarity), torch.from_numpy(position)


def _built(rows: Float[Tensor, "n d"], index: Index) -> Any:  # noqa: ANN401
    """An index of faiss over these rows, the same however many threads there are."""
    faiss = require("faiss", "faiss-cpu")
    if index == "hnsw":
        made = faiss.IndexHNSWFlat(rows.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
        faiss.omp_set_num_threads(1)  # several threads would link rows in whatever order they come
    else:
        clusters = max(1, min(int(4 * len(rows) ** 0.5), len(rows) // _PER_CLUSTER))
        made = faiss.index_factory(rows.shape[1], f"IVF{clusters},Flat", faiss.METRIC_INNER_PRODUCT)
        made.nprobe = max(1, round(_PROBED * clusters))
        faiss.omp_set_num_threads(torch.get_num_threads())
        made.train(rows.numpy())
    made.add(rows.numpy())
    return made


def _by_blocks(rows: Float[Tensor, "n d"], asked: Float[Tensor, "b d"], count: int) -> Pairs:
    size = max(1, _PRODUCTS // max(len(rows), 1))
    parts = [(block @ rows.T).topk(count, dim=1, sorted=True) for block in torch.split(asked, size)]
    return torch.cat([values for values, _ in parts]), torch.cat([positions for _, positions in parts])
