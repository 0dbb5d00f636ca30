"""Shards: the descriptors of some hundred images, in two arrays and a record that is written after them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from seekloop.store import files
from seekloop.store.manifest import StoreManifest


def whole_name(shard: int) -> str:
    """File of the global descriptors."""
    return f"whole-{shard:05d}.npy"


def local_name(shard: int) -> str:
    """File of the local descriptors."""
    return f"local-{shard:05d}.npy"


def record_name(shard: int) -> str:
    """File with the checksums of the two arrays and the unreadable images; there once they are."""
    return f"shard-{shard:05d}.json"


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
    return [shard for shard in range(manifest.shards) if not _intact(folder, shard)]


def _intact(folder: Path, shard: int) -> bool:
    try:
        record = read_record(folder, shard)
        return all((folder / name).stat().st_size == entry["bytes"] for name, entry in record["arrays"].items())
    except (FileNotFoundError, ValueError, KeyError):
        return False


def read_record(folder: Path, shard: int) -> dict[str, Any]:
    """Checksums of a shard's arrays, and its unreadable images with the reasons."""
    record: dict[str, Any] = files.read_json(folder / record_name(shard))
    return record


def write_shard(
    folder: Path, shard: int, whole: np.ndarray, local: np.ndarray, unreadable: list[tuple[int, str]]
) -> None:
    """Write the arrays, then the record that makes them count."""
    (folder / record_name(shard)).unlink(missing_ok=True)
    arrays = {
        whole_name(shard): files.write_array(folder / whole_name(shard), whole),
        local_name(shard): files.write_array(folder / local_name(shard), local),
    }
    unreadable_rows = [{"image": image, "why": why} for image, why in sorted(unreadable)]
    files.write_json(folder / record_name(shard), {"arrays": arrays, "unreadable": unreadable_rows})


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
        try:
            arrays = read_record(folder, shard)["arrays"]
        except (FileNotFoundError, ValueError, KeyError):
            yield record_name(shard), "missing or no JSON"
            continue
        for name, entry in arrays.items():
            if complaint := _complaint(folder / name, entry["blake2b"]):
                yield name, complaint


def _complaint(path: Path, expected: str) -> str | None:
    if not path.exists():
        return "missing"
    if files.checksum(path) != expected:
        return "checksum differs"
    return None if bool(torch.isfinite(map_array(path)).all()) else "holds values that are not finite"
