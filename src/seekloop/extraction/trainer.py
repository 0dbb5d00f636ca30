"""Device, precision, batches and processes by which images go through a network: `conf/trainer/*.yaml`."""

import copy
from collections.abc import Sequence
from typing import Annotated, TypeVar

import pytorch_lightning as pl
import torch
from annotated_types import Ge

from seekloop.contracts.declared import Count, Precision, component
from seekloop.lightning.precision import extraction_precision
from seekloop.lightning.trainers import PLACED_BY, trainer_of

Network = TypeVar("Network")


@component
class TrainerSettings:
    """Settings of Lightning's `Trainer` for prediction, and what surrounds it.

    Args:
        accelerator: auto, cpu, gpu, mps, ...
        devices: how many, which, or -1 for all.
        strategy: auto, or ddp_spawn for several devices, each of which writes shards of its own.
        precision: Lightning's name; auto: bf16-true on CPUs where that is faster, else 32-true.
        batch_size: images, or crops, at once through the network. It changes the last bits.
        workers: processes that decode, of each device; 0: the main one does. Results do not depend on it.
        jobs: processes that look for regions; None: one per core. Results do not depend on it.

    Raises:
        ConfigError: if there is no such precision.
    """

    accelerator: str = "auto"
    devices: int | str | Sequence[int] = 1
    strategy: str = "auto"
    precision: Precision = "auto"
    batch_size: Count = 32
    workers: Annotated[int, Ge(0)] = 1
    jobs: Count | None = None

    @property
    def resolved_precision(self) -> str:
        """Lightning's name of the precision, with `auto` decided for this machine."""
        return extraction_precision(self.precision, self.accelerator)

    @property
    def detecting(self) -> int:
        """Number of processes that look for regions."""
        return torch.get_num_threads() if self.jobs is None else self.jobs

    def runner(self, precision: str, *callbacks: pl.Callback) -> pl.Trainer:
        """Lightning's trainer.

        Raises:
            ConfigError: if this machine, or Lightning, has no such accelerator, devices or strategy.
        """
        placed = {name: getattr(self, name) for name in PLACED_BY}
        if not isinstance(self.devices, int | str):
            placed["devices"] = list(self.devices)  # Lightning knows no other sequence
        return trainer_of({**placed, "precision": precision}, callbacks, key="trainer")


def own_copy(network: Network, precision: str) -> Network:
    """The network itself, or a copy where Lightning would change its weights for good."""
    return network if precision == "32-true" else copy.deepcopy(network)
