"""The writer: descriptors come in batches, each is kept, and shards are written as soon as they are whole."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.artifacts import files
from seekloop.artifacts.shards import Arrays, Batches, ShardWriter, Span, joined, read_record
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.records import Regions
from seekloop.store import manifest, shards
from seekloop.store.manifest import KEY, StoreManifest


def create(folder: Path, described: StoreManifest, regions: Regions) -> StoreManifest:
    """Start a store, or go on with one: returns the manifest that its files obey.

    That is the one already in the folder where there is one, so that all shards have the same number of images.

    Raises:
        StoreError: if the folder holds other content.
    """
    if manifest.store_folder(folder).begin(manifest.MANIFEST, described.key) is not None:
        return manifest.read_manifest(folder)
    if regions.offsets is not None:
        files.write_array(folder / manifest.OFFSETS, regions.offsets.numpy(), KEY)
        files.write_array(folder / manifest.BOXES, regions.boxes.numpy(), KEY)
        for name, column in ((manifest.LEVELS, regions.level), (manifest.KINDS, regions.kind)):
            if column is not None:
                files.write_array(folder / name, column.numpy(), KEY)
    described.write(folder)
    return described


def kept_batches(folder: Path, shard: int, spans: Sequence[Span]) -> list[Span]:
    """Those of a shard's batches that an interrupted extraction has kept; what else it left goes."""
    return Batches(folder, KEY).check(shard, spans)


def kept_images(folder: Path, shard: int) -> int:
    """Number of images of an unfinished shard that are described already."""
    return sum(stop - start for start, stop in Batches(folder, KEY).spans(shard))


class StoreWriter:
    """Keeps each batch until a shard is whole, checks it, and writes the shard. Several may write different shards.

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
        self.shards = ShardWriter(Batches(folder, KEY), described.span, self._write)

    def add(
        self,
        image: Int[Tensor, " b"],
        whole: Float[Tensor, "b d"],
        local: Float[Tensor, "r d"],
        readable: Bool[Tensor, " b"],
        reasons: Sequence[str],
    ) -> None:
        """Take a batch: unnormalised descriptors, the local ones image after image, of images that follow each other.

        Args:
            image: positions in the collection, of one shard.
            whole: global descriptors.
            local: local descriptors.
            readable: False where the rows are placeholders; zeros are stored.
            reasons: why, for each unreadable image.

        Raises:
            ValueError: if the images do not follow each other.
            StoreError: if a value is not finite, naming the images.
            ConfigError: if a value does not fit the stored type.
        """
        number, span = int(image[0]) // self.manifest.shard, (int(image[0]), int(image[-1]) + 1)
        if span[1] - span[0] != len(image):
            raise ValueError(f"the images of a batch must follow each other, got {image.tolist()}")
        owner = torch.repeat_interleave(torch.arange(len(image)), self._counts(image))
        whole, local = whole.float().clone(), local.float().clone()
        whole[~readable], local[~readable[owner]] = 0, 0
        self._check(image, whole, local, owner)
        dtype = self.manifest.dtype
        arrays = {"whole": whole.numpy().astype(dtype), "local": local.numpy().astype(dtype)}
        arrays |= {"unreadable": image[~readable].numpy(), "reasons": np.array(list(reasons), dtype=np.str_)}
        self.shards.add(number, span, arrays)

    def _write(self, number: int, batches: Sequence[Arrays]) -> None:
        whole, local = shards.shapes(self.manifest, self.offsets, number).values()
        unreadable = zip(joined(batches, "unreadable").tolist(), joined(batches, "reasons").tolist(), strict=True)
        rows = joined(batches, "whole").reshape(whole), joined(batches, "local").reshape(local)
        shards.write_shard(self.folder, number, *rows, list(unreadable))

    def _counts(self, image: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        if self.offsets is None:
            return torch.full_like(image, self.manifest.cells or 0)
        return self.offsets[image + 1] - self.offsets[image]

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
                "Try trainer.precision=32-true, and check the weights; finished batches are kept."
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
    rows = [row for shard in range(described.shards) for row in read_record(folder, shard)["unreadable"]]
    readable = np.ones(described.images, dtype=np.bool_)
    readable[[row["image"] for row in rows]] = False
    files.write_array(folder / manifest.READABLE, readable, KEY)
    failures = [{**row, "path": str(paths[row["image"]])} for row in rows]
    files.write_json(folder / manifest.FAILURES, failures, KEY)
    StoreManifest(**{**vars(described), "failures": len(rows)}).write(folder)
    Batches(folder, KEY).clear()
    manifest.store_folder(folder).finish()
    return [(row["path"], row["why"]) for row in failures]
