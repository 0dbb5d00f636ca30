"""Plan of an extraction: content and place of a store, before any of it is computed."""

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import torch

from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.grids import Grid, check_not_finer
from seekloop.contracts.protocols import Backbone, Collection
from seekloop.contracts.recipe import Recipe, settings
from seekloop.contracts.records import Regions
from seekloop.descriptors.encoding import Encoding, FromTokens
from seekloop.descriptors.multiscale import MultiScale
from seekloop.descriptors.pooling import Auto, ClassToken, Mean, Pooling
from seekloop.extraction.images import OwnSize, own_size, transform_of
from seekloop.extraction.trainer import TrainerSettings
from seekloop.regions import grid
from seekloop.regions.parts import Parts, PartsOfImages, Say
from seekloop.store import manifest, shards
from seekloop.store.manifest import StoreManifest

WRITERS = ("seekloop", "torch", "torchvision", "timm", "pillow", "numpy")


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
        """Recipe of the descriptors; of global ones alone, without the regions.

        But with them where crops share the images' batches, or global descriptors are sums of regions.
        """
        whole = self.manifest.recipe
        return whole if local or not self.global_apart else Recipe(whole.kind, whole.settings)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return manifest.store_folder(self.folder).finished and not shards.missing(self.folder, self.manifest)

    def refreshed(self) -> "Plan":
        """The same after other processes may have begun or finished the store."""
        return replace(self, manifest=_already_there(self.folder) or self.manifest)

    def missing_images(self) -> int:
        """Images still to be described."""
        return shards.missing_images(self.folder, self.manifest)

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


@component
class Extraction:
    """A stage: the descriptors of a collection, made by one network.

    Args:
        collection: the images.
        backbone: the network, on the CPU and in float32.
        regions: which parts of images.
        encoding: tokens, crops or regions of interest.
        pooling: of global descriptors.
        store_dir: folder of all stores.
        trainer: on what the network computes, how many images at once, and how many processes decode.
        dtype: of the files.
        shard: images per file; rounded up to whole batches. An unfinished store keeps what it began with.
        fail_fast: stop at an unreadable image instead of recording it.
        longest: most pixels along the longer side of an image, which keeps its proportions and goes through the network
            alone; sides are whole tokens, and smaller images stay as they are. None: all images are brought to the
            backbone's size.
    """

    collection: Collection
    backbone: Backbone
    regions: PartsOfImages = grid.Grid()
    encoding: Encoding = FromTokens()
    pooling: Pooling = Auto()
    store_dir: Path | str = "stores"
    trainer: TrainerSettings = TrainerSettings()
    dtype: Literal["float16", "float32"] = "float16"
    shard: Count = 256
    fail_fast: bool = False
    longest: Count | None = None

    @cached_property
    def sizes(self) -> OwnSize | None:
        """Sizes that keep the proportions of images; None where all have the backbone's.

        Raises:
            ConfigError: if the backbone takes images of one size only.
        """
        return own_size(self.backbone, self.longest)

    def images_per_batch(self, regions: Regions) -> int:
        """Number of images that go through the network together."""
        if self.sizes is not None:
            return 1
        return self.encoding.images_per_batch(regions, len(self.collection.paths), self.trainer.batch_size)

    @cached_property
    def plan(self) -> Plan:
        """The store of these choices, or the one to make.

        Where none exists yet, one blank image goes through the backbone, so that a grid finer than its tokens, or a
        pooling it cannot serve, is found out before long work.

        Raises:
            ConfigError: if the choices do not fit together.
        """
        images, encoding, rows = len(self.collection.paths), self.encoding, self.trainer.batch_size
        if images == 0:
            raise ConfigError("collection", "no images", "there is nothing to describe", "Check collection.root.")
        parts = self.regions.parts(self.collection, encoding.poolable)
        known = {
            "collection": self.collection.fingerprint(),
            "backbone": settings(self.backbone),
            "transform": settings(transform_of(self.backbone)._asdict()),
            "encoding": settings(encoding),
            "pooling": settings(self.pooling),
            "dtype": self.dtype,
            "precision": self.trainer.resolved_precision,
            "batch_size": rows,
        }
        if self.sizes is not None:
            known |= {"transform": settings(transform_of(self.backbone)._replace(size=(0, 0))._asdict())}
            known |= {"longest": self.longest, "batch_size": 1}
        recipe = Recipe("descriptors", known, (parts.recipe,))
        folder = Path(self.store_dir) / manifest.folder_name(self.collection.name, self.backbone.name, recipe.key)
        described, fixed = _already_there(folder), self.longest is None
        if isinstance(self.pooling, MultiScale):
            self.pooling.check(self.backbone)
        if described is None:
            step = self.images_per_batch(parts.regions) if parts.regions else rows
            described = StoreManifest(
                recipe=recipe,
                images=images,
                dim=self.backbone.dim,
                dtype=self.dtype,
                shard=-(-self.shard // step) * step,
                grids=parts.grids,
                poolable=parts.poolable,
                tokens=_token_map(self.backbone, self.pooling) if encoding.name == "tokens" and fixed else None,
                versions=_versions(),
                failures=None,
                text_space=_text_space(self.backbone, encoding, self.pooling),
            )
        if described.tokens is not None:
            check_not_finer(parts.asked, described.tokens)
        apart = getattr(encoding, "global_apart", encoding.name != "crops")
        return Plan(folder, described, parts, global_apart=apart)


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


def _text_space(backbone: Backbone, encoding: Encoding, pooling: Pooling) -> str | None:
    """The space of the descriptors: that of the tokens where they are tokens or means of them."""
    kept = getattr(encoding, "keeps_space", True) and isinstance(pooling, Auto | ClassToken | Mean)
    return getattr(backbone, "text_space", None) if kept else None


def _versions() -> dict[str, str]:
    found = {}
    for name in WRITERS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
