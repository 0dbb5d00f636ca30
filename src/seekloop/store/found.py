"""Regions that a detector found, on disk: written in shards, resumable, shared by every store that is made of them."""

import io
import math
from collections.abc import Sequence
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
from seekloop.store import growth
from seekloop.store.manifest import KEY, store_folder

DESCRIPTION = "regions.json"  # the recipe of the regions
SHARD = 64  # images per file
OPEN = 2  # shards of masks kept in memory


@dataclass(frozen=True)
class FoundImage:
    """Regions found in one image.

    Attributes:
        boxes: around each region, in [0, 1].
        level: depth in a hierarchy; 0 where there is none.
        score: how much the detector takes each for an object.
        masks: on the image's own map of tokens.
        affine: share of pairs of tokens that the detector calls alike; NaN where it has no threshold.
        why: why the image could not be read; None where it was.
        drew: whether the detector drew random numbers, by which its regions depend on the image's position.
        saliency: the map that the regions were found in; None where the detector has none.
    """

    boxes: Float[Tensor, "m 4"]
    level: Int[Tensor, " m"]
    score: Float[Tensor, " m"]
    masks: Bool[Tensor, "m h w"]
    affine: float
    why: str | None = None
    drew: bool = False
    saliency: Float[Tensor, "h w"] | None = None

    @staticmethod
    def unreadable(why: str) -> "FoundImage":
        """Nothing, in an image that could not be read."""
        level, masks = torch.zeros(0, dtype=torch.long), torch.zeros(0, 1, 1, dtype=torch.bool)
        return FoundImage(torch.zeros(0, 4), level, torch.zeros(0), masks, float("nan"), why)


@dataclass(frozen=True)
class FoundRegions:
    """Regions found in a whole collection.

    Attributes:
        folder: where it lies.
        offsets: the regions of image i are `offsets[i]:offsets[i + 1]`; there may be none.
        boxes: of all images, one after the other.
        level: as in `FoundImage`.
        score: as in `FoundImage`.
        affine: as in `FoundImage`, one per image.
        readable: False for images that could not be read.
        drew: as in `FoundImage`.
        salient: which images have a saliency map; None where the detector has none.
    """

    folder: Path
    offsets: Int[Tensor, " ends"]
    boxes: Float[Tensor, "r 4"]
    level: Int[Tensor, " r"]
    score: Float[Tensor, " r"]
    affine: Float[Tensor, " n"]
    readable: Bool[Tensor, " n"]
    drew: Bool[Tensor, " n"]
    salient: Bool[Tensor, " n"] | None = None

    def masks(self, image: int) -> Bool[Tensor, "m h w"]:
        """The masks of one image, read from disk."""
        return self.image(image).masks

    def image(self, image: int) -> FoundImage:
        """Everything that was found in one image, read from disk."""
        shard, position = _load(str(self.folder / _name(image // SHARD))), image % SHARD
        end = int(shard["counts"][: position + 1].sum())
        rows = slice(end - int(shard["counts"][position]), end)
        size = (rows.stop - rows.start, *shard["grids"][position].tolist())
        bits = shard["bits"][slice(*shard["ends"][position : position + 2].tolist())]
        masks = np.unpackbits(bits.numpy(), count=math.prod(size)).astype(np.bool_).reshape(size)
        return FoundImage(
            shard["boxes"][rows],
            shard["level"][rows],
            shard["score"][rows],
            torch.from_numpy(masks),
            float(shard["affine"][position]),
            str(shard["why"][position]) or None,
            bool(self.drew[image]),
            _saliency(shard, position, size[1:]),
        )

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
        # images kept by an earlier version do not say whether anything was drawn
        arrays = {name: joined(images, name) for name in images[0] if all(name in one for one in images)}
        ends = np.cumsum([0, *(len(arrays["bits"]) for arrays in images)])
        buffer = io.BytesIO()
        why = arrays.pop("why")
        np.savez_compressed(buffer, **arrays, ends=ends, why=why)  # type: ignore[arg-type]  # stubs mistake them for flags
        files.write_bytes(self.folder / _name(shard), buffer.getvalue(), KEY)


def span(shard: int, images: int) -> tuple[int, int]:
    """First image of a shard, and the one after its last."""
    return shard * SHARD, min((shard + 1) * SHARD, images)


def begin(folder: Path, recipe: Recipe, images: int, contents: Sequence[str] | None = None) -> list[list[int]]:
    """Start, or go on: the images that are missing, shard by shard.

    Regions of unchanged pictures are taken over from a finished folder of otherwise the same recipe; where the detector
    drew, only those of pictures at the same position, by which it draws.

    Args:
        folder: claimed.
        recipe: of the regions.
        images: n.
        contents: what determines each picture; None where the collection cannot say.
    """
    if store_folder(folder).begin(DESCRIPTION, recipe.key) is None:
        described = {"key": recipe.key, "recipe": recipe.plain(), "images": images}
        files.write_json(folder / DESCRIPTION, described, KEY)
    before = None
    if contents is not None:
        growth.note_contents(folder, contents)
        before = growth.earlier(folder, DESCRIPTION, recipe, contents, _usable)
    known = None if before is None else read_found(before.folder)[0]
    writer, kept = FoundWriter(folder, images), Batches(folder, KEY)
    missing = []
    for shard in range(-(-images // SHARD)):
        if not _whole(folder / _name(shard)):
            spans = [(image, image + 1) for image in range(*span(shard, images))]
            there = kept.check(shard, spans)
            left = [image for image, end in spans if (image, end) not in there]
            if before is not None and known is not None:
                taken = [image for image in left if before.row[image] >= 0]
                left = [image for image in left if before.row[image] < 0]
                for image in taken:
                    writer.add(image, known.image(int(before.row[image])))
            missing.append(left)
            writer.shards.leave(shard)
    return [shard for shard in missing if shard]


def _usable(folder: Path) -> growth.Usable:
    """Whether the regions of an earlier image may be taken over for one at another position."""
    found, _ = read_found(folder)
    readable, drew = found.readable.tolist(), found.drew.tolist()
    return lambda row, image: readable[row] and (row == image or not drew[row])


def kept_images(folder: Path, images: int) -> int:
    """Number of images whose regions are on disk."""
    kept, count = Batches(folder, KEY), 0
    for shard in range(-(-images // SHARD)):
        first, end = span(shard, images)
        count += end - first if (folder / _name(shard)).exists() else len(kept.spans(shard))
    return count


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


def read_found(folder: Path) -> tuple[FoundRegions, list[str]]:
    """The found regions, and for each image why it could not be read, empty where it was.

    Raises:
        StoreError: if a file is missing or damaged.
    """
    images = int(files.read_json(folder / DESCRIPTION)["images"])
    parts = [_load(str(folder / _name(shard))) for shard in range(-(-images // SHARD))]
    why = [str(reason) for part in parts for reason in part["why"]]
    names = ("boxes", "level", "score", "affine", "counts", "drew")
    columns = {name: torch.cat([part[name] for part in parts]) for name in names}
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), columns.pop("counts").cumsum(0)])
    maps = torch.cat([part.get("salient", torch.zeros(len(part["counts"]))) for part in parts]) > 0
    salient = maps if bool(maps.any()) else None
    readable = torch.tensor([not reason for reason in why])
    return FoundRegions(folder, offsets, readable=readable, salient=salient, **columns), why


def _name(shard: int) -> str:
    return f"found-{shard:05d}.npz"


def _arrays(found: FoundImage) -> dict[str, np.ndarray]:
    """One image as a batch of its shard. Masks as bits, row by row, each image's begun in a new byte."""
    return {
        "counts": np.array([len(found.boxes)], dtype=np.int64),
        "boxes": found.boxes.numpy(),
        "level": found.level.numpy(),
        "score": found.score.numpy(),
        "affine": np.array([found.affine], dtype=np.float32),
        "grids": np.array([found.masks.shape[1:]], dtype=np.int64),
        "bits": np.packbits(found.masks.numpy().reshape(-1)),
        "why": np.array([found.why or ""]),
        "drew": np.array([found.drew]),
        "salient": np.array([0 if found.saliency is None else found.saliency.numel()], dtype=np.int64),
        "saliency": np.zeros(0, dtype=np.float32) if found.saliency is None else found.saliency.float().numpy().ravel(),
    }


def _saliency(shard: dict[str, Any], position: int, size: Sequence[int]) -> Float[Tensor, "h w"] | None:
    """The saliency map of an image of a shard; None where there is none, or an earlier version wrote the shard."""
    if "salient" not in shard or not int(shard["salient"][position]):
        return None
    end = int(shard["salient"][: position + 1].sum())
    return shard["saliency"][end - int(shard["salient"][position]) : end].reshape(*size)


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
    loaded = {name: array if name == "why" else torch.from_numpy(array) for name, array in arrays.items()}
    return {"drew": torch.ones(len(loaded["counts"]), dtype=torch.bool), **loaded}  # earlier versions do not say
