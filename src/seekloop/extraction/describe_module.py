"""Backbone, pooling and encoding as one Lightning module. It connects; the work is done elsewhere."""

import pytorch_lightning as pl
from torch import nn

from seekloop.contracts.protocols import Backbone
from seekloop.contracts.records import Batch, Regions
from seekloop.descriptors.encoding import Described, Encoding
from seekloop.descriptors.pooling import Pooling
from seekloop.extraction.images import Decoded


class Describe(pl.LightningModule):
    """Images in, descriptors out.

    Args:
        backbone: the network.
        pooling: makes global descriptors.
        encoding: makes local ones.
        regions: what local ones are made of.
        rows: images, or crops, at once through the network.
    """

    def __init__(self, backbone: Backbone, pooling: Pooling, encoding: Encoding, regions: Regions, rows: int) -> None:
        super().__init__()
        if not isinstance(backbone, nn.Module):
            raise TypeError(f"a backbone must be an nn.Module, got {type(backbone).__name__}")
        self.backbone = backbone
        self.pooling = pooling
        self.encoding = encoding
        self.regions = regions
        self.rows = rows
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def predict_step(self, batch: Decoded, batch_idx: int) -> Described:
        """Describe a batch."""
        clean = Batch(batch.pixels, batch.image, batch.readable)
        return self.encoding.describe(self.backbone, self.pooling, clean, self.regions, self.rows)
