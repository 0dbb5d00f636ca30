"""Extraction: from a collection to its finished store, alone or shared with other processes."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from seekloop.contracts.errors import StoreError, UnreadableImageError
from seekloop.contracts.protocols import Backbone, KnowsContents
from seekloop.contracts.records import Batch, Regions, Tokens
from seekloop.descriptors.encoding import Described, Encoding, OnePass
from seekloop.descriptors.multiscale import pooled
from seekloop.descriptors.pooling import Pooling
from seekloop.extraction.detect import MasksWithCells
from seekloop.extraction.images import Decoded, ImageBatches, Sharded, transform_of
from seekloop.extraction.plan import Extraction, Plan
from seekloop.extraction.trainer import own_copy
from seekloop.lightning.progress import ImagesPerSecond
from seekloop.lightning.silence import lightning_silenced
from seekloop.store import manifest, writer


def ensure(extraction: Extraction, say: Callable[[str], None]) -> Path:
    """The folder of the finished store of a stage; whatever of it is missing is computed first.

    Any number of processes may ask for the same store at once: one computes, the others wait for it.

    Args:
        extraction: the stage.
        say: where messages for people go.

    Raises:
        ConfigError: if the choices do not fit together.
        StoreError: if the disk is full, or the network gives values that are not finite.
        UnreadableImageError: with `fail_fast`.
    """
    plan = extraction.plan
    if plan.finished:
        manifest.store_folder(plan.folder).used()
        return plan.folder

    def kept() -> str:
        images, missing = plan.manifest.images, plan.refreshed().missing_images()
        return f"{images - missing:,} of {images:,} images are described and kept in {plan.folder}"

    with manifest.store_folder(plan.folder).claim(kept, say, "extracting"):
        plan = plan.refreshed()
        if plan.finished:
            return plan.folder
        plan = plan.located(say)
        _announce(plan, say)
        extraction.trainer.runner(plan.manifest.precision)  # refused before any file is made
        writer.create(plan.folder, plan.manifest, plan.regions)
        plan = plan.refreshed()
        _describe(extraction, plan, say)
        failures = writer.finish(plan.folder, plan.manifest, extraction.collection.paths)
        if failures:
            first = "; ".join(f"{path} ({why})" for path, why in failures[:3])
            more = f"; all are listed in {plan.folder / manifest.FAILURES}" if len(failures) > 3 else ""
            say(f"{len(failures)} of {plan.manifest.images} images could not be read and are left out: {first}{more}")
    return plan.folder


def _announce(plan: Plan, say: Callable[[str], None]) -> None:
    missing, described = plan.missing_images(), plan.manifest
    done = f" ({described.images - missing:,} are done already)" if missing < described.images else ""
    say(f"describing {described.images:,} images{done}: {plan.bytes() / 1e6:,.1f} MB in {plan.folder}")
    free, needed = shutil.disk_usage(plan.folder.parent).free, plan.missing_bytes()
    if free < needed:
        raise StoreError(
            f"{plan.folder} needs {needed / 1e6:,.0f} MB more, and the disk has {free / 1e6:,.0f} MB free. Free "
            "some, or choose another folder with store_dir=<folder>."
        )


def _describe(extraction: Extraction, plan: Plan, say: Callable[[str], None]) -> None:
    """Bring the missing batches through the network, each kept as soon as it is finished."""
    collection, backbone, encoding = extraction.collection, extraction.backbone, extraction.encoding
    trainer, precision, rows = extraction.trainer, plan.manifest.precision, extraction.trainer.batch_size
    step = extraction.images_per_batch(plan.regions)
    store = writer.StoreWriter(plan.folder, plan.manifest, plan.regions.offsets, list(collection.paths))
    before = None
    if isinstance(collection, KnowsContents):
        masks = plan.regions.masks
        drew = masks.found.drew if isinstance(masks, MasksWithCells) else None
        before = writer.earlier_store(plan.folder, plan.manifest, plan.regions, collection.contents(), drew)
    if before is not None:
        fresh = plan.manifest.images - before.images
        say(f"{before.images:,} images are as in {before.folder} and taken over, {fresh:,} are described")
    missing = store.missing(step, before)
    images = partial(ImageBatches, collection, transform_of(backbone), encoding, plan.regions, sizes=extraction.sizes)
    describe = Describe(own_copy(backbone, precision), extraction.pooling, encoding, plan.regions, rows)
    bar = ImagesPerSecond("describe", plan.manifest.images - plan.missing_images(), plan.manifest.images)
    with lightning_silenced():
        runner = trainer.runner(precision, bar, WriteToStore(store, extraction.fail_fast))
        runner.predict(describe, Sharded(images, missing, trainer.workers), return_predictions=False)


class Describe(pl.LightningModule):
    """Backbone, pooling and encoding as one module: images in, descriptors out; `rows` images or crops at once."""

    def __init__(self, backbone: Backbone, pooling: Pooling, encoding: Encoding, regions: Regions, rows: int) -> None:
        super().__init__()
        if not isinstance(backbone, nn.Module):
            raise TypeError(f"a backbone must be an nn.Module, got {type(backbone).__name__}")
        self.backbone, self.pooling, self.encoding = backbone, pooling, encoding
        self.regions, self.rows = regions, rows
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def predict_step(self, batch: Decoded, batch_idx: int) -> Described:
        """Describe a batch."""
        return described(self.encoding, self.backbone, self.pooling, batch, self.regions, self.rows)


def described(
    encoding: Encoding, backbone: Backbone, pooling: Pooling, batch: Decoded, regions: Regions, rows: int
) -> Described:
    """Descriptors of a batch: of images of one size, or of one image and its crops, each of a size of its own."""
    if isinstance(batch.pixels, Tensor):
        clean = Batch(batch.pixels, batch.image, batch.readable)
        return encoding.describe(backbone, pooling, clean, regions, rows)
    network = AnySize(backbone)
    whole, *crops = batch.pixels
    if isinstance(encoding, OnePass):
        return encoding.describe(network, pooling, Batch(whole, batch.image, batch.readable), regions, rows)
    vectors = [pooled(network, pooling, part, network(part)) for part in (whole, *crops)]
    return Described(batch.image[:1], batch.readable[:1], vectors[0], torch.cat([vectors[0][:0], *vectors[1:]]))


@torch.inference_mode()
def global_descriptor(extraction: Extraction, picture: Image.Image) -> Float[Tensor, "1 d"]:
    """Global descriptor of a picture that is in no collection, made as the stage makes them; not of unit length."""
    backbone, sizes = extraction.backbone, extraction.sizes
    transform, network = transform_of(backbone), backbone if sizes is None else AnySize(backbone)
    if sizes is not None:
        transform = transform._replace(size=sizes.size(picture.size, picture.size))
    pixels = transform(picture)[None]
    return pooled(network, extraction.pooling, pixels, network(pixels)).float().clone()


class AnySize:
    """A backbone that takes images of any size."""

    any_size = True

    def __init__(self, backbone: Backbone) -> None:
        self.tokens: Callable[[Tensor], Tokens] = backbone.tokens  # type: ignore[attr-defined]  # of a `Readout`

    def __call__(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """Tokens of images of one size."""
        return self.tokens(pixels)


class WriteToStore(pl.Callback):
    """Hands each batch to the store's plain writer as it comes, so that none stay in memory.

    Not a `BasePredictionWriter`: that one wants to infer the images' positions from the loader and warns when it
    cannot; batches here carry them.
    """

    def __init__(self, writer: writer.StoreWriter, fail_fast: bool) -> None:
        self.writer, self.fail_fast = writer, fail_fast

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write one batch.

        Raises:
            UnreadableImageError: with `fail_fast`, for the first image that could not be decoded.
            StoreError: as `StoreWriter.add`.
        """
        image, readable = outputs.image.cpu(), outputs.readable.cpu()
        if self.fail_fast and batch.reasons:
            raise UnreadableImageError(self.writer.paths[int(image[~readable][0])], batch.reasons[0])
        self.writer.add(image, outputs.global_.cpu(), outputs.local.cpu(), readable, batch.reasons)
