"""Images for a detector's network: each at its own shape, one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seekloop.backbones.maps import Maps
from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.protocols import Collection
from seekloop.extraction.images import start_method
from seekloop.images.transforms import to_pixels
from seekloop.store.kept_maps import kept_map


@dataclass(frozen=True)
class Sizing:
    """How large an image is for the detector's network: its proportions stay, to the nearest token.

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


class Sized(NamedTuple):
    """One image on its way to the network; one patch of nothing where it could not be read, or its map was kept."""

    pixels: Float[Tensor, "1 3 h w"]
    image: Int[Tensor, " 1"]
    why: str
    kept: Float[Tensor, "rows columns d"] | None


class ImagesAtTheirSize(Dataset[Sized]):
    """Images at the sizes that the detector wants, one by one."""

    def __init__(self, collection: Collection, maps: Maps, sizing: Sizing, kept: Path, images: Sequence[int]) -> None:
        self.collection, self.sizing, self.kept, self.images = collection, sizing, kept, images
        self.patch = maps.patch
        self.normalise = (maps.mean, maps.std, maps.interpolation)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sized:
        """Decode one image."""
        image = self.images[index]
        position, nothing = torch.tensor([image]), torch.zeros(1, 3, *self.patch)
        kept = kept_map(self.kept, image)
        if kept is not None:
            return Sized(nothing, position, "", kept)
        try:
            picture = self.collection.read(image)
        except UnreadableImageError as error:
            return Sized(nothing, position, error.why, None)
        return Sized(self._pixels(picture)[None], position, "", None)

    def _pixels(self, picture: Image.Image) -> Float[Tensor, "3 h w"]:
        rows, columns = self.sizing.tokens(*picture.size, self.patch)
        return to_pixels(picture, (rows * self.patch[0], columns * self.patch[1]), *self.normalise)


class SizedImages(pl.LightningDataModule):
    """The images in which regions are still to be found, divided among processes by whole shards.

    Args:
        collection: where images come from.
        maps: what they are for.
        sizing: how large they are.
        kept: folder where their maps may be already.
        shards: images of each missing shard.
        workers: decoding processes; 0 decodes in the main one.
    """

    def __init__(
        self,
        collection: Collection,
        maps: Maps,
        sizing: Sizing,
        kept: Path,
        shards: Sequence[Sequence[int]],
        workers: int,
    ) -> None:
        super().__init__()
        self.make = (collection, maps, sizing, kept)
        self.shards, self.workers = shards, workers
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more processes than shards

    def predict_dataloader(self) -> DataLoader[Sized]:
        """A loader of single images."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        images = [image for shard in self.shards[rank::world] for image in shard]
        return DataLoader(
            ImagesAtTheirSize(*self.make, images),
            batch_size=None,
            num_workers=self.workers,
            multiprocessing_context=start_method() if self.workers else None,
        )
