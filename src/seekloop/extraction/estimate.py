"""Time that a collection would take to describe, measured on a few of its images."""

import copy
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from seekloop.extraction.describe import described
from seekloop.extraction.images import Decoded, ImageBatches, transform_of
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
    transform, rows = transform_of(extraction.backbone), extraction.trainer.batch_size
    batches = ImageBatches(extraction.collection, transform, encoding, plan.regions, spans, extraction.sizes)

    def describe() -> None:
        parts = [batches[item] for item in range(len(images))]
        for batch in [joined(parts)] if extraction.sizes is None else parts:
            one = batch.pixels
            pixels = one.to(dtype) if isinstance(one, Tensor) else tuple(part.to(dtype) for part in one)
            with (
                torch.inference_mode(),
                torch.autocast("cpu", dtype=mixed or torch.bfloat16, enabled=mixed is not None),
            ):
                described(encoding, network, extraction.pooling, batch._replace(pixels=pixels), plan.regions, rows)

    describe()
    started = time.monotonic()
    describe()
    return (time.monotonic() - started) / len(images)


def joined(parts: Sequence[Decoded]) -> Decoded:
    """Images of one size as one batch."""
    pixels = torch.cat([part.pixels for part in parts if isinstance(part.pixels, Tensor)])
    image, readable = (torch.cat([getattr(part, name) for part in parts]) for name in ("image", "readable"))
    return Decoded(pixels, image, readable, [])
