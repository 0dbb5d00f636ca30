"""Images on their way to a network: batches at the backbone's size, or each at a size of its own for a detector."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seekloop.artifacts.shards import Span
from seekloop.backbones.maps import Maps
from seekloop.backbones.readout import Readout
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.protocols import Backbone, Collection
from seekloop.contracts.records import Regions
from seekloop.descriptors.encoding import Encoding
from seekloop.images.transforms import to_pixels
from seekloop.store.kept_maps import kept_map, map_path


class Decoded(NamedTuple):
    """A `Batch` on its way through loaders, which move tuples but not frozen records, with the reasons of failures.

    With sizes of their own, an image and its crops are a tuple.
    """

    pixels: Float[Tensor, "b 3 h w"] | tuple[Float[Tensor, "1 3 _ _"], ...]
    image: Int[Tensor, " b"]
    readable: Bool[Tensor, " b"]
    reasons: list[str]


class Transform(NamedTuple):
    """Size and normalisation of one backbone's input."""

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str

    def __call__(self, picture: Image.Image) -> Float[Tensor, "3 h w"]:
        """Resize and normalise."""
        return to_pixels(picture, *self)


@dataclass(frozen=True)
class OwnSize:
    """Images with their proportions kept, reduced where they are larger, and crops at the scale of their image.

    Args:
        longest: most pixels along an image's longer side.
        patch: pixels of a token, (height, width); sides are rounded to whole tokens, at least one.
    """

    longest: int
    patch: tuple[int, int]

    def size(self, picture: tuple[int, int], whole: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a picture, or of a crop of one, both as (width, height).

        Example:
            >>> OwnSize(64, (8, 8)).size((640, 480), (640, 480)), OwnSize(64, (8, 8)).size((320, 10), (640, 480))
            ((48, 64), (8, 32))
        """
        scale = min(1.0, self.longest / max(whole))
        width, height = picture
        rows, columns = round(height * scale / self.patch[0]), round(width * scale / self.patch[1])
        return max(1, rows) * self.patch[0], max(1, columns) * self.patch[1]


def own_size(backbone: Backbone, longest: int | None) -> OwnSize | None:
    """Sizes that keep proportions; None where all images are brought to the backbone's.

    Raises:
        ConfigError: if the backbone takes images of one size only.
    """
    if longest is None:
        return None
    if not (isinstance(backbone, Readout) and backbone.any_size):
        why, fix = f"{backbone.name} takes images of one size only", "Use longest=null, or a CNN."
        raise ConfigError("longest", longest, why, fix)
    return OwnSize(longest, backbone.patch)


def transform_of(backbone: Backbone) -> Transform:
    """The transform that the backbone expects."""
    return Transform(backbone.image_size, backbone.mean, backbone.std, backbone.interpolation)


def cut(picture: Image.Image, box: Float[Tensor, " 4"]) -> Image.Image:
    """The part of a picture inside a box, edges rounded to pixels, at least one pixel wide and high."""
    x0, y0, x1, y1 = (box.double() * torch.tensor(picture.size * 2, dtype=torch.float64)).round().long().tolist()
    left, top = min(x0, picture.width - 1), min(y0, picture.height - 1)
    return picture.crop((left, top, max(x1, left + 1), max(y1, top + 1)))


class ImageBatches(Dataset[Decoded]):
    """Whole batches, one an item, so that the division into batches, and every bit, is the same for any workers.

    Each image is followed by the crops that the encoding asks for. With sizes of their own, each span is one image.
    """

    def __init__(
        self,
        collection: Collection,
        transform: Transform,
        encoding: Encoding,
        regions: Regions,
        spans: Sequence[Span],
        sizes: OwnSize | None = None,
    ) -> None:
        self.collection, self.transform, self.sizes = collection, transform, sizes
        self.encoding, self.regions, self.spans = encoding, regions, spans

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> Decoded:
        """Decode a batch; an unreadable image becomes zeros, so that the shape does not depend on it."""
        if self.sizes is not None:
            return self._own(self.sizes, self.spans[index][0])
        pixels, images, readable, reasons = [], [], [], []
        for image in range(*self.spans[index]):
            crops = self.encoding.crops(self.regions, image)
            try:
                picture = self.collection.read(image)
                rows = torch.stack([self.transform(one) for one in (picture, *(cut(picture, box) for box in crops))])
            except UnreadableImageError as error:
                rows = torch.zeros(1 + len(crops), 3, *self.transform.size, dtype=torch.float32)
                reasons.append(error.why)
                readable += [False] * len(rows)
            else:
                readable += [True] * len(rows)
            pixels.append(rows)
            images += [image] * len(rows)
        return Decoded(torch.cat(pixels), torch.tensor(images), torch.tensor(readable), reasons)

    def _own(self, sizes: OwnSize, image: int) -> Decoded:
        """One image and its crops, each of a size of its own; one token of zeros for each where it is unreadable."""
        crops = self.encoding.crops(self.regions, image)
        owner = torch.full((1 + len(crops),), image)
        try:
            picture = self.collection.read(image)
        except UnreadableImageError as error:
            nothing = torch.zeros(1, 3, *sizes.patch, dtype=torch.float32)
            return Decoded((nothing,) * len(owner), owner, torch.zeros(len(owner), dtype=torch.bool), [error.why])
        parts = [picture, *(cut(picture, box) for box in crops)]
        each = [self.transform._replace(size=sizes.size(part.size, picture.size)) for part in parts]
        pixels = tuple(transform(part)[None] for transform, part in zip(each, parts, strict=True))
        return Decoded(pixels, owner, torch.ones(len(owner), dtype=torch.bool), [])


@dataclass(frozen=True)
class Sizing:
    """Size of an image for a detector's network: its proportions stay, to the nearest token.

    Args:
        shortest: tokens along the shorter side.
        longest: most tokens along the longer side; the shorter one then has fewer.
        enlarge: whether small images are enlarged to that.
    """

    shortest: int
    longest: int
    enlarge: bool

    def tokens(self, width: int, height: int, patch: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tokens of an image of so many pixels; at least one of each.

        Example:
            >>> Sizing(45, 100, True).tokens(640, 480, (8, 8))
            (45, 60)
            >>> Sizing(45, 100, True).tokens(5000, 500, (8, 8))
            (10, 100)
        """
        scale = min(self.shortest / min(width, height), self.longest / max(width, height))
        if not self.enlarge:
            scale = min(scale, 1 / max(patch))
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        return rows, columns


@dataclass(frozen=True)
class OneSize:
    """One size for all images: that at which a backbone describes them.

    Args:
        image_size: (height, width).
    """

    image_size: tuple[int, int]


class Sized(NamedTuple):
    """One image on its way to the network; one patch of zeros where it is unreadable, or its map is on disk."""

    pixels: Float[Tensor, "1 3 h w"]
    image: Int[Tensor, " 1"]
    why: str
    kept: Float[Tensor, "rows columns d"] | None


class ImagesAtTheirSize(Dataset[Sized]):
    """Images at the sizes that a detector wants, each its own or all the same, one by one.

    One whose map lies already in the folder `kept` is not decoded, unless one of the folders `keep` lacks its map.
    """

    def __init__(
        self,
        collection: Collection,
        maps: Maps,
        sizing: Sizing | OneSize,
        kept: Path,
        keep: Mapping[str, Path],
        images: Sequence[int],
    ) -> None:
        self.collection, self.sizing, self.kept, self.keep, self.images = collection, sizing, kept, keep, images
        self.patch = maps.patch
        self.normalise = (maps.mean, maps.std, maps.interpolation)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sized:
        """Decode one image."""
        image = self.images[index]
        size = self.sizing.image_size if isinstance(self.sizing, OneSize) else self.patch
        position, nothing = torch.tensor([image]), torch.zeros(1, 3, *size)
        complete = all(map_path(folder, image).exists() for folder in self.keep.values())
        if complete and (kept := kept_map(self.kept, image)) is not None:
            return Sized(nothing, position, "", kept)
        try:
            picture = self.collection.read(image)
        except UnreadableImageError as error:
            return Sized(nothing, position, error.why, None)
        if isinstance(self.sizing, Sizing):
            rows, columns = self.sizing.tokens(*picture.size, self.patch)
            size = (rows * self.patch[0], columns * self.patch[1])
        pixels = to_pixels(picture, size, *self.normalise)
        return Sized(pixels[None], position, "", None)


class Sharded(pl.LightningDataModule):
    """Items that are still to be done, divided among processes by whole shards.

    Args:
        dataset: of some items, each a batch.
        shards: the items of each shard.
        workers: decoding processes; 0 decodes in the main one.
    """

    def __init__(
        self, dataset: Callable[[Sequence[Any]], Dataset[Any]], shards: Sequence[Sequence[Any]], workers: int
    ) -> None:
        super().__init__()
        self.dataset, self.shards, self.workers = dataset, shards, workers
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more processes than shards

    def predict_dataloader(self) -> DataLoader[Any]:
        """A loader of this process's items."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return DataLoader(
            self.dataset([item for shard in self.shards[rank::world] for item in shard]),
            batch_size=None,  # items are batches already
            num_workers=self.workers,
            multiprocessing_context=start_method() if self.workers else None,
            worker_init_fn=leave_at_sigterm,
            pin_memory=torch.cuda.is_available(),
        )


def leave_at_sigterm(_: int) -> None:
    """Let SIGTERM end a worker as if it were done: the main process, which gets it as well, says what is kept.

    Of a worker that a signal has killed, torch raises an error in the main process, before or after that.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def start_method() -> str | None:
    """Start method of workers: Python's own; but in a process of joblib's, whose own way takes none of them."""
    usual = multiprocessing.get_start_method(allow_none=True)
    known = ("fork", "spawn", "forkserver")
    return None if usual is None or usual in known else known[0 if sys.platform == "linux" else 1]
