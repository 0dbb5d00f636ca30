"""Shards of a store: global and local descriptors of some hundred images, in two arrays with checksums."""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from seekloop.artifacts import shards as parts
from seekloop.artifacts.shards import Batches
from seekloop.contracts.problems import Problem
from seekloop.store.manifest import KEY, StoreManifest, read_manifest, store_folder


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
    """Size of all arrays of the store on disk, headers left out."""
    rows = manifest.images * (1 + (manifest.cells or 0)) if offsets is None else manifest.images + int(offsets[-1])
    return rows * manifest.dim * np.dtype(manifest.dtype).itemsize


def missing(folder: Path, manifest: StoreManifest) -> list[int]:
    """Shards that are absent, or whose files do not have the size they were written with."""
    return [shard for shard in range(manifest.shards) if not parts.intact(folder, shard)]


def missing_images(folder: Path, manifest: StoreManifest) -> int:
    """Number of images that are neither in a shard nor in a batch that an interrupted extraction has kept."""
    absent, kept = missing(folder, manifest), Batches(folder, KEY)
    images = sum(stop - start for start, stop in map(manifest.span, absent))
    return images - sum(stop - start for shard in absent for start, stop in kept.spans(shard))


def map_array(path: Path) -> Tensor:
    """A `.npy` file as a tensor that reads from disk when touched; writing to it changes nothing on disk."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
    rows = math.prod(shape) > 0  # an array of none cannot be mapped
    return torch.from_numpy(np.load(path, mmap_mode="c" if rows else None, allow_pickle=False))


def verify(path: Path | str) -> tuple[Problem, ...]:
    """Read everything again: compare every shard with its checksum, and check that every value is finite.

    Returns:
        One problem per damaged file, its `where` the path; delete those files (or call `discard`) and extract again:
        only their shards are computed anew.

    Raises:
        StoreError: if there is no store at all.
    """
    folder, found = Path(path), []
    for shard in range(read_manifest(folder).shards):
        if broken := list(parts.damaged(folder, shard)):
            found += broken
            continue
        for name in (whole_name(shard), local_name(shard)):
            if not bool(torch.isfinite(map_array(folder / name)).all()):
                found.append((name, "holds values that are not finite"))
    return tuple(Problem(str(folder / name), complaint) for name, complaint in found)


def discard(path: Path | str, problems: tuple[Problem, ...]) -> None:
    """Delete the damaged files, and the marker that says the store is finished."""
    if problems:
        store_folder(Path(path)).marker.unlink(missing_ok=True)
    for problem in problems:
        Path(problem.where).unlink(missing_ok=True)
