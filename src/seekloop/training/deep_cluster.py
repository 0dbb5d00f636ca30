"""Unsupervised pre-training: clusters of the network's features are the labels it is trained towards, and again."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Network, Pool, PseudoLabels
from seekloop.contracts.randomness import derived_seed, generator
from seekloop.contracts.recipe import NOT_IN_RECIPE, settings
from seekloop.descriptors.whitening import whitened
from seekloop.learning.batches import Batch, batches_of
from seekloop.learning.clusters import clustered, sizes, uniform_epoch
from seekloop.learning.pretraining import PretrainingFolder, Row
from seekloop.learning.schedule import cosine
from seekloop.lightning.silence import lightning_silenced
from seekloop.lightning.trainers import trainer_of
from seekloop.metrics.clustering import normalised_mutual_information
from seekloop.training.fitting import own_randomness, resolved_precision
from seekloop.training.views import Pictures, computing, in_eval_mode

HEAD_STD = 0.01  # of the head's first weights
SAMPLINGS = ("uniform", "shuffle")

Keep = Callable[[Mapping[str, Any], list[Row]], None]


@dataclass(frozen=True)
class DeepCluster:
    r"""Pre-training by clustering (`contracts.learning.Pretrainer`): what `conf/pretraining/*.yaml` instantiate.

    Each epoch: features of all images as they are; whitening; unit length; k-means; then one pass of training towards
    the clusters' numbers, on images moved at random.

    Args:
        epochs: how many.
        clusters: of k-means; None: `clusters_per_class` times the number of classes.
        clusters_per_class: see `clusters`.
        pca: most dimensions kept by PCA-whitening; None: features are only brought to unit length.
        iterations: of k-means.
        reseed: whether k-means starts from other images every epoch.
        new_head: whether the head is drawn anew every epoch.
        sampling: `uniform` over clusters, or `shuffle`: every image once.
        scale: factor on the features before the head, which tells unit vectors apart in fewer steps if it is large.
        batch: images in a batch; an incomplete last one is left out.
        lr: learning rate at the start.
        horizon: epochs after which the cosine schedule would reach 0; None: the rate stays.
        momentum: of the network.
        nesterov: whether that momentum is Nesterov's.
        head_momentum: of the head.
        weight_decay: of all parameters.
        sobel: whether the network must be one that sees edges instead of colours.
        view_batch: images at once where features are taken.
        precision: Lightning's name; auto: bf16-mixed where that is faster, else 32-true.
        channels_last: whether channels lie innermost in memory, which convolutions on GPUs and in bfloat16 prefer.
        accelerator: auto, cpu or gpu.

    Raises:
        ConfigError: if a setting makes no sense.

    Reference:
        Caron et al., "Deep Clustering for Unsupervised Learning of Visual Features", ECCV 2018.
    """

    epochs: int
    clusters: int | None
    clusters_per_class: int
    pca: int | None
    iterations: int
    reseed: bool
    new_head: bool
    sampling: str
    scale: float
    batch: int
    lr: float
    horizon: int | None
    momentum: float
    nesterov: bool
    head_momentum: float
    weight_decay: float
    sobel: bool
    view_batch: int
    precision: str
    channels_last: bool
    accelerator: str = field(metadata=NOT_IN_RECIPE)

    def __post_init__(self) -> None:
        for name in ("epochs", "clusters_per_class", "iterations", "batch", "view_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"pretraining.{name}", getattr(self, name), "nothing would be learnt", "Use 1 or more."
                )
        if self.sampling not in SAMPLINGS:
            fix = f"Choose: {', '.join(SAMPLINGS)}."
            raise ConfigError("pretraining.sampling", self.sampling, "there is no such choice", fix)
        if self.pca is not None and self.pca < 1:
            raise ConfigError("pretraining.pca", self.pca, "a dimension must be left", "Usual: 256, or null for none.")
        if self.horizon is not None and self.horizon < self.epochs:
            why = f"the learning rate would be 0 before the {self.epochs} epochs are over"
            raise ConfigError("pretraining.horizon", self.horizon, why, f"Use {self.epochs} or more, or null.")
        if self.nesterov and not self.momentum > 0:
            raise ConfigError("pretraining.nesterov", True, "there is no momentum", "Set it to false.")

    def __call__(self, network: Network, pool: Pool, folder: Path, seed: int) -> Path:
        """Train, from wherever the folder stands; the path of the weights, all but the head's.

        The truth is used for one thing: to note how much clusters say about it.

        Raises:
            ConfigError: if network, pool and settings do not fit together, or the loss is not finite.
            StoreError: if the folder holds something of other settings.
        """
        clusters = self.number_of_clusters(network, pool)
        identity = json.dumps([settings(replace(self, precision="")), seed, len(pool.train), pool.name], sort_keys=True)
        place = PretrainingFolder(folder, identity)
        if place.weights.exists():
            return place.weights
        kept = place.kept()
        with own_randomness(), lightning_silenced():
            module = Clustering(network, pool, self, clusters, seed, kept, place.keep)
            if module.first < self.epochs:
                self._trainer(self.epochs - module.first).fit(module)
        weights = {name: value.cpu() for name, value in network.state_dict().items() if not name.startswith("head.")}
        return place.finish(weights)

    def number_of_clusters(self, network: Network, pool: Pool) -> int:
        """How many, once the network and the pool are known.

        Raises:
            ConfigError: if they do not fit.
        """
        if network.frozen:
            why = "the features of this model never change"
            raise ConfigError("pretraining", "DeepCluster", why, "Use pretraining=none with model=frozen.")
        if self.sobel and not any(type(part).__name__ == "Sobel" for part in network.modules()):
            why = "the network sees colours"
            raise ConfigError("pretraining.sobel", True, why, "Set model.sobel=true, or pretraining.sobel=false.")
        clusters = self.clusters_per_class * len(pool.classes) if self.clusters is None else self.clusters
        if not 1 < clusters <= len(pool.train):
            key = "clusters_per_class" if self.clusters is None else "clusters"
            why = f"{clusters} clusters cannot be made of {len(pool.train)} images"
            raise ConfigError(f"pretraining.{key}", getattr(self, key), why, "Choose fewer clusters than images.")
        return clusters

    def assign(self, features: Float[Tensor, "n d"], clusters: int, seed: int) -> Int[Tensor, " n"]:
        """Cluster of each image by its features."""
        rows = features if self.pca is None else whitened(features, self.pca)
        return clustered(F.normalize(rows, dim=1), clusters, self.iterations, seed)

    def _trainer(self, epochs: int) -> pl.Trainer:
        precision = resolved_precision(self.precision, self.accelerator)
        settings = {"accelerator": self.accelerator, "devices": 1, "precision": precision, "max_epochs": epochs}
        return trainer_of(settings, key="accelerator")


class Clustering(pl.LightningModule):
    """The epochs of a pre-training, as Lightning has them.

    Everything random in an epoch derives from (seed, epoch): an epoch begun again is the same.

    Args:
        network: to be trained.
        pool: its images.
        settings: of the pre-training.
        clusters: how many.
        seed: of the pre-training.
        kept: the state that an earlier process left; None at the start.
        keep: told after every epoch what is needed to go on from it.
    """

    def __init__(
        self,
        network: Network,
        pool: Pool,
        settings: DeepCluster,
        clusters: int,
        seed: int,
        kept: Mapping[str, Any] | None,
        keep: Keep,
    ) -> None:
        super().__init__()
        self.network, self.settings, self.clusters, self.seed, self.keep = network, settings, clusters, seed, keep
        self.pictures = Pictures(pool.train.images, pool)
        self.truth = pool.train.labels
        self.head = nn.Linear(network.dim, clusters)
        self.rows: list[Row] = list(kept["rows"]) if kept else []
        self.assignment: Tensor | None = kept["assignment"] if kept else None
        self.first = int(kept["epoch"]) if kept else 0
        self.optimiser_state = kept["optimiser"] if kept else None
        self.note: Row = {}
        self._sum, self._steps, self._started = torch.zeros(()), 1, 0.0
        if kept:
            network.load_state_dict(kept["network"])
            self.head.load_state_dict(kept["head"])
        else:
            self._draw_head(0)
        if settings.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    @property
    def epoch(self) -> int:
        """Number of the epoch, those of earlier processes included."""
        return self.first + self.current_epoch

    def train_dataloader(self) -> DataLoader[Batch]:
        """Cluster anew, note how the clusters are, and give the batches of the epoch that begins."""
        self._started = time.monotonic()
        previous, self.assignment = self.assignment, self._clusters()
        self.note = measured(self.assignment, previous, self.truth)
        rng = generator(self.seed, self.epoch, "batches")
        chosen = self._epoch(self.assignment, rng)
        size = min(self.settings.batch, len(chosen))
        self._steps = len(chosen) // size
        images = chosen[: self._steps * size].reshape(self._steps, size)
        ones = torch.ones(len(chosen))
        known = PseudoLabels(self.assignment, ones)
        batches = batches_of(images, known, ones, self.pictures.shift, self.pictures.flips, rng)
        # With a generator of its own the loader takes nothing from torch's, which layers draw from.
        return DataLoader(batches, batch_size=None, generator=rng)  # type: ignore[arg-type]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent, with a momentum of its own for the head, as an earlier process left it."""
        settings = self.settings
        parts = self.network.named_parameters()
        body = [value for name, value in parts if value.requires_grad and not name.startswith("head.")]
        groups = [
            {"params": body, "momentum": settings.momentum, "nesterov": settings.nesterov},
            {"params": list(self.head.parameters()), "momentum": settings.head_momentum, "nesterov": False},
        ]
        optimiser = torch.optim.SGD(groups, lr=settings.lr, weight_decay=settings.weight_decay)
        if self.optimiser_state is not None:
            optimiser.load_state_dict(self.optimiser_state)
        return optimiser

    def on_train_epoch_start(self) -> None:
        """A new head if configured; what layers draw (dropout) starts every epoch at its own seed."""
        if self.settings.new_head:
            self._draw_head(self.epoch)
            for parameter in self.head.parameters():
                self._optimiser().state.pop(parameter, None)
        torch.manual_seed(derived_seed(self.seed, self.epoch, "layers"))
        self._sum = torch.zeros((), device=self.device)
        self.network.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """The learning rate falls with every batch, if it does."""
        del batch
        if self.settings.horizon is None:
            return
        rate = cosine(self.settings.lr, self.epoch + batch_idx / self._steps, self.settings.horizon)
        for group in self._optimiser().param_groups:
            group["lr"] = rate

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Cross-entropy towards the clusters' numbers."""
        del batch_idx
        pixels = self.pictures(batch)
        if self.settings.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(self.head(self.settings.scale * self.network.features(pixels)), batch.target)
        self._sum += loss.detach()
        return loss

    def on_train_epoch_end(self) -> None:
        """Note the epoch, and what is needed to go on from it.

        Raises:
            ConfigError: if the loss is not finite.
        """
        loss = float(self._sum) / self._steps
        if not -float("inf") < loss < float("inf"):
            why = f"the loss is {loss} in epoch {self.epoch}: the weights are lost"
            raise ConfigError("pretraining.lr", self.settings.lr, why, "Try a tenth of it.")
        about: Row = {"epoch": self.epoch, "iterations": self._steps, "loss": loss}
        rate = self._optimiser().param_groups[0]["lr"]
        self.rows.append({**about, "lr": rate, **self.note, "seconds": time.monotonic() - self._started})
        state = {
            "epoch": self.epoch + 1,
            "network": self.network.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self._optimiser().state_dict(),
            "assignment": self.assignment,
        }
        self.keep(state, self.rows)

    def _clusters(self) -> Int[Tensor, " n"]:
        settings = self.settings
        with (
            in_eval_mode(self.network),
            computing(self.device, resolved_precision(settings.precision, settings.accelerator)),
        ):
            blocks = self.pictures.blocks(settings.view_batch, None)
            features = torch.cat([self.network.features(pixels).float().cpu() for pixels in blocks])
        words = (self.epoch,) if settings.reseed else ()
        return settings.assign(features.clone(), self.clusters, derived_seed(self.seed, "k-means", *words))

    def _epoch(self, assignment: Int[Tensor, " n"], rng: torch.Generator) -> Int[Tensor, " n"]:
        if self.settings.sampling == "uniform":
            return uniform_epoch(assignment, rng)
        return torch.randperm(len(assignment), generator=rng)

    def _draw_head(self, epoch: int) -> None:
        rng = generator(self.seed, epoch, "head")
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(self.head.weight.shape, generator=rng) * HEAD_STD)
            self.head.bias.zero_()

    def _optimiser(self) -> torch.optim.Optimizer:
        optimiser = self.optimizers(use_pl_optimizer=False)
        if isinstance(optimiser, list):
            raise TypeError("one optimiser is expected")
        return optimiser


def measured(assignment: Int[Tensor, " n"], previous: Int[Tensor, " n"] | None, truth: Int[Tensor, " n"]) -> Row:
    """What is noted of a clustering: its agreement with the one before and with the truth, its clusters' sizes.

    Returns:
        `nmi_previous` (NaN in the first epoch), `nmi_truth`, `clusters` that have images, `sizes` of those, the
        largest first.
    """
    counts = sizes(assignment)
    return {
        "nmi_previous": float("nan") if previous is None else normalised_mutual_information(assignment, previous),
        "nmi_truth": normalised_mutual_information(assignment, truth),
        "clusters": len(counts),
        "sizes": counts.tolist(),
    }
