"""Local features of a collection on disk: written in shards, resumable, read through a memory map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seekloop.artifacts import files
from seekloop.artifacts.shards import Arrays, Batches, ShardWriter, intact, joined, read_record, write_shard
from seekloop.contracts.errors import StoreError
from seekloop.contracts.local_features import LocalFeatures
from seekloop.contracts.recipe import Recipe
from seekloop.store.manifest import KEY, store_folder

DESCRIPTION = "features.json"  # the recipe of the features
LEVELS = "levels.json"  # measured on the collection before anything was detected
SHARD = 64  # images per file


@dataclass(frozen=True)
class FeatureStore:
    """Local features of every image of a collection.

    Attributes:
        folder: where they lie.
        offsets: the features of image i are rows `offsets[i]:offsets[i + 1]`.
        sizes: (rows, columns) of the map of each scale of each image; 0 where it could not be read.
        why: why each image could not be read; empty where it was.
        levels: factor and step of the 8 bits in which regions were detected.
    """

    folder: Path
    offsets: Int[np.ndarray, " ends"]
    sizes: Int[np.ndarray, "n s 2"]
    why: Sequence[str]
    levels: Mapping[str, float]

    @property
    def readable(self) -> Bool[Tensor, " n"]:
        """False for images that could not be read, which have no features."""
        return torch.tensor([not reason for reason in self.why], dtype=torch.bool)

    def of(self, image: int) -> LocalFeatures:
        """The features of one image, strongest first."""
        start = int(self.offsets[image - image % SHARD])
        first, end = (int(one) - start for one in self.offsets[image : image + 2])
        rows = np.array(self._shards[image // SHARD][first:end])
        covariance = rows[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
        words = rows[:, 6:].astype(np.int64)
        return LocalFeatures(rows[:, :2], covariance, words[:, 0], rows[:, 5], words[:, 1], self.sizes[image])

    @cached_property
    def _shards(self) -> list[np.ndarray]:
        count = -(-len(self.why) // SHARD)
        try:
            return [np.load(self.folder / _names(shard)[0], mmap_mode="r") for shard in range(count)]
        except (OSError, ValueError) as error:
            raise damaged(self.folder) from error


class FeatureWriter:
    """Keeps each image until a shard is whole and writes it. Several may write different shards at once.

    Args:
        folder: that `begin` prepared.
        images: n.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        self.shards = ShardWriter(Batches(folder, KEY), partial(span, images=images), self._write)

    def add(self, image: int, found: LocalFeatures, why: str = "") -> None:
        """Take the features of one image, or why there are none."""
        covariance = found.covariance.reshape(-1, 4)[:, [0, 1, 3]]
        words = np.stack([found.strength, found.channel, found.scale], axis=1)
        rows = np.concatenate([found.mean, covariance, words], axis=1).astype(np.float32)
        counts = np.concatenate([[len(rows)], found.sizes.reshape(-1)]).astype(np.int64)
        self.shards.add(image // SHARD, (image, image + 1), {"rows": rows, "counts": counts[None], "why": [why]})

    def _write(self, shard: int, images: Sequence[Arrays]) -> None:
        arrays = dict(zip(_names(shard), (joined(images, "rows"), joined(images, "counts")), strict=True))
        write_shard(self.folder, shard, arrays, {"why": [str(one["why"][0]) for one in images]}, KEY)


def _names(shard: int) -> tuple[str, str]:
    return f"features-{shard:05d}.npy", f"counts-{shard:05d}.npy"


def span(shard: int, images: int) -> tuple[int, int]:
    """First image of a shard, and the one after its last."""
    return shard * SHARD, min((shard + 1) * SHARD, images)


def begin(folder: Path, recipe: Recipe, images: int) -> list[list[int]]:
    """Start, or go on: the images that are missing, shard by shard. Only inside a claim."""
    if store_folder(folder).begin(DESCRIPTION, recipe.key) is None:
        files.write_json(folder / DESCRIPTION, {"key": recipe.key, "recipe": recipe.plain(), "images": images}, KEY)
    writer, kept, missing = FeatureWriter(folder, images), Batches(folder, KEY), []
    for shard in range(-(-images // SHARD)):
        if not intact(folder, shard):
            spans = [(image, image + 1) for image in range(*span(shard, images))]
            there = kept.check(shard, spans)
            missing.append([image for image, end in spans if (image, end) not in there])
            writer.shards.leave(shard)
    return [shard for shard in missing if shard]


def keep_levels(folder: Path, levels: Mapping[str, float]) -> None:
    """Write down factor and step, so that a search that goes on detects as before."""
    files.write_json(folder / LEVELS, dict(levels), KEY)


def kept_levels(folder: Path) -> dict[str, float] | None:
    """Factor and step that were measured before; None: not yet."""
    found: dict[str, float] | None = files.read_json(folder / LEVELS) if (folder / LEVELS).exists() else None
    return found


def kept_images(folder: Path, images: int) -> int:
    """Number of images whose features are on disk."""
    kept, count = Batches(folder, KEY), 0
    for shard in range(-(-images // SHARD)):
        first, end = span(shard, images)
        count += end - first if intact(folder, shard) else len(kept.spans(shard))
    return count


def finish(folder: Path, images: int) -> None:
    """Mark as finished.

    Raises:
        StoreError: if a shard is missing.
    """
    missing = [shard for shard in range(-(-images // SHARD)) if not intact(folder, shard)]
    if missing:
        raise StoreError(f"{folder} is not finished: {len(missing)} files of features are missing.")
    Batches(folder, KEY).clear()
    store_folder(folder).finish()


def read_features(folder: Path) -> FeatureStore:
    """The features of a finished folder.

    Raises:
        StoreError: if a file is missing or damaged.
    """
    try:
        images = int(files.read_json(folder / DESCRIPTION)["images"])
        shards = range(-(-images // SHARD))
        counts = np.concatenate([np.load(folder / _names(shard)[1]) for shard in shards])
        why = [str(reason) for shard in shards for reason in read_record(folder, shard)["why"]]
        levels: dict[str, Any] = files.read_json(folder / LEVELS)
    except (OSError, ValueError, KeyError) as error:
        raise damaged(folder) from error
    offsets = np.concatenate([[0], counts[:, 0].cumsum()])
    return FeatureStore(folder, offsets, counts[:, 1:].reshape(images, -1, 2), why, levels)


def damaged(folder: Path) -> StoreError:
    """The error of a folder that cannot be read."""
    return StoreError(f"A file in {folder} is missing or damaged. Delete {store_folder(folder).marker} and run again.")
