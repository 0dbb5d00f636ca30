"""Content of a store's shards: global and local descriptors of some hundred images, in two arrays."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from seekloop.artifacts import shards as parts
from seekloop.store.manifest import KEY, StoreManifest


def whole_name(shard: int) -> str:
    """File of the global descriptors."""
    return f"whole-{shard:05d}.npy"


def local_name(shard: int) -> str:
    """File of the local descriptors."""
    return f"local-{shard:05d}.npy"


def shapes(manifest: StoreManifest, offsets: Int[Tensor, " ends"] | None, shard: int) -> dict[str, tuple[int, ...]]:
    """The two arrays of a shard: names and shapes."""
    start, stop = manifest.span(shard)
    if offsets is None:
        local: tuple[int, ...] = (stop - start, manifest.cells or 0, manifest.dim)
    else:
        local = (int(offsets[stop] - offsets[start]), manifest.dim)
    return {whole_name(shard): (stop - start, manifest.dim), local_name(shard): local}


def expected_bytes(manifest: StoreManifest, offsets: Int[Tensor, " ends"] | None) -> int:
    """What all arrays of the store take on disk, headers left out."""
    rows = manifest.images * (1 + (manifest.cells or 0)) if offsets is None else manifest.images + int(offsets[-1])
    return rows * manifest.dim * np.dtype(manifest.dtype).itemsize


def missing(folder: Path, manifest: StoreManifest) -> list[int]:
    """Shards that are absent, or whose files do not have the size they were written with."""
    return [shard for shard in range(manifest.shards) if not parts.intact(folder, shard)]


def write_shard(
    folder: Path, shard: int, whole: np.ndarray, local: np.ndarray, unreadable: list[tuple[int, str]]
) -> None:
    """Write the arrays, then the record that makes them count."""
    rows = [{"image": image, "why": why} for image, why in sorted(unreadable)]
    parts.write_shard(folder, shard, {whole_name(shard): whole, local_name(shard): local}, {"unreadable": rows}, KEY)


def map_array(path: Path) -> Tensor:
    """A `.npy` file as a tensor that reads from disk when touched; writing to it changes nothing on disk."""
    array = np.load(path, mmap_mode="c", allow_pickle=False) if _has_rows(path) else np.load(path, allow_pickle=False)
    return torch.from_numpy(array)


def _has_rows(path: Path) -> bool:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        return math.prod(shape) > 0


def damaged(folder: Path, manifest: StoreManifest) -> Iterator[tuple[str, str]]:
    """Names of damaged files, each with what is wrong: reads everything."""
    for shard in range(manifest.shards):
        broken = list(parts.damaged(folder, shard))
        yield from broken
        for name in (whole_name(shard), local_name(shard)):
            if not broken and not bool(torch.isfinite(map_array(folder / name)).all()):
                yield name, "holds values that are not finite"
