"""What an extraction will hold and where, before any of it is computed."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.grids import Grid, check_not_finer
from seekloop.contracts.protocols import Backbone, Collection
from seekloop.contracts.recipe import Recipe, settings
from seekloop.contracts.records import Regions
from seekloop.descriptors.encoding import Encoding
from seekloop.descriptors.pooling import Pooling
from seekloop.extraction.images import transform_of
from seekloop.lightning.precision import resolve_precision
from seekloop.regions.parts import Parts, PartsOfImages, Say
from seekloop.store import manifest, shards
from seekloop.store.manifest import StoreManifest
from seekloop.store.writer import kept_images

WRITERS = ("seekloop", "torch", "torchvision", "timm", "pillow", "numpy")
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Plan:
    """A store that is to be, or is already.

    Attributes:
        folder: where.
        manifest: what.
        parts: its regions.
        global_apart: whether global descriptors are computed without the regions.
    """

    folder: Path
    manifest: StoreManifest
    parts: Parts
    global_apart: bool

    @property
    def key(self) -> str:
        """The store's key."""
        return self.manifest.key

    def recipe(self, local: bool) -> Recipe:
        """Recipe of the descriptors; of global ones alone, without the regions, unless crops share their batches."""
        whole = self.manifest.recipe
        return whole if local or not self.global_apart else Recipe(whole.kind, whole.settings)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return manifest.store_folder(self.folder).finished and not self.missing_shards()

    def refreshed(self) -> "Plan":
        """The same after other processes may have begun or finished the store."""
        return replace(self, manifest=_already_there(self.folder) or self.manifest)

    def missing_shards(self) -> list[int]:
        """Shards still to be computed."""
        return shards.missing(self.folder, self.manifest)

    def missing_images(self) -> int:
        """Images still to be described."""
        missing = self.missing_shards()
        spans = [self.manifest.span(shard) for shard in missing]
        return sum(stop - start for start, stop in spans) - sum(kept_images(self.folder, shard) for shard in missing)

    def located(self, say: Say) -> "Plan":
        """The same with its regions known; they are looked for if they have to be."""
        return replace(self, parts=replace(self.parts, regions=self.parts.located(say)))

    @property
    def regions(self) -> Regions:
        """The regions of a plan that is `located`."""
        if self.parts.regions is None:
            raise ValueError("the regions of this plan have still to be found")
        return self.parts.regions

    def bytes(self) -> int:
        """Size of the finished store, headers left out."""
        return shards.expected_bytes(self.manifest, self.regions.offsets)

    def missing_bytes(self) -> int:
        """About how much is still to be written."""
        return round(self.bytes() * self.missing_images() / self.manifest.images)


@dataclass(frozen=True)
class Extraction:
    """A stage: the descriptors of a collection, made by one network.

    Attributes:
        collection: the images.
        backbone: the network, on the CPU and in float32.
        regions: which parts of images.
        encoding: from tokens, crops or regions of interest.
        pooling: of global descriptors.
        store_dir: folder of all stores.
        trainer: settings of Lightning's `Trainer` (accelerator, devices, strategy, precision, ...).
        batch_size: images, or crops, at once through the network.
        workers: decoding processes. Results do not depend on them.
        dtype: of the files.
        shard: images per file; rounded up to whole batches. An unfinished store keeps what it began with.
        fail_fast: stop at an unreadable image instead of recording it.
    """

    collection: Collection
    backbone: Backbone
    regions: PartsOfImages
    encoding: Encoding
    pooling: Pooling
    store_dir: Path | str
    trainer: Mapping[str, Any]
    batch_size: int
    workers: int
    dtype: str
    shard: int
    fail_fast: bool

    @cached_property
    def plan(self) -> Plan:
        """The store of these choices, or the one to make.

        Where none exists yet, one blank image goes through the backbone, so that a grid finer than its tokens, or a
        pooling it cannot serve, is found out before long work.

        Raises:
            ConfigError: if the choices do not fit together.
        """
        images, encoding = len(self.collection.paths), self.encoding
        _check_settings(images, self.batch_size, self.shard, self.dtype)
        parts = self.regions.parts(self.collection, encoding.poolable)
        recipe = self._recipe(parts)
        name = manifest.folder_name(self.collection.name, self.backbone.name, recipe.key)
        folder = Path(self.store_dir) / name
        described = _already_there(folder)
        if described is None:
            tokens = _token_map(self.backbone, self.pooling) if encoding.name == "tokens" else None
            rows = self.batch_size
            step = encoding.images_per_batch(parts.regions, images, rows) if parts.regions else rows
            described = StoreManifest(
                recipe=recipe,
                images=images,
                dim=self.backbone.dim,
                dtype=self.dtype,
                shard=-(-self.shard // step) * step,
                grids=parts.grids,
                poolable=parts.poolable,
                tokens=tokens,
                versions=_versions(),
                failures=None,
            )
        if described.tokens is not None:
            check_not_finer(parts.asked, described.tokens)
        return Plan(folder, described, parts, global_apart=encoding.name != "crops")

    def _recipe(self, parts: Parts) -> Recipe:
        known = {
            "collection": self.collection.fingerprint(),
            "backbone": settings(self.backbone),
            "transform": settings(transform_of(self.backbone)._asdict()),
            "encoding": settings(self.encoding),
            "pooling": settings(self.pooling),
            "dtype": self.dtype,
            "precision": resolve_precision(self.trainer),
            "batch_size": self.batch_size,
        }
        return Recipe("descriptors", known, (parts.recipe,))


def _check_settings(images: int, batch_size: int, shard: int, dtype: str) -> None:
    if images == 0:
        raise ConfigError("collection", "no images", "there is nothing to describe", "Check collection.root.")
    if batch_size < 1:
        raise ConfigError("trainer.batch_size", batch_size, "it is not positive", "Usual: 32.")
    if shard < 1:
        raise ConfigError("store.shard", shard, "it is not positive", "Usual: 256.")
    if dtype not in DTYPES:
        raise ConfigError("store.dtype", dtype, "it is unknown", f"Valid: {', '.join(DTYPES)}.")


def _already_there(folder: Path) -> StoreManifest | None:
    try:
        return manifest.read_manifest(folder)
    except (StoreError, OSError):  # of a folder that cannot be used, the claim will say why
        return None


def _token_map(backbone: Backbone, pooling: Pooling) -> Grid:
    with torch.inference_mode():
        tokens = backbone(torch.zeros(1, 3, *backbone.image_size, dtype=torch.float32))
        pooling(tokens)
    return tokens.patches.shape[1], tokens.patches.shape[2]


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in WRITERS if _installed(name)}


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
