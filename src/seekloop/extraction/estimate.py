"""How long a collection would take to describe, measured on a few of its images."""

import copy
import time
from collections.abc import Sequence

import torch

from seekloop.contracts.protocols import Backbone, Collection
from seekloop.contracts.records import Batch, Regions
from seekloop.descriptors.encoding import Encoding
from seekloop.descriptors.pooling import Pooling
from seekloop.extraction.images import ImageBatches, transform_of

HALF = {"bf16-true": torch.bfloat16, "16-true": torch.float16}
MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def seconds_per_image(
    collection: Collection,
    backbone: Backbone,
    regions: Regions,
    encoding: Encoding,
    pooling: Pooling,
    *,
    precision: str,
    images: Sequence[int],
    rows: int,
) -> float:
    """Time of decoding and describing an image on this machine's processor, after one batch to warm up.

    Args:
        collection: the images.
        backbone: the network; it is not changed.
        regions: fixed ones, or those of every image.
        encoding: from tokens or crops.
        pooling: of global descriptors.
        precision: Lightning's name.
        images: positions of those measured on.
        rows: images, or crops, at once through the network.
    """
    network = copy.deepcopy(backbone)
    dtype = HALF.get(precision, torch.float32)
    if dtype != torch.float32 and isinstance(network, torch.nn.Module):
        network.to(dtype)
    batches = ImageBatches(collection, transform_of(backbone), encoding, regions, [(i, i + 1) for i in images])

    def describe() -> None:
        parts = [batches[item] for item in range(len(images))]
        pixels = torch.cat([part.pixels for part in parts]).to(dtype)
        batch = Batch(pixels, torch.cat([part.image for part in parts]), torch.cat([part.readable for part in parts]))
        mixed = MIXED.get(precision)
        with torch.inference_mode(), torch.autocast("cpu", dtype=mixed or torch.bfloat16, enabled=mixed is not None):
            encoding.describe(network, pooling, batch, regions, rows)

    describe()
    started = time.monotonic()
    describe()
    return (time.monotonic() - started) / len(images)
