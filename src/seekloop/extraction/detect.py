"""Regions found by a detector: every image through a network at its own shape, its map through the detector."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits
from torch import Tensor

from seekloop.backbones.maps import Maps
from seekloop.contracts.declared import component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.protocols import Collection, KnowsContents
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import Recipe, settings
from seekloop.contracts.records import KINDS, Regions
from seekloop.extraction.images import ImagesAtTheirSize, OneSize, Sharded, Sized, Sizing
from seekloop.extraction.jobs import InJobs
from seekloop.extraction.trainer import TrainerSettings, own_copy
from seekloop.lightning.progress import ImagesPerSecond
from seekloop.lightning.silence import lightning_silenced
from seekloop.regions.detected import Detected
from seekloop.regions.parts import Parts, Say, ragged
from seekloop.regions.segments import Detector, KnowsImage
from seekloop.store import found as found_files
from seekloop.store import kept_maps
from seekloop.store.found import FoundImage, FoundRegions, FoundWriter
from seekloop.store.manifest import folder_name, store_folder

SAYS_NOTHING = 0.05  # share of alike (or of unlike) pairs below which a threshold tells little


@component
class Detection:
    """A stage: the regions that a detector finds in a collection, in a folder of their own below the stores.

    They are found once, whatever is made of them.

    Attributes:
        regions: detector, network and feature.
        store_dir: folder of all stores.
        trainer: on what the network computes, and how many processes decode and detect.
    """

    regions: Detected
    store_dir: Path | str = "stores"
    trainer: TrainerSettings = TrainerSettings()

    def __post_init__(self) -> None:
        _ = self.maps  # whatever the network cannot give is refused now

    @cached_property
    def maps(self) -> Maps:
        """The network, read out as maps.

        Raises:
            ConfigError: if it lacks a feature or the block, or does not take images of any size.
        """
        chosen = self.regions
        try:
            features = tuple(dict.fromkeys([chosen.feature, *chosen.keep]))
            return Maps(chosen.backbone, features, chosen.layer, any_size=chosen.shape == "own")
        except ConfigError as error:
            name = error.key.removeprefix("regions.")
            raise ConfigError(name, error.got, error.why, error.fix, chosen) from error

    def parts(self, collection: Collection, poolable: bool) -> Parts:
        """Regions that are still to be found, or are known already: `Parts.located` sees to it."""
        recipe = Recipe(
            "regions", {"class": "Detected", "cells": settings(self.regions.grids)}, (self.recipe(collection),)
        )

        def located(say: Say) -> Regions:
            return self.located(self.found(collection, say))

        return Parts(None, None, (), False, recipe, find=located)

    def located(self, found: FoundRegions) -> Regions:
        """Found regions, with the cells and whole images that are regions besides."""
        return with_cells(found, grid_boxes(self.regions.grids or ()))

    def recipe(self, collection: Collection) -> Recipe:
        """Recipe of the detector's regions of a collection."""
        known = {"detector": settings(self.regions.detector), "seed": self.regions.seed}
        return Recipe("regions", known, (self.recipe_of_maps(self.regions.feature, collection),))

    def recipe_of_maps(self, feature: str, collection: Collection) -> Recipe:
        """Recipe of the maps of a feature."""
        known = {
            "collection": collection.fingerprint(),
            "feature": feature,
            "backbone": settings(self.regions.backbone),
            "normalisation": settings([self.maps.mean, self.maps.std, self.maps.interpolation]),
            "layer": self.maps.block,
            "sizing": settings(self._sizing),
            "precision": self.trainer.resolved_precision,
        }
        return Recipe("maps", known)

    @property
    def _sizing(self) -> Sizing | OneSize:
        if self.regions.shape == "backbone":
            return OneSize(self.regions.backbone.image_size)
        return Sizing(self.regions.shortest, self.regions.longest, self.regions.enlarge)

    def _folder(self, collection: Collection, what: str, recipe: Recipe) -> Path:
        return Path(self.store_dir) / folder_name(f"{collection.name}-{what}", self.regions.backbone.name, recipe.key)

    def folder(self, collection: Collection) -> Path:
        """Where the detector's regions of a collection lie, or will."""
        return self._folder(collection, type(self.regions.detector).__name__.lower(), self.recipe(collection))

    def found(self, collection: Collection, say: Say) -> FoundRegions:
        """The detector's regions of a collection, without cells and whole images; looked for if they have to be.

        Raises:
            StoreError: if the disk is full or a file is damaged.
        """
        recipe, images, chosen = self.recipe(collection), len(collection.paths), self.regions
        folder = self.folder(collection)

        def kept() -> str:
            return f"regions of {found_files.kept_images(folder, images):,} of {images:,} images are kept in {folder}"

        artifact = store_folder(folder)
        if artifact.finished:
            artifact.used()
        else:
            with artifact.claim(kept, say, "finding regions in"):
                if not artifact.finished:
                    self.trainer.runner(self.trainer.resolved_precision)  # refused before any file is made
                    contents = collection.contents() if isinstance(collection, KnowsContents) else None
                    missing = found_files.begin(folder, recipe, images, contents)
                    self._search(collection, folder, missing, contents, say)
                    found_files.finish(folder, images)
        found, why = found_files.read_found(folder)
        features = {one: self._folder(collection, one, self.recipe_of_maps(one, collection)) for one in chosen.keep}
        if lost := sorted(one for one, maps in features.items() if not store_folder(maps).finished):
            say(
                f"regions.keep: maps of {', '.join(lost)} are not kept of all images, since regions that were found "
                "before need no network. Another store_dir finds all of them anew."
            )
        self._report(found, [(path, reason) for path, reason in zip(collection.paths, why, strict=True) if reason], say)
        return found

    def _search(
        self,
        collection: Collection,
        folder: Path,
        missing: Sequence[Sequence[int]],
        contents: Sequence[str] | None,
        say: Say,
    ) -> None:
        """Bring the missing images through the network and the detector, each kept as soon as it is finished."""
        chosen, trainer, images = self.regions, self.trainer, len(collection.paths)
        left = sum(len(shard) for shard in missing)
        done = f" ({images - left:,} are done already)" if left < images else ""
        say(f"finding regions in {images:,} images{done}, with {self.maps.name}: {folder}")
        seen = self._folder(collection, chosen.feature, self.recipe_of_maps(chosen.feature, collection))
        jobs, precision = trainer.detecting, trainer.resolved_precision
        detect = DetectInJobs(chosen.detector, chosen.seed, FoundWriter(folder, images), collection.paths, jobs)
        bar = ImagesPerSecond("find regions", images - left, images, warm=1 + 2 * detect.at_once)
        with self._keeping(collection, contents, say) as keep, lightning_silenced():
            data = Sharded(
                partial(ImagesAtTheirSize, collection, self.maps, self._sizing, seen, keep), missing, trainer.workers
            )
            read = ReadMaps(own_copy(self.maps, precision), chosen.feature, keep)
            trainer.runner(precision, detect, bar).predict(read, data, return_predictions=False)
            found, _ = found_files.read_found(folder)
            for maps in keep.values():
                kept_maps.finish(maps, found.readable.nonzero()[:, 0].tolist())

    def show(self, collection: Collection, images: Sequence[int], callback: pl.Callback) -> None:
        """Bring the maps of some images, as the detector sees them, to a callback in this process, one after the other.

        Maps that were kept are read; `outputs` of the callback is a `MapOfImage`.
        """
        recipe, precision = self.recipe_of_maps(self.regions.feature, collection), self.trainer.resolved_precision
        seen = self._folder(collection, self.regions.feature, recipe)
        dataset = partial(ImagesAtTheirSize, collection, self.maps, self._sizing, seen, {})
        data = Sharded(dataset, [list(images)], self.trainer.workers)
        read = ReadMaps(own_copy(self.maps, precision), self.regions.feature, {})
        alone = replace(self.trainer, devices=1, strategy="auto")  # what other processes collect would be lost
        with lightning_silenced():
            bar = ImagesPerSecond("read maps", 0, len(images))
            alone.runner(precision, callback, bar).predict(read, data, return_predictions=False)

    def map_of(self, collection: Collection, image: int) -> Float[Tensor, "h w d"]:
        """The map of one image, as the detector sees it."""
        seen = _LastMap()
        self.show(collection, [image], seen)
        return seen.map

    @contextlib.contextmanager
    def _keeping(self, collection: Collection, contents: Sequence[str] | None, say: Say) -> Iterator[dict[str, Path]]:
        """Claim the folders of the maps that are to be kept; of two processes, one keeps and the other waits."""
        with contextlib.ExitStack() as claims:
            keep: dict[str, Path] = {}
            for feature in sorted(set(self.regions.keep)):  # in one order, so that no two wait for each other
                recipe = self.recipe_of_maps(feature, collection)
                keep[feature] = self._folder(collection, feature, recipe)
                claims.enter_context(store_folder(keep[feature]).claim(None, say, "keeping maps in"))
                kept_maps.begin(keep[feature], recipe, contents)
            yield keep

    def _report(self, found: FoundRegions, failures: Sequence[tuple[str, str]], say: Say) -> None:
        each = len(found.boxes) / max(1, int(found.readable.sum()))
        share = found.affine_share
        say(f"{each:.1f} regions per image" + ("" if share is None else f", {share:.1%} of the pairs of tokens alike"))
        if without := int(((found.offsets.diff() == 0) & found.readable).sum()):
            say(f"{without:,} images have no region and stand for themselves as a whole")
        if share is not None and not SAYS_NOTHING <= share <= 1 - SAYS_NOTHING:
            say(
                f"warning: {share:.1%} of the pairs of tokens of {self.maps.name} pass the detector's threshold, "
                "which says little outside 5 to 95 %. Backbones differ: try another threshold (a key of "
                "regions.detector), another regions.feature, or the backbone that the method was made for."
            )
        if failures:
            more = ", ..." if len(failures) > 1 else ""
            say(f"{len(failures)} images could not be read: {failures[0][0]} ({failures[0][1]}){more}")


class MapOfImage(NamedTuple):
    """A network's map of one image; why is empty where the image could be read."""

    map: Float[Tensor, "h w d"]
    image: Int[Tensor, " 1"]
    why: str


class ReadMaps(pl.LightningModule):
    """Images in, maps of a feature out, in half precision, so that one that was kept is the same as one that was not.

    Maps of the features in `keep` stay in its folders.
    """

    def __init__(self, maps: Maps, feature: str, keep: Mapping[str, Path]) -> None:
        super().__init__()
        self.maps, self.feature, self.keep = maps, feature, dict(keep)
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def predict_step(self, batch: Sized, batch_idx: int) -> MapOfImage:
        """The map of one image."""
        if batch.kept is not None:
            return MapOfImage(batch.kept, batch.image, batch.why)
        maps = self.maps(batch.pixels)
        if not batch.why:
            for feature, folder in self.keep.items():
                kept_maps.keep_map(folder, int(batch.image), maps[feature][0].cpu())
        return MapOfImage(maps[self.feature][0].half(), batch.image, batch.why)


class _LastMap(pl.Callback):
    """Keeps the map that came last."""

    map: Float[Tensor, "h w d"]

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep it."""
        self.map = outputs.map.float().cpu()


class DetectInJobs(InJobs[MapOfImage, FoundImage]):
    """Detects regions in the maps of images. Each image draws from its own generator, whoever looks at it."""

    def __init__(self, detector: Detector, seed: int, writer: FoundWriter, paths: Sequence[str], jobs: int) -> None:
        super().__init__(jobs)
        self.detector, self.seed, self.writer, self.paths = detector, seed, writer, paths

    def taken(self, outputs: Any) -> MapOfImage:  # noqa: ANN401 - a `MapOfImage`
        """The map of one image, on the CPU."""
        return MapOfImage(outputs.map.float().cpu(), outputs.image.cpu(), outputs.why)

    def call(self, entry: MapOfImage) -> tuple[Callable[..., FoundImage], tuple[object, ...]] | None:
        """Detection in one map."""
        known = self.detector, entry, self.seed, self.paths[int(entry.image)]
        return None if entry.why else (detect, known)

    def keep(self, entry: MapOfImage, found: FoundImage | None) -> None:
        """Hand one image's regions to the writer."""
        self.writer.add(int(entry.image), FoundImage.unreadable(entry.why) if found is None else found)


def detect(detector: Detector, seen: MapOfImage, seed: int, path: str = "") -> FoundImage:
    """Find the regions in one image's map, in one thread, so that sums do not depend on how many there are.

    Raises:
        ValueError: as the detector, with the image's path.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            rng = generator(seed, "regions", int(seen.image))
            before = rng.get_state()
            one = detector.of_image(int(seen.image)) if isinstance(detector, KnowsImage) else detector
            found = one(seen.map, rng)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    finally:
        torch.set_num_threads(threads)
    affine = float("nan") if found.affine is None else found.affine
    columns = found.boxes.float(), found.level.long(), found.score.float(), found.masks
    return FoundImage(*columns, affine, drew=not rng.get_state().equal(before), saliency=found.saliency)


@dataclass(frozen=True)
class MasksWithCells:
    """The masks of `with_cells`' regions."""

    found: FoundRegions
    cells: Float[Tensor, "m 4"]

    def of(self, image: int) -> Bool[Tensor, "m h w"]:
        """The cells' masks, then those that were found; all tokens where there are neither."""
        found = self.found.masks(image)
        cells = [_filled(box, *found.shape[1:]) for box in self.cells]
        whole = [] if len(cells) + len(found) else [torch.ones(1, *found.shape[1:], dtype=torch.bool)]
        return torch.cat([*cells, found, *whole])


def _filled(box: Float[Tensor, " 4"], rows: int, columns: int) -> Bool[Tensor, "1 h w"]:
    """The tokens whose middle lies in a box; the nearest one to its middle where there is none."""
    x, y = (torch.arange(columns) + 0.5) / columns, (torch.arange(rows) + 0.5) / rows
    inside = ((y >= box[1]) & (y <= box[3]))[:, None] & ((x >= box[0]) & (x <= box[2]))[None]
    if not inside.any():
        middle = (box[:2] + box[2:]) / 2
        inside[(y - middle[1]).abs().argmin(), (x - middle[0]).abs().argmin()] = True
    return inside[None]


def with_cells(found: FoundRegions, cells: Float[Tensor, "m 4"]) -> Regions:
    """Regions of a collection: of each image the cells, then what was found; the image itself where there is neither.

    Cells have level 0.
    """
    images, fixed = len(found.readable), len(cells)
    owner = torch.arange(images)
    kind = torch.tensor([KINDS.index("cell"), KINDS.index("found")])
    regions = ragged(
        torch.cat([owner.repeat_interleave(fixed), owner.repeat_interleave(found.offsets.diff())]),
        torch.cat([cells.repeat(images, 1), found.boxes]),
        torch.cat([torch.zeros(images * fixed, dtype=torch.long), found.level]),
        kind.repeat_interleave(torch.tensor([images * fixed, len(found.boxes)])),
        images,
    )
    return replace(regions, masks=MasksWithCells(found, cells))
