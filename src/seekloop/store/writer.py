"""The writer: descriptors come in batches, shards go to disk as soon as they are whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.records import Regions
from seekloop.store import files, manifest, shards
from seekloop.store.manifest import StoreManifest


def create(folder: Path, described: StoreManifest, regions: Regions) -> StoreManifest:
    """Start a store, or go on with one: returns the manifest that its files obey.

    That is the one already in the folder where there is one, so that all shards have the same number of images.

    Raises:
        StoreError: if the folder holds other content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.remove_drafts(folder)
    if (folder / manifest.MANIFEST).exists():
        found = manifest.read_manifest(folder)
        if found.key != described.key:
            raise StoreError(f"{folder} holds other descriptors than asked for. Choose another store_dir.")
        return found
    if regions.offsets is not None:
        files.write_array(folder / manifest.OFFSETS, regions.offsets.numpy())
        files.write_array(folder / manifest.BOXES, regions.boxes.numpy())
        for name, column in ((manifest.LEVELS, regions.level), (manifest.KINDS, regions.kind)):
            if column is not None:
                files.write_array(folder / name, column.numpy())
    described.write(folder)
    return described


@dataclass
class _Shard:
    """Rows of one shard while they come in."""

    whole: np.ndarray
    local: np.ndarray
    waiting: int
    unreadable: list[tuple[int, str]] = field(default_factory=list)


class StoreWriter:
    """Collects rows until a shard is whole, checks them, and writes it. Several may write different shards at once.

    Args:
        folder: a folder that `create` prepared.
        described: the manifest that `create` returned.
        offsets: of ragged regions, else None.
        paths: of the images, for messages.
    """

    def __init__(
        self, folder: Path, described: StoreManifest, offsets: Int[Tensor, " ends"] | None, paths: Sequence[str]
    ) -> None:
        self.folder = folder
        self.manifest = described
        self.offsets = offsets
        self.paths = paths
        self._open: dict[int, _Shard] = {}

    def add(
        self,
        image: Int[Tensor, " b"],
        whole: Float[Tensor, "b d"],
        local: Float[Tensor, "r d"],
        readable: Bool[Tensor, " b"],
        reasons: Sequence[str],
    ) -> None:
        """Take a batch: unnormalised descriptors, the local ones image after image, of images of one shard.

        Args:
            image: positions in the collection, ascending.
            whole: global descriptors.
            local: local descriptors.
            readable: False where the rows are placeholders; zeros are stored.
            reasons: why, for each unreadable image.

        Raises:
            StoreError: if a value is not finite, naming the images.
            ConfigError: if a value does not fit the stored type.
        """
        number = int(image[0]) // self.manifest.shard
        shard = self._open.setdefault(number, self._empty(number))
        counts = self._counts(image)
        owner = torch.repeat_interleave(torch.arange(len(image)), counts)
        whole, local = whole.float().clone(), local.float().clone()
        whole[~readable], local[~readable[owner]] = 0, 0
        self._check(image, whole, local, owner)
        start, _ = self.manifest.span(number)
        shard.whole[(image - start).numpy()] = whole.numpy()
        shard.local[self._local_rows(image, counts, start)] = local.reshape(-1, *shard.local.shape[1:]).numpy()
        shard.unreadable += zip(image[~readable].tolist(), reasons, strict=True)
        shard.waiting -= len(image)
        if shard.waiting == 0:
            shards.write_shard(self.folder, number, shard.whole, shard.local, shard.unreadable)
            del self._open[number]

    def _empty(self, number: int) -> _Shard:
        shapes = shards.shapes(self.manifest, self.offsets, number)
        start, stop = self.manifest.span(number)
        whole, local = (np.zeros(shape, self.manifest.dtype) for shape in shapes.values())
        return _Shard(whole, local, stop - start)

    def _counts(self, image: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        if self.offsets is None:
            return torch.full_like(image, self.manifest.cells or 0)
        return self.offsets[image + 1] - self.offsets[image]

    def _local_rows(self, image: Int[Tensor, " b"], counts: Int[Tensor, " b"], start: int) -> np.ndarray:
        if self.offsets is None:
            return (image - start).numpy()
        first = self.offsets[image] - self.offsets[start]
        within = torch.arange(int(counts.sum())) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        return (torch.repeat_interleave(first, counts) + within).numpy()

    def _check(
        self,
        image: Int[Tensor, " b"],
        whole: Float[Tensor, "b d"],
        local: Float[Tensor, "r d"],
        owner: Int[Tensor, " r"],
    ) -> None:
        peak = torch.maximum(whole.abs().amax(dim=1), _peaks(local, owner, len(image)))
        if (~torch.isfinite(peak)).any():
            raise StoreError(
                f"The backbone gave values that are not finite for {self._names(image[~torch.isfinite(peak)])}. "
                "Try trainer.precision=32-true, and check the weights; finished shards are kept."
            )
        limit = float(np.finfo(self.manifest.dtype).max)
        if (peak > limit).any():
            raise ConfigError(
                "store.dtype",
                self.manifest.dtype,
                f"{self._names(image[peak > limit])} has values up to {float(peak.max()):.3g}, beyond {limit:.3g}",
                "Set store.dtype=float32.",
            )

    def _names(self, image: Int[Tensor, " k"]) -> str:
        first = ", ".join(str(self.paths[i]) for i in image[:5].tolist())
        return first + (f" and {len(image) - 5} more" if len(image) > 5 else "")


def _peaks(local: Float[Tensor, "r d"], owner: Int[Tensor, " r"], images: int) -> Float[Tensor, "{images}"]:
    """Largest magnitude among each image's rows; NaN where one is; 0 where it has no rows."""
    rows = local.abs().amax(dim=1) if local.numel() else local.new_zeros(len(local))
    return torch.zeros(images, dtype=torch.float32).scatter_reduce(0, owner, rows, "amax")


def finish(folder: Path, described: StoreManifest, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Merge the shards' records, write the manifest anew with the number of failures, and the marker last.

    Returns:
        Path and reason of every unreadable image.

    Raises:
        StoreError: if a shard is missing.
    """
    if absent := shards.missing(folder, described):
        raise StoreError(f"{folder} is not finished: {len(absent)} of {described.shards} shards are missing.")
    rows = [row for shard in range(described.shards) for row in shards.read_record(folder, shard)["unreadable"]]
    readable = np.ones(described.images, dtype=np.bool_)
    readable[[row["image"] for row in rows]] = False
    files.write_array(folder / manifest.READABLE, readable)
    failures = [{**row, "path": str(paths[row["image"]])} for row in rows]
    files.write_json(folder / manifest.FAILURES, failures)
    StoreManifest(**{**vars(described), "failures": len(rows)}).write(folder)
    files.write_bytes(folder / manifest.COMPLETE, b"")
    return [(row["path"], row["why"]) for row in failures]
