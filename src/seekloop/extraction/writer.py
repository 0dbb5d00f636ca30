"""Passes descriptors on to the store as they come, so that none stay in memory."""

from typing import Any

import pytorch_lightning as pl

from seekloop.contracts.errors import UnreadableImageError
from seekloop.descriptors.encoding import Described
from seekloop.extraction.images import Decoded
from seekloop.store.writer import StoreWriter


class WriteToStore(pl.Callback):
    """After each batch, hands it to the store's plain writer.

    Not a `BasePredictionWriter`: that one wants to infer the images' positions from the loader and warns when it
    cannot; batches here carry them.

    Args:
        writer: of the store.
        fail_fast: stop at an unreadable image instead of recording it.
    """

    def __init__(self, writer: StoreWriter, fail_fast: bool) -> None:
        self.writer = writer
        self.fail_fast = fail_fast

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
        described, decoded = _checked(outputs, batch)
        image, readable = described.image.cpu(), described.readable.cpu()
        if self.fail_fast and decoded.reasons:
            first = int(image[~readable][0])
            raise UnreadableImageError(self.writer.paths[first], decoded.reasons[0])
        self.writer.add(image, described.whole.cpu(), described.local.cpu(), readable, decoded.reasons)


def _checked(outputs: object, batch: object) -> tuple[Described, Decoded]:
    if not isinstance(outputs, Described) or not isinstance(batch, Decoded):
        raise TypeError(f"expected Described and Decoded, got {type(outputs).__name__} and {type(batch).__name__}")
    return outputs, batch
