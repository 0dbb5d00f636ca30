"""Extraction: from a collection to its finished store, alone or shared with other processes."""

import copy
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from seekloop.contracts.errors import StoreError
from seekloop.contracts.protocols import Collection, KnowsContents
from seekloop.extraction.describe_module import Describe
from seekloop.extraction.images import Images, Span, transform_of
from seekloop.extraction.plan import Extraction, Plan
from seekloop.extraction.writer import WriteToStore
from seekloop.lightning.progress import ImagesPerSecond
from seekloop.lightning.silence import lightning_silenced
from seekloop.lightning.trainers import trainer_of
from seekloop.store import manifest, writer
from seekloop.store.growth import Earlier, earlier_store, note_contents, spans_of

Network = TypeVar("Network")


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
    ahead = extraction.plan
    if ahead.finished:
        manifest.store_folder(ahead.folder).used()
        return ahead.folder
    with manifest.store_folder(ahead.folder).claim(lambda: _kept(ahead), say, "extracting"):
        ahead = ahead.refreshed()
        if ahead.finished:
            return ahead.folder
        ahead = ahead.located(say)
        _announce(ahead, say)
        trainer = {**extraction.trainer, "precision": ahead.manifest.precision}
        trainer_of(trainer, key="trainer")  # refused before any file is made
        ahead = _begin(ahead)
        _describe(extraction, ahead, trainer, say)
        paths = extraction.collection.paths
        _report(writer.finish(ahead.folder, ahead.manifest, paths), ahead, say)
    return ahead.folder


def _describe(extraction: Extraction, ahead: Plan, trainer: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Bring the missing batches through the network, each kept as soon as it is finished."""
    collection, backbone, encoding = extraction.collection, extraction.backbone, extraction.encoding
    step = encoding.images_per_batch(ahead.regions, ahead.manifest.images, extraction.batch_size)
    store = writer.StoreWriter(ahead.folder, ahead.manifest, ahead.regions.offsets, list(collection.paths))
    missing = batches(ahead, step, store, _earlier(ahead, collection, say))
    images = Images(collection, transform_of(backbone), encoding, ahead.regions, missing, extraction.workers)
    network = own_copy(backbone, ahead.manifest.precision)
    describe = Describe(network, extraction.pooling, encoding, ahead.regions, extraction.batch_size)
    bar = ImagesPerSecond("describe", ahead.manifest.images - ahead.missing_images(), ahead.manifest.images)
    callbacks = [bar, WriteToStore(store, extraction.fail_fast)]
    with lightning_silenced():
        trainer_of(trainer, callbacks, key="trainer").predict(describe, images, return_predictions=False)


def _announce(ahead: Plan, say: Callable[[str], None]) -> None:
    missing, described = ahead.missing_images(), ahead.manifest
    done = f" ({described.images - missing:,} are done already)" if missing < described.images else ""
    say(f"describing {described.images:,} images{done}: {ahead.bytes() / 1e6:,.1f} MB in {ahead.folder}")
    free, needed = shutil.disk_usage(ahead.folder.parent).free, ahead.missing_bytes()
    if free < needed:
        raise StoreError(
            f"{ahead.folder} needs {needed / 1e6:,.0f} MB more, and the disk has {free / 1e6:,.0f} MB free. Free "
            "some, or choose another folder with store_dir=<folder>."
        )


def _begin(ahead: Plan) -> Plan:
    writer.create(ahead.folder, ahead.manifest, ahead.regions)
    return ahead.refreshed()


def _kept(ahead: Plan) -> str:
    images, missing = ahead.manifest.images, ahead.refreshed().missing_images()
    return f"{images - missing:,} of {images:,} images are described and kept in {ahead.folder}"


def _earlier(ahead: Plan, collection: Collection, say: Callable[[str], None]) -> Earlier | None:
    """The earlier store from which rows of unchanged pictures are taken over, if there is one."""
    if not isinstance(collection, KnowsContents):
        return None
    contents = collection.contents()
    note_contents(ahead.folder, contents)
    earlier = earlier_store(ahead.folder, ahead.manifest, ahead.regions, contents)
    if earlier is not None:
        fresh = len(contents) - earlier.images
        say(f"{earlier.images:,} images are as in {earlier.store.folder} and taken over, {fresh:,} are described")
    return earlier


def batches(ahead: Plan, step: int, store: writer.StoreWriter, earlier: Earlier | None = None) -> list[list[Span]]:
    """The missing batches of each missing shard; none crosses from one shard to the next.

    Args:
        ahead: the store.
        step: most images in a batch.
        store: its writer; what is kept of a shard, or can be taken over, is brought in here.
        earlier: where rows of unchanged pictures are taken over from.
    """
    missing = []
    for shard in ahead.missing_shards():
        fresh, copied = spans_of(*ahead.manifest.span(shard), step, None if earlier is None else earlier.row >= 0)
        kept = writer.kept_batches(ahead.folder, shard, [*fresh, *copied])
        missing.append([span for span in fresh if span not in kept])
        for span in copied:
            if earlier is not None and span not in kept:
                earlier.copy(span, store)
        store.shards.fold(shard)
        store.shards.forget(shard)
    return [shard for shard in missing if shard]


def own_copy(backbone: Network, precision: str) -> Network:
    """The network itself, or a copy where Lightning would change its weights for good."""
    return backbone if precision == "32-true" else copy.deepcopy(backbone)


def _report(failures: list[tuple[str, str]], ahead: Plan, say: Callable[[str], None]) -> None:
    if failures:
        first = "; ".join(f"{path} ({why})" for path, why in failures[:3])
        more = f"; all are listed in {ahead.folder / manifest.FAILURES}" if len(failures) > 3 else ""
        say(f"{len(failures)} of {ahead.manifest.images} images could not be read and are left out: {first}{more}")
