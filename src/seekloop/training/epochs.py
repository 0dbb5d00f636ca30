"""Epochs of stochastic gradient descent that can be interrupted; only here Lightning drives the training."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Network
from seekloop.contracts.randomness import derived_seed, generator
from seekloop.learning.batches import Batch
from seekloop.learning.cycles import Row
from seekloop.learning.descent import Descent, cosine
from seekloop.lightning.silence import lightning_silenced
from seekloop.lightning.trainers import trainer_of


@runtime_checkable
class Objective(Protocol):
    """Batches and loss of a training; an `nn.Module`, which Lightning brings to the device.

    Attributes:
        network: to be trained.
        settings: of the training.
        about: noted with every epoch.
    """

    network: Network
    about: Row

    @property
    def settings(self) -> Descent: ...

    def begin(self, draw: Callable[[str], Generator], epoch: int, optimiser: Optimizer) -> tuple[list[Batch], Row]:
        """Give the batches of an epoch, and measures to note with it; `draw` gives a generator for each purpose."""
        ...

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean loss of a batch."""
        ...

    def groups(self) -> list[dict[str, Any]]:
        """Groups of parameters, with the settings of SGD."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything but the optimiser that is needed to go on after an epoch."""
        ...


class Epochs(pl.LightningModule):
    """Epochs of one objective.

    Everything random in an epoch derives from (seed, the words of `purpose`, epoch): an epoch begun again is the same.

    Args:
        objective: gives batches and losses.
        seed: of the run.
        purpose: of the randomness: split, cycle, stage.
        keep: told after every epoch what is needed to go on from it.
        kept: the like of an earlier process, or no more than `rows`, notes about earlier epochs.
    """

    def __init__(
        self,
        objective: Objective,
        seed: int,
        purpose: tuple[str | int, ...],
        keep: Callable[[dict[str, Any]], None],
        kept: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.objective, self.network, self.settings = objective, objective.network, objective.settings
        self.seed, self.purpose, self.keep = seed, purpose, keep
        self.first, self.rows, self.optimiser_state = (
            kept.get("epoch", 0),
            [*kept.get("rows", [])],
            kept.get("optimiser"),
        )
        self._measures: Row = {}
        self._sum, self._steps, self._started = torch.zeros(()), 1, 0.0

    @property
    def epoch(self) -> int:
        """Number of the epoch, those of earlier processes included."""
        return self.first + self.current_epoch

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the epoch that begins; asked for anew every epoch."""
        self._started = time.monotonic()

        def draw(word: str) -> Generator:
            return generator(self.seed, *self.purpose, self.epoch, word)

        batches, self._measures = self.objective.begin(draw, self.epoch, self._optimiser)
        self._steps = len(batches)
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Optimizer:
        """Stochastic gradient descent, as an earlier process left it."""
        self._optimiser = torch.optim.SGD(self.objective.groups(), lr=self.settings.lr)
        if self.optimiser_state is not None:
            self._optimiser.load_state_dict(self.optimiser_state)
        return self._optimiser

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before; a frozen network stays as at test time."""
        self._sum = torch.zeros((), device=self.device)
        self.network.train(not self.network.frozen)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Lower the learning rate; seed what layers draw (dropout) at the start of every epoch."""
        del batch
        if batch_idx == 0:  # not earlier: Lightning may draw from torch's generator before an epoch's first batch
            torch.manual_seed(derived_seed(self.seed, *self.purpose, self.epoch, "layers"))
        if self.settings.horizon is not None:
            rate = cosine(self.settings.lr, self.epoch + batch_idx / self._steps, self.settings.horizon)
            for group in self._optimiser.param_groups:
                group["lr"] = rate

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Loss of a batch."""
        del batch_idx
        loss = self.objective.loss(batch)
        self._sum += loss.detach()
        return loss

    def on_train_epoch_end(self) -> None:
        """Note the epoch, and keep what is needed to go on from it.

        Raises:
            ConfigError: if the loss is not finite.
        """
        loss, about = float(self._sum) / self._steps, self.objective.about
        if not math.isfinite(loss):
            stage = "".join(f" ({word})" for word in about.values())
            why = f"the loss is {loss} in epoch {self.epoch}{stage}: the weights are lost"
            fix = "Try a tenth of it, or precision=32-true."
            raise ConfigError("lr", self.settings.lr, why, fix, self.settings)
        rate, seconds = self._optimiser.param_groups[0]["lr"], time.monotonic() - self._started
        row: Row = {**about, "epoch": self.epoch, "iterations": self._steps, "loss": loss, "lr": rate}
        self.rows.append({**row, "seconds": seconds, **self._measures})
        kept = {**self.objective.state(), **about, "epoch": self.epoch + 1, "rows": list(self.rows)}
        self.keep({**kept, "network": self.network.state_dict(), "optimiser": self._optimiser.state_dict()})


def train(module: Epochs, epochs: int, accelerator: str, precision: str) -> None:
    """Run the epochs that are missing, by Lightning, on one device."""
    settings = {"accelerator": accelerator, "devices": 1, "precision": precision, "max_epochs": epochs - module.first}
    if module.first < epochs:
        trainer_of(settings, key="accelerator").fit(module)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give torch's own generators, which dropout draws from, back as they were; let the GPU's kernels repeat."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with torch.random.fork_rng(), lightning_silenced():
            yield
    finally:
        torch.backends.cudnn.deterministic = before
