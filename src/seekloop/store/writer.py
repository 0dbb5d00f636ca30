"""Writer of descriptors: they come in batches, each is kept, and shards are written as soon as they are whole."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.artifacts import files
from seekloop.artifacts.shards import Arrays, Batches, ShardWriter, Span, joined, read_record, write_shard
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.records import Regions
from seekloop.store import growth, manifest, shards
from seekloop.store.growth import Earlier
from seekloop.store.manifest import KEY, StoreManifest
from seekloop.store.reader import open_store


def create(folder: Path, described: StoreManifest, regions: Regions) -> StoreManifest:
    """Start a store, or go on with one: returns the manifest that its files obey.

    That is the one already in the folder where there is one, so that all shards have the same number of images.

    Raises:
        StoreError: if the folder holds other content.
    """
    if manifest.store_folder(folder).begin(manifest.MANIFEST, described.key) is not None:
        return manifest.read_manifest(folder)
    if regions.offsets is not None:
        names = (manifest.OFFSETS, manifest.BOXES, manifest.LEVELS, manifest.KINDS)
        columns = (regions.offsets, regions.boxes, regions.level, regions.kind)
        for name, column in zip(names, columns, strict=True):
            if column is not None:
                files.write_array(folder / name, column.numpy(), KEY)
    described.write(folder)
    return described


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
        self.folder, self.manifest, self.offsets, self.paths = folder, described, offsets, paths
        self.shards = ShardWriter(Batches(folder, KEY), described.span, self._write)

    def missing(self, step: int, earlier: Earlier | None) -> list[list[Span]]:
        """The missing batches of each missing shard; none crosses from one shard to the next.

        What is kept of a shard, or can be taken over, is brought in here.

        Args:
            step: most images in a batch.
            earlier: the store from which rows of unchanged pictures are taken over.
        """
        store = None if earlier is None else open_store(earlier.folder, None)
        missing = []
        for shard in shards.missing(self.folder, self.manifest):
            known = None if earlier is None else earlier.row >= 0
            fresh, copied = growth.spans_of(*self.manifest.span(shard), step, known)
            kept = self.shards.batches.check(shard, [*fresh, *copied])
            missing.append([span for span in fresh if span not in kept])
            for span in copied:
                if earlier is not None and store is not None and span not in kept:
                    image = torch.arange(*span)
                    global_, local = store.stored_rows(earlier.row[image])
                    readable = torch.ones(len(image), dtype=torch.bool)
                    self.add(image, global_.float(), local.float().flatten(0, -2), readable, [])
            self.shards.leave(shard)
        return [shard for shard in missing if shard]

    def add(
        self,
        image: Int[Tensor, " b"],
        global_: Float[Tensor, "b d"],
        local: Float[Tensor, "r d"],
        readable: Bool[Tensor, " b"],
        reasons: Sequence[str],
    ) -> None:
        """Take a batch: unnormalised descriptors, the local ones image after image, of images that follow each other.

        Args:
            image: positions in the collection, of one shard.
            global_: global descriptors.
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
        if self.offsets is None:
            counts = torch.full_like(image, self.manifest.cells or 0)
        else:
            counts = self.offsets[image + 1] - self.offsets[image]
        owner = torch.repeat_interleave(torch.arange(len(image)), counts)
        global_, local = global_.float().clone(), local.float().clone()
        global_[~readable], local[~readable[owner]] = 0, 0
        self._check(image, global_, local, owner)
        dtype = self.manifest.dtype
        arrays = {"whole": global_.numpy().astype(dtype), "local": local.numpy().astype(dtype)}
        arrays |= {"unreadable": image[~readable].numpy(), "reasons": np.array(list(reasons), dtype=np.str_)}
        self.shards.add(number, span, arrays)

    def _write(self, number: int, batches: Sequence[Arrays]) -> None:
        shapes = shards.shapes(self.manifest, self.offsets, number)
        rows = [
            joined(batches, name).reshape(shape)
            for name, shape in zip(("whole", "local"), shapes.values(), strict=True)
        ]
        reasons = zip(joined(batches, "unreadable").tolist(), joined(batches, "reasons").tolist(), strict=True)
        unreadable = [{"image": image, "why": why} for image, why in sorted(reasons)]
        write_shard(self.folder, number, dict(zip(shapes, rows, strict=True)), {"unreadable": unreadable}, KEY)

    def _check(
        self,
        image: Int[Tensor, " b"],
        global_: Float[Tensor, "b d"],
        local: Float[Tensor, "r d"],
        owner: Int[Tensor, " r"],
    ) -> None:
        """Refuse values that are not finite, or that the stored type cannot hold."""
        rows = local.abs().amax(dim=1) if local.numel() else local.new_zeros(len(local))
        peak = torch.zeros(len(image), dtype=torch.float32).scatter_reduce(0, owner, rows, "amax")
        peak = torch.maximum(global_.abs().amax(dim=1), peak)
        if (~torch.isfinite(peak)).any():
            raise StoreError(
                f"The backbone gave values that are not finite for {self._names(image[~torch.isfinite(peak)])}. "
                "Try trainer.precision=32-true, and check the weights; finished batches are kept."
            )
        limit = float(np.finfo(self.manifest.dtype).max)
        if (peak > limit).any():
            raise ConfigError(
                "dtype",
                self.manifest.dtype,
                f"{self._names(image[peak > limit])} has values up to {float(peak.max()):.3g}, beyond {limit:.3g}",
                "Set dtype=float32.",
                self,
            )

    def _names(self, image: Int[Tensor, " k"]) -> str:
        first = ", ".join(str(self.paths[i]) for i in image[:5].tolist())
        return first + (f" and {len(image) - 5} more" if len(image) > 5 else "")


def earlier_store(
    folder: Path,
    described: StoreManifest,
    regions: Regions,
    contents: Sequence[str],
    drew: Bool[Tensor, " n"] | None = None,
) -> Earlier | None:
    """The finished store beside a new one with the most of its pictures; None where no picture is found again.

    Where regions differ between images, a picture is found again only if its boxes are the same; and where they were
    drawn, and may have other masks, only at the same position. Unreadable images are tried anew.

    Args:
        folder: of the new store.
        described: its manifest.
        regions: its regions.
        contents: what determines each of its pictures.
        drew: images whose regions depend on their position; None: none do.
    """

    def usable(other: Path) -> growth.Usable:
        store = open_store(other, None)
        readable = store.readable.tolist()

        def may(row: int, image: int) -> bool:
            if not readable[row] or regions.offsets is None:
                return readable[row]
            fixed = drew is None or row == image or not drew[image]
            return fixed and torch.equal(store.regions.of(row), regions.of(image))

        return may

    growth.note_contents(folder, contents)
    return growth.earlier(folder, manifest.MANIFEST, described.recipe, contents, usable)


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
    replace(described, failures=len(rows)).write(folder)
    Batches(folder, KEY).clear()
    manifest.store_folder(folder).finish()
    return [(row["path"], row["why"]) for row in failures]
