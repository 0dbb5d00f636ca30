"""Images on their way to the backbone: whole batches decoded at a time, shard after shard."""

import multiprocessing
import sys
from collections.abc import Sequence
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.protocols import Backbone, Collection
from seekloop.contracts.records import Regions
from seekloop.descriptors.encoding import Encoding
from seekloop.images.transforms import to_pixels

Span = tuple[int, int]


class Decoded(NamedTuple):
    """A `Batch` on its way through loaders, which move tuples but not frozen records, with the reasons of failures."""

    pixels: Float[Tensor, "b 3 h w"]
    image: Int[Tensor, " b"]
    readable: Bool[Tensor, " b"]
    reasons: list[str]


class Transform(NamedTuple):
    """What turns a picture into the input of one backbone."""

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str

    def __call__(self, picture: Image.Image) -> Float[Tensor, "3 h w"]:
        """Resize and normalise."""
        return to_pixels(picture, *self)


def transform_of(backbone: Backbone) -> Transform:
    """The transform that the backbone expects."""
    return Transform(backbone.image_size, backbone.mean, backbone.std, backbone.interpolation)


def cut(picture: Image.Image, box: Float[Tensor, " 4"]) -> Image.Image:
    """The part of a picture inside a box, edges rounded to pixels, at least one pixel wide and high."""
    x0, y0, x1, y1 = (box.double() * torch.tensor(picture.size * 2, dtype=torch.float64)).round().long().tolist()
    left, top = min(x0, picture.width - 1), min(y0, picture.height - 1)
    return picture.crop((left, top, max(x1, left + 1), max(y1, top + 1)))


class ImageBatches(Dataset[Decoded]):
    """One item is one batch, so the division into batches, and with it every bit, is the same for any workers.

    Args:
        collection: where images come from.
        transform: of the backbone.
        encoding: says which crops follow an image.
        regions: of the images.
        spans: first image of each batch, and the one after its last.
    """

    def __init__(
        self,
        collection: Collection,
        transform: Transform,
        encoding: Encoding,
        regions: Regions,
        spans: Sequence[Span],
    ) -> None:
        self.collection = collection
        self.transform = transform
        self.encoding = encoding
        self.regions = regions
        self.spans = spans

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> Decoded:
        """Decode a batch; an unreadable image becomes zeros, so that the shape does not depend on it."""
        pixels, images, readable, reasons = [], [], [], []
        for image in range(*self.spans[index]):
            crops = self.encoding.crops(self.regions, image)
            try:
                rows = self._rows(image, crops)
            except UnreadableImageError as error:
                rows = torch.zeros(1 + len(crops), 3, *self.transform.size, dtype=torch.float32)
                reasons.append(error.why)
                readable += [False] * len(rows)
            else:
                readable += [True] * len(rows)
            pixels.append(rows)
            images += [image] * len(rows)
        return Decoded(torch.cat(pixels), torch.tensor(images), torch.tensor(readable), reasons)

    def _rows(self, image: int, crops: Float[Tensor, "v 4"]) -> Float[Tensor, "k 3 h w"]:
        picture = self.collection.read(image)
        return torch.stack([self.transform(picture), *(self.transform(cut(picture, box)) for box in crops)])


class Images(pl.LightningDataModule):
    """The batches that are still to be described, divided among processes by whole shards.

    Args:
        collection: where images come from.
        transform: of the backbone.
        encoding: says which crops follow an image.
        regions: of the images.
        shards: the batches of each shard.
        workers: decoding processes; 0 decodes in the main one.
    """

    def __init__(
        self,
        collection: Collection,
        transform: Transform,
        encoding: Encoding,
        regions: Regions,
        shards: Sequence[Sequence[Span]],
        workers: int,
    ) -> None:
        super().__init__()
        self.make = (collection, transform, encoding, regions)
        self.shards = shards
        self.workers = workers
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more processes than shards

    def mine(self) -> list[Span]:
        """The batches of this process."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return [span for shard in self.shards[rank::world] for span in shard]

    def predict_dataloader(self) -> DataLoader[Decoded]:
        """A loader of whole batches."""
        return DataLoader(
            ImageBatches(*self.make, self.mine()),
            batch_size=None,  # items are batches already
            num_workers=self.workers,
            multiprocessing_context=start_method() if self.workers else None,
            pin_memory=torch.cuda.is_available(),
        )


def start_method() -> str | None:
    """How workers are started: as Python does it; but in a process of joblib's, whose own way takes none of them."""
    usual = multiprocessing.get_start_method(allow_none=True)
    known = ("fork", "spawn", "forkserver")
    return None if usual is None or usual in known else known[0 if sys.platform == "linux" else 1]
