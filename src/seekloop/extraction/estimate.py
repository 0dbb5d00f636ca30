"""Time that a collection would take to describe, measured on a few of its images."""

import copy
import time
from collections.abc import Sequence

import torch

from seekloop.contracts.records import Batch
from seekloop.extraction.images import ImageBatches, transform_of
from seekloop.extraction.plan import Extraction

HALF = {"bf16-true": torch.bfloat16, "16-true": torch.float16}
MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def seconds_per_image(extraction: Extraction, images: Sequence[int]) -> float:
    """Time of decoding and describing an image on this machine's processor, after one batch to warm up.

    Args:
        extraction: with regions that are known; its network is not changed.
        images: positions of those measured on.
    """
    plan, encoding, network = extraction.plan, extraction.encoding, copy.deepcopy(extraction.backbone)
    dtype, mixed = HALF.get(plan.manifest.precision, torch.float32), MIXED.get(plan.manifest.precision)
    if dtype != torch.float32 and isinstance(network, torch.nn.Module):
        network.to(dtype)
    spans = [(image, image + 1) for image in images]
    batches = ImageBatches(extraction.collection, transform_of(extraction.backbone), encoding, plan.regions, spans)

    def describe() -> None:
        parts = [batches[item] for item in range(len(images))]
        pixels = torch.cat([part.pixels for part in parts]).to(dtype)
        batch = Batch(pixels, torch.cat([part.image for part in parts]), torch.cat([part.readable for part in parts]))
        with torch.inference_mode(), torch.autocast("cpu", dtype=mixed or torch.bfloat16, enabled=mixed is not None):
            encoding.describe(network, extraction.pooling, batch, plan.regions, extraction.trainer.batch_size)

    describe()
    started = time.monotonic()
    describe()
    return (time.monotonic() - started) / len(images)
