"""Training of a classifier, as Lightning has it: on labelled images, or on those and propagated labels."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Network, Propagation, PseudoLabels
from seekloop.contracts.randomness import derived_seed, generator
from seekloop.learning.batches import Batch, batches_of
from seekloop.learning.cycles import Row
from seekloop.learning.schedule import cosine
from seekloop.learning.schemes import LabelledOnly, Scheme
from seekloop.learning.training import Training
from seekloop.training.views import Pictures, computing, view

Keep = Callable[[dict[str, Any]], None]
Watch = Callable[[PseudoLabels, Int[Tensor, " n"]], Mapping[str, float]]


class Supervised(pl.LightningModule):
    """Cross-entropy on the images that have a label.

    Everything random in an epoch derives from (seed, the words of `purpose`, epoch): an epoch begun again is the same.

    Args:
        network: to be trained.
        pictures: the pool's images.
        labels: the answers, -1 where nobody was asked.
        known: those, and labels of other origin.
        classes: how many there are.
        training: settings of the optimiser.
        seed: of the run.
        purpose: what the randomness is for: split, cycle, stage.
        first: epochs that were done before, by an earlier process.
        optimiser_state: as the last of them left it.
        keep: told after every epoch what is needed to go on from it.
    """

    stage = "supervised"

    def __init__(
        self,
        network: Network,
        pictures: Pictures,
        labels: Int[Tensor, " n"],
        known: PseudoLabels,
        classes: int,
        training: Training,
        *,
        seed: int,
        purpose: tuple[str | int, ...],
        first: int,
        optimiser_state: Mapping[str, Any] | None,
        keep: Keep,
    ) -> None:
        super().__init__()
        self.network, self.pictures = network, pictures
        self.labels, self.known, self.classes = labels, known, classes
        self.training_settings, self.scheme = training, self.default_scheme()
        self.seed, self.purpose, self.first = seed, purpose, first
        self.optimiser_state, self.keep = optimiser_state, keep
        self.features: Tensor | None = None
        self.rows: list[Row] = []
        self._measures: Mapping[str, float] = {}
        self._sum, self._steps, self._started = torch.zeros(()), 1, 0.0

    def default_scheme(self) -> Scheme:
        """How an epoch is put together."""
        return LabelledOnly()

    @property
    def epoch(self) -> int:
        """Number of the epoch, those of earlier processes included."""
        return self.first + self.current_epoch

    def refreshed(self) -> PseudoLabels:
        """Labels and pseudo-labels for the epoch that begins."""
        return self.known

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches of the epoch that begins; asked for anew every epoch."""
        self._started = time.monotonic()
        known = self.refreshed()
        rng = generator(self.seed, *self.purpose, self.epoch, "batches")
        settings = self.training_settings
        plan = self.scheme.plan(self.labels, known, self.classes, settings.batch, settings.iterations, rng)
        batches = batches_of(plan[0], known, plan[1], self.pictures.shift, self.pictures.flips, rng)
        self._steps = len(batches)
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent with Nesterov's momentum, as an earlier process left it."""
        settings = self.training_settings
        wanted = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimiser = torch.optim.SGD(
            wanted,
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )
        if self.optimiser_state is not None:
            optimiser.load_state_dict(dict(self.optimiser_state))
        return optimiser

    def on_train_start(self) -> None:
        """Features of a frozen network are taken once."""
        if self.network.frozen and self.features is None:
            self.features = self._view_features()

    def on_train_epoch_start(self) -> None:
        """Nothing is summed up yet; a frozen network stays as at test time."""
        self._sum = torch.zeros((), device=self.device)
        self.network.train(not self.network.frozen)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """The learning rate falls with every batch; what layers draw (dropout) starts every epoch at its own seed."""
        del batch
        if batch_idx == 0:  # not earlier: Lightning may draw from torch's generator before an epoch's first batch
            torch.manual_seed(derived_seed(self.seed, *self.purpose, self.epoch, "layers"))
        settings = self.training_settings
        rate = cosine(settings.lr, self.epoch + batch_idx / self._steps, settings.horizon)
        for group in self._optimiser().param_groups:
            group["lr"] = rate

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Mean over the batch of weighted cross-entropies."""
        del batch_idx
        each = F.cross_entropy(self._logits(batch), batch.target, reduction="none")
        loss = (each * batch.weight).mean()
        self._sum += loss.detach()
        return loss

    def on_train_epoch_end(self) -> None:
        """Note the epoch, and what is needed to go on from it.

        Raises:
            ConfigError: if the loss is not finite.
        """
        loss = float(self._sum) / self._steps
        if loss != loss or abs(loss) == float("inf"):
            why = f"the loss is {loss} in epoch {self.epoch} ({self.stage}, {self.purpose}): the weights are lost"
            raise ConfigError("training.lr", self.training_settings.lr, why, "Try a tenth of it, or precision=32-true.")
        rate = self._optimiser().param_groups[0]["lr"]
        row: Row = {"stage": self.stage, "epoch": self.epoch, "iterations": self._steps, "loss": loss, "lr": rate}
        self.rows.append({**row, "seconds": time.monotonic() - self._started, **self._measures})
        self.keep(
            {
                "stage": self.stage,
                "epoch": self.epoch + 1,
                "network": self.network.state_dict(),
                "optimiser": self._optimiser().state_dict(),
                "rows": list(self.rows),
            }
        )

    def _optimiser(self) -> torch.optim.Optimizer:
        optimiser = self.optimizers(use_pl_optimizer=False)
        if isinstance(optimiser, list):
            raise TypeError("one optimiser is expected")
        return optimiser

    def _logits(self, batch: Batch) -> Float[Tensor, "b c"]:
        if self.features is not None:
            logits: Tensor = self.network.head(self.features[batch.image])
            return logits
        pixels = self.pictures(batch)
        if self.training_settings.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return self.network(pixels)

    def _view_features(self) -> Float[Tensor, "n d"]:
        settings = self.training_settings
        self.network.eval()
        with computing(self.device, settings.precision):
            blocks = self.pictures.blocks(settings.view_batch, None)
            found = torch.cat([self.network.features(pixels).float() for pixels in blocks])
        return found.clone()


class SemiSupervised(Supervised):
    """The same on labels and pseudo-labels, which are propagated anew before every epoch.

    Args:
        semi: how a batch is put together.
        propagation: spreads the labels over the graph of features.
        watch: measures pseudo-labels; what it returns is noted with the epoch.
        settings: those of `Supervised`.
    """

    stage = "semi"

    def __init__(
        self,
        *given: Any,  # noqa: ANN401 - those of Supervised
        semi: Scheme,
        propagation: Propagation,
        watch: Watch,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        self._semi = semi
        super().__init__(*given, **settings)
        self.propagation, self.watch = propagation, watch

    def default_scheme(self) -> Scheme:
        """How an epoch is put together."""
        return self._semi

    def refreshed(self) -> PseudoLabels:
        """Pseudo-labels by the network as it is now."""
        settings = self.training_settings
        rng = generator(self.seed, *self.purpose, self.epoch, "view")
        moves = self.pictures.random_moves(rng) if settings.augmented_views else None
        seen = view(self.network, self.pictures, settings.view_batch, settings.precision, moves)
        found = self.propagation(seen.features, self.labels, self.classes)
        self._measures = self.watch(found, self.labels)
        return found
