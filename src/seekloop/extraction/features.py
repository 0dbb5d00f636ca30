"""Local features of a collection: every image through a network at some scales, the channels of its maps detected."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from seekloop.backbones.maps import Maps
from seekloop.contracts.declared import Count, Share, component
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.local_features import LocalFeatures, Role
from seekloop.contracts.protocols import Backbone, Collection
from seekloop.contracts.recipe import Recipe, settings
from seekloop.descriptors.local_features import LocalFeatureSettings, local_features
from seekloop.extraction.images import Sharded
from seekloop.extraction.jobs import InJobs
from seekloop.extraction.trainer import TrainerSettings, own_copy
from seekloop.images.transforms import to_pixels
from seekloop.lightning.progress import ImagesPerSecond
from seekloop.lightning.silence import lightning_silenced
from seekloop.regions.mser import Activations, Levels, Mser
from seekloop.regions.parts import Say
from seekloop.store import features as feature_files
from seekloop.store.features import FeatureStore, FeatureWriter
from seekloop.store.manifest import folder_name, store_folder

FEATURE = "tokens"


@component
class Scales:
    """Sizes at which local features are looked for; images keep their proportions, to the nearest cell of the map.

    Args:
        longest: pixels along the longer side of an image at scale 1.
        scales: relative to that.
        enlarge: whether smaller images are enlarged to it.
    """

    longest: Count = 1024
    scales: Sequence[Share] = (1.0, 2**-0.5, 0.5)
    enlarge: bool = False

    def __post_init__(self) -> None:
        if not len(self.scales) or min(self.scales) <= 0:
            raise ConfigError("scales", self.scales, "each scale is a size above 0", "Usual: [1, 0.7071, 0.5].", self)

    def sizes(self, width: int, height: int, patch: tuple[int, int]) -> list[tuple[int, int]]:
        """Height and width in pixels at each scale, multiples of a cell; at least one cell.

        Example:
            >>> Scales(longest=64).sizes(640, 480, (8, 8))
            [(48, 64), (32, 48), (24, 32)]
        """
        whole = self.longest / max(width, height)
        whole = whole if self.enlarge else min(1.0, whole)
        return [(_cells(height * whole * one, patch[0]), _cells(width * whole * one, patch[1])) for one in self.scales]


def _cells(pixels: float, side: int) -> int:
    """The nearest multiple of a cell's side, at least one."""
    return side * max(1, round(pixels / side))


@component
class LocalFeatureExtraction:
    """A stage: the local features of a collection, in a folder of their own below the stores.

    A first pass over at most `sample` images, evenly spaced, measures how activations become 8 bits and over how many
    levels a region has to be stable: once for a network and a data set. Both are kept in the folder.

    Attributes:
        collection: the images.
        backbone: whose maps.
        settings: which features of an image stay.
        role: of the images; queries keep features that database images suppress.
        store_dir: folder of all stores.
        trainer: on what the network computes, and how many processes decode and detect.
        mser: detector of regions.
        scales: sizes of the images.
        sample: most images of the first pass.
        measured_on: collection of the first pass: the database, where `collection` are queries from elsewhere; None:
            the collection itself.
    """

    collection: Collection
    backbone: Backbone
    settings: LocalFeatureSettings = LocalFeatureSettings()
    role: Role = "database"
    store_dir: Path | str = "stores"
    trainer: TrainerSettings = TrainerSettings()
    mser: Mser = Mser()
    scales: Scales = Scales()
    sample: Count = 100
    measured_on: Collection | None = None

    def __post_init__(self) -> None:
        if not len(self.collection.paths):
            raise ConfigError("collection", "no images", "there are none to match", "Check collection.root.", self)
        _ = self.maps  # whatever the network cannot give is refused now

    @cached_property
    def maps(self) -> Maps:
        """The network, read out as maps.

        Raises:
            ConfigError: if it does not take images of any size.
        """
        return Maps(self.backbone, (FEATURE,), None)

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the features."""
        known = {
            "collection": self.collection.fingerprint(),
            "measured_on": None if self.measured_on is None else self.measured_on.fingerprint(),
            "backbone": settings(self.backbone),
            "normalisation": settings([self.maps.mean, self.maps.std, self.maps.interpolation]),
            "scales": settings(self.scales),
            "sample": self.sample,
            "mser": settings(self.mser),
            "features": settings(self.settings),
            "role": self.role,
            "precision": self.trainer.resolved_precision,
        }
        return Recipe("features", known)

    @property
    def folder(self) -> Path:
        """Folder of the features."""
        name = f"{self.collection.name}-features-{self.role}"
        return Path(self.store_dir) / folder_name(name, self.backbone.name, self.recipe.key)

    def ensure(self, say: Say) -> FeatureStore:
        """The features of the collection; detected if they have to be, going on where an earlier run was stopped.

        Raises:
            StoreError: if a file is damaged, or the disk is full.
        """
        folder, images = self.folder, len(self.collection.paths)

        def kept() -> str:
            return (
                f"features of {feature_files.kept_images(folder, images):,} of {images:,} images are kept in {folder}"
            )

        artifact = store_folder(folder)
        if artifact.finished:
            artifact.used()
        else:
            with artifact.claim(kept, say, "detecting features in"):
                if not artifact.finished:
                    self.trainer.runner(self.trainer.resolved_precision)  # refused before any file is made
                    missing = feature_files.begin(folder, self.recipe, images)
                    with lightning_silenced():
                        self._detect(missing, self._levels(say), say)
                    feature_files.finish(folder, images)
        found = feature_files.read_features(folder)
        self._report(found, say)
        return found

    def _levels(self, say: Say) -> Levels:
        """Levels of the 8 bits: those of the folder, or measured now."""
        known = feature_files.kept_levels(self.folder)
        if known is None and self.measured_on is not None:  # the database's are the same, and may be there
            whole = replace(self, collection=self.measured_on, role="database", measured_on=None)
            known = feature_files.kept_levels(whole.folder)
            if known is not None:
                feature_files.keep_levels(self.folder, known)
        if known is not None:
            return Levels(float(known["factor"]), int(known["step"]))
        collection = self.measured_on or self.collection
        chosen = evenly_spaced(len(collection.paths), self.sample)
        say(f"measuring the range of activations in {len(chosen):,} of {len(collection.paths):,} images, for detection")
        seen = Activations()
        one = replace(self.trainer, devices=1, strategy="auto")
        self._predict(one, collection, [chosen], CountActivations(seen))
        levels = seen.levels(self.mser.step)
        feature_files.keep_levels(self.folder, asdict(levels))
        return levels

    def _detect(self, missing: Sequence[Sequence[int]], levels: Levels, say: Say) -> None:
        images, left = len(self.collection.paths), sum(len(shard) for shard in missing)
        done = f" ({images - left:,} are done already)" if left < images else ""
        say(f"detecting local features in {images:,} images{done}, with {self.maps.name}: {self.folder}")
        find = FindFeatures(self.mser, levels, self.settings, self.role)
        writer, paths, scales = FeatureWriter(self.folder, images), self.collection.paths, len(self.scales.scales)
        jobs = FeaturesInJobs(find, writer, paths, scales, self.trainer.detecting)
        bar = ImagesPerSecond("detect features", images - left, images, warm=1 + 2 * jobs.at_once)
        self._predict(self.trainer, self.collection, missing, jobs, bar)

    def _predict(
        self, trainer: TrainerSettings, collection: Collection, shards: Sequence[Sequence[int]], *callbacks: pl.Callback
    ) -> None:
        precision = trainer.resolved_precision
        data = Sharded(partial(ImagesAtScales, collection, self.maps, self.scales), shards, trainer.workers)
        read = ReadScales(own_copy(self.maps, precision))
        trainer.runner(precision, *callbacks).predict(read, data, return_predictions=False)

    def _report(self, found: FeatureStore, say: Say) -> None:
        readable = int(found.readable.sum())
        say(f"{found.offsets[-1] / max(1, readable):.1f} local features per image")
        failures = [(path, why) for path, why in zip(self.collection.paths, found.why, strict=True) if why]
        if failures:
            more = ", ..." if len(failures) > 1 else ""
            say(f"{len(failures)} images could not be read: {failures[0][0]} ({failures[0][1]}){more}")


def evenly_spaced(images: int, most: int) -> list[int]:
    """Positions of at most `most` of some images, the first one of each stretch.

    Example:
        >>> evenly_spaced(10, 4)
        [0, 2, 5, 7]
        >>> evenly_spaced(3, 4)
        [0, 1, 2]
    """
    count = min(images, most)
    return [place * images // count for place in range(count)]


class Scaled(NamedTuple):
    """One image at every scale, on its way to the network; no pixels where it is unreadable."""

    pixels: tuple[Float[Tensor, "1 3 _ _"], ...]
    image: Int[Tensor, " 1"]
    why: str


class ImagesAtScales(Dataset[Scaled]):
    """Images of their own proportions, one by one, each at every scale."""

    def __init__(self, collection: Collection, maps: Maps, scales: Scales, images: Sequence[int]) -> None:
        self.collection, self.scales, self.images, self.patch = collection, scales, images, maps.patch
        self.normalise = (maps.mean, maps.std, maps.interpolation)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Scaled:
        """Decode one image."""
        position = torch.tensor([self.images[index]])
        try:
            picture = self.collection.read(self.images[index])
        except UnreadableImageError as error:
            return Scaled((), position, error.why)
        sizes = self.scales.sizes(*picture.size, self.patch)
        return Scaled(tuple(to_pixels(picture, size, *self.normalise)[None] for size in sizes), position, "")


class MapsOfImage(NamedTuple):
    """A network's maps of one image, channels first, of every scale; none where it could not be read."""

    maps: tuple[Float[Tensor, "d _ _"], ...]
    image: Int[Tensor, " 1"]
    why: str


class ReadScales(pl.LightningModule):
    """Images in, maps of every scale out, in half precision."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        self.maps = maps
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def predict_step(self, batch: Scaled, batch_idx: int) -> MapsOfImage:
        """The maps of one image."""
        found = tuple(self.maps(pixels)[FEATURE][0].permute(2, 0, 1).half() for pixels in batch.pixels)
        return MapsOfImage(found, batch.image, batch.why)


class CountActivations(pl.Callback):
    """Adds the activations of every map to a histogram."""

    def __init__(self, seen: Activations) -> None:
        self.seen = seen

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count one image."""
        for one in outputs.maps:
            self.seen.add(one.float().cpu().numpy())


@dataclass(frozen=True)
class FindFeatures:
    """Everything between the maps of an image and its local features."""

    mser: Mser
    levels: Levels
    settings: LocalFeatureSettings
    role: Role

    def __call__(self, maps: Sequence[Float[Tensor, "d _ _"]], path: str) -> LocalFeatures:
        """The local features of one image.

        Raises:
            ValueError: if an activation is no finite number; names the image.
        """
        arrays = [one.float().numpy() for one in maps]
        if not all(np.isfinite(one).all() for one in arrays):
            raise ValueError(f"{path}: the network's map holds numbers that are not finite")
        regions = [self.mser(one, self.levels) for one in arrays]
        return local_features(arrays, regions, self.settings, self.role)


class FeaturesInJobs(InJobs[MapsOfImage, LocalFeatures]):
    """Detects local features in the maps of images."""

    def __init__(self, find: FindFeatures, writer: FeatureWriter, paths: Sequence[str], scales: int, jobs: int) -> None:
        super().__init__(jobs)
        self.find, self.writer, self.paths, self.scales = find, writer, paths, scales

    def taken(self, outputs: Any) -> MapsOfImage:  # noqa: ANN401 - a `MapsOfImage`
        """The maps of one image, on the CPU."""
        return MapsOfImage(tuple(one.cpu() for one in outputs.maps), outputs.image.cpu(), outputs.why)

    def call(self, entry: MapsOfImage) -> tuple[Callable[..., LocalFeatures], tuple[object, ...]] | None:
        """Detection in the maps of one image."""
        return None if entry.why else (self.find, (entry.maps, self.paths[int(entry.image)]))

    def keep(self, entry: MapsOfImage, found: LocalFeatures | None) -> None:
        """Hand one image's features to the writer."""
        nothing = LocalFeatures.none(np.zeros((self.scales, 2), dtype=np.int64))
        self.writer.add(int(entry.image), nothing if found is None else found, entry.why)
