"""Nearest neighbours of every image among all others, exactly."""

import importlib.util

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.errors import require

_PRODUCTS = 2**25  # compared at once: bounds memory, and changes no result


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
    if k < 1:
        raise ValueError(f"a graph needs at least one neighbour per row, and k={k}")
    if not features.isfinite().all():
        raise ValueError("features have NaN or infinity: nothing is near them")
    count = min(k + 1, len(features))
    rows = features.detach().float().contiguous()
    by_faiss = rows.device.type == "cpu" and importlib.util.find_spec("faiss")
    similarity, position = (_by_faiss if by_faiss else _by_blocks)(rows, count)
    # Each list without the row's own position; without its last entry where many copies crowd the row itself out.
    own = position == torch.arange(len(rows), device=position.device)[:, None]
    left_out = torch.where(own.any(dim=1), own.int().argmax(dim=1), count - 1)
    column = torch.arange(count - 1, device=position.device)
    kept = column + (column >= left_out[:, None])
    return similarity.gather(1, kept), position.gather(1, kept)


def _by_faiss(rows: Float[Tensor, "n d"], count: int) -> tuple[Float[Tensor, "n j"], Int[Tensor, "n j"]]:
    faiss = require("faiss", "faiss-cpu")
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows.numpy())
    similarity, position = index.search(rows.numpy(), count)
    return torch.from_numpy(similarity), torch.from_numpy(position)


def _by_blocks(rows: Float[Tensor, "n d"], count: int) -> tuple[Float[Tensor, "n j"], Int[Tensor, "n j"]]:
    size = max(1, _PRODUCTS // max(len(rows), 1))
    parts = [(block @ rows.T).topk(count, dim=1, sorted=True) for block in torch.split(rows, size)]
    return torch.cat([values for values, _ in parts]), torch.cat([positions for _, positions in parts])
