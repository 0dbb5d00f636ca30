"""Regions that a detector found, on disk: written in shards, resumable, shared by every store that is made of them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.artifacts import files
from seekloop.artifacts.shards import DAMAGED, Arrays, Batches, ShardWriter, joined
from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.store.manifest import KEY, store_folder

DESCRIPTION = "regions.json"  # what the regions are of
SHARD = 64  # images per file
OPEN = 2  # shards of masks kept in memory


@dataclass(frozen=True)
class FoundImage:
    """What was found in one image.

    Attributes:
        boxes: around each region, in [0, 1].
        level: depth in a hierarchy; 0 where there is none.
        score: how much the detector takes each for an object.
        masks: on the image's own map of tokens.
        affine: share of pairs of tokens that the detector calls alike; NaN where it has no threshold.
        why: why the image could not be read; None where it was.
    """

    boxes: Float[Tensor, "m 4"]
    level: Int[Tensor, " m"]
    score: Float[Tensor, " m"]
    masks: Bool[Tensor, "m h w"]
    affine: float
    why: str | None = None

    @staticmethod
    def unreadable(why: str) -> "FoundImage":
        """Of an image that could not be read."""
        nothing = torch.zeros(0, dtype=torch.long)
        masks = torch.zeros(0, 1, 1, dtype=torch.bool)
        return FoundImage(torch.zeros(0, 4), nothing, torch.zeros(0), masks, float("nan"), why)


@dataclass(frozen=True)
class FoundRegions:
    """What was found in a whole collection.

    Attributes:
        folder: where it lies.
        offsets: the regions of image i are `offsets[i]:offsets[i + 1]`; there may be none.
        boxes: of all images, one after the other.
        level: as in `FoundImage`.
        score: as in `FoundImage`.
        affine: as in `FoundImage`, one per image.
        readable: False for images that could not be read.
    """

    folder: Path
    offsets: Int[Tensor, " ends"]
    boxes: Float[Tensor, "r 4"]
    level: Int[Tensor, " r"]
    score: Float[Tensor, " r"]
    affine: Float[Tensor, " n"]
    readable: Bool[Tensor, " n"]

    def masks(self, image: int) -> Bool[Tensor, "m h w"]:
        """The masks of one image, read from disk."""
        return _masks(_load(str(self.folder / _name(image // SHARD))), image % SHARD)

    @property
    def affine_share(self) -> float | None:
        """The mean of `affine`; None where the detector has no threshold."""
        known = self.affine[~self.affine.isnan()]
        return float(known.mean()) if len(known) else None


class FoundWriter:
    """Keeps each image until a shard is whole and writes it. Several may write different shards at once.

    Args:
        folder: that `begin` prepared.
        images: n.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        self.shards = ShardWriter(Batches(folder, KEY), partial(span, images=images), self._write)

    def add(self, image: int, found: FoundImage) -> None:
        """Take what was found in one image."""
        self.shards.add(image // SHARD, (image, image + 1), _arrays(found))

    def _write(self, shard: int, images: Sequence[Arrays]) -> None:
        arrays = {name: joined(images, name) for name in images[0]}
        ends = np.cumsum([0, *(len(arrays["bits"]) for arrays in images)])
        buffer = io.BytesIO()
        why = arrays.pop("why")
        np.savez_compressed(buffer, **arrays, ends=ends, why=why)  # type: ignore[arg-type]  # stubs mistake them for flags
        files.write_bytes(self.folder / _name(shard), buffer.getvalue(), KEY)


def span(shard: int, images: int) -> tuple[int, int]:
    """First image of a shard, and the one after its last."""
    return shard * SHARD, min((shard + 1) * SHARD, images)


def begin(folder: Path, recipe: Recipe, images: int) -> list[list[int]]:
    """Start, or go on: the images that are missing, shard by shard."""
    if store_folder(folder).begin(DESCRIPTION, recipe.key) is None:
        described = {"key": recipe.key, "recipe": recipe.plain(), "images": images}
        files.write_json(folder / DESCRIPTION, described, KEY)
    writer, kept = FoundWriter(folder, images), Batches(folder, KEY)
    missing = []
    for shard in range(-(-images // SHARD)):
        if not _whole(folder / _name(shard)):
            spans = [(image, image + 1) for image in range(*span(shard, images))]
            there = kept.check(shard, spans)
            missing.append([image for image, end in spans if (image, end) not in there])
            writer.shards.fold(shard)
    return [shard for shard in missing if shard]


def kept_images(folder: Path, images: int) -> int:
    """Number of images whose regions are on disk."""
    kept, count = Batches(folder, KEY), 0
    for shard in range(-(-images // SHARD)):
        first, end = span(shard, images)
        count += end - first if (folder / _name(shard)).exists() else len(kept.spans(shard))
    return count


def is_finished(folder: Path) -> bool:
    """Whether all of it is there."""
    return store_folder(folder).finished


def finish(folder: Path, images: int) -> None:
    """Mark as finished.

    Raises:
        StoreError: if a shard is missing.
    """
    missing = [shard for shard in range(-(-images // SHARD)) if not (folder / _name(shard)).exists()]
    if missing:
        raise StoreError(f"{folder} is not finished: {len(missing)} files of regions are missing.")
    Batches(folder, KEY).clear()
    store_folder(folder).finish()


def read_found(folder: Path, paths: Sequence[str]) -> tuple[FoundRegions, list[tuple[str, str]]]:
    """What was found, and path and reason of every image that could not be read.

    Raises:
        StoreError: if a file is missing or damaged.
    """
    parts = [_load(str(folder / _name(shard))) for shard in range(-(-len(paths) // SHARD))]
    counts = torch.cat([part["counts"] for part in parts])
    failures = [(path, str(why)) for path, why in zip(paths, (w for p in parts for w in p["why"]), strict=True) if why]
    columns = {name: torch.cat([part[name] for part in parts]) for name in ("boxes", "level", "score", "affine")}
    readable = torch.tensor([not why for part in parts for why in part["why"]])
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    return FoundRegions(folder, offsets, readable=readable, **columns), failures


def _name(shard: int) -> str:
    return f"found-{shard:05d}.npz"


def _arrays(found: FoundImage) -> dict[str, np.ndarray]:
    """One image's part of a shard. Masks as bits, row by row, each image's begun in a new byte."""
    return {
        "counts": np.array([len(found.boxes)], dtype=np.int64),
        "boxes": found.boxes.numpy(),
        "level": found.level.numpy(),
        "score": found.score.numpy(),
        "affine": np.array([found.affine], dtype=np.float32),
        "grids": np.array([found.masks.shape[1:]], dtype=np.int64),
        "bits": np.packbits(found.masks.numpy().reshape(-1)),
        "why": np.array([found.why or ""]),
    }


def _whole(path: Path) -> bool:
    try:
        _load(str(path))
    except StoreError:
        return False
    return True


@lru_cache(maxsize=OPEN)
def _load(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except DAMAGED as error:
        marker = store_folder(Path(path).parent).marker
        raise StoreError(f"{path} is missing or damaged. Delete {marker} and run again.") from error
    return {name: array if name == "why" else torch.from_numpy(array) for name, array in arrays.items()}


def _masks(shard: Mapping[str, Any], place: int) -> Bool[Tensor, "m h w"]:
    height, width = shard["grids"][place].tolist()
    count = int(shard["counts"][place])
    first, end = shard["ends"][place : place + 2].tolist()
    bits = np.unpackbits(shard["bits"][first:end].numpy(), count=count * height * width)
    return torch.from_numpy(bits.astype(np.bool_)).reshape(count, height, width)
