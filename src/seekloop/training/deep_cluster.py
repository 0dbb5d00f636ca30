"""Unsupervised pre-training: clusters of the network's features are the labels of its next epoch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Dataset, Network, PseudoLabels
from seekloop.contracts.randomness import derived_seed, generator
from seekloop.contracts.recipe import NOT_IN_RECIPE, settings
from seekloop.descriptors.whitening import whitened
from seekloop.learning.batches import Batch, batches_of
from seekloop.learning.clusters import clustered, sizes, uniform_epoch
from seekloop.learning.cycles import Row
from seekloop.learning.descent import Descent, Momentum
from seekloop.lightning.precision import training_precision
from seekloop.metrics.clustering import normalised_mutual_information
from seekloop.training.epochs import Epochs, train, undisturbed
from seekloop.training.networks import Sobel
from seekloop.training.pretraining import PretrainingFolder
from seekloop.training.views import Pictures, features_of

HEAD_STD = 0.01  # of the head's first weights


@component
class DeepCluster(Descent):
    r"""Pre-training by clustering (`contracts.learning.Pretrainer`).

    Each epoch: features of all images as they are; whitening; unit length; k-means; then one pass of training towards
    the clusters' numbers, on images moved at random. Its arguments stand beside those of `Descent`.

    Args:
        clusters: of k-means; None: `clusters_per_class` times the number of classes.
        clusters_per_class: see `clusters`.
        pca: most dimensions kept by PCA-whitening; None: features are only brought to unit length.
        iterations: of k-means.
        reseed: whether k-means starts from other images every epoch.
        new_head: whether the head is drawn anew every epoch.
        sampling: `uniform` over clusters, or `shuffle`: every image once.
        scale: factor on the features before the head, which tells unit vectors apart in fewer steps if it is large.
        batch: images in a batch; an incomplete last one is left out.
        nesterov: whether the momentum is Nesterov's.
        head_momentum: of the head.
        sobel: whether the network must be one that sees edges instead of colours.
        accelerator: auto, cpu or gpu.

    Raises:
        ConfigError: if an argument is out of its range, or two do not go together.

    Reference:
        Caron et al., "Deep Clustering for Unsupervised Learning of Visual Features", ECCV 2018.
    """

    epochs: Count = 250
    clusters: Annotated[int, Ge(2)] | None = None
    clusters_per_class: Count = 5
    pca: Count | None = 256
    iterations: Count = 20
    reseed: bool = True
    new_head: bool = True
    sampling: Literal["uniform", "shuffle"] = "uniform"
    scale: Positive = 1.0
    batch: Count = 256
    lr: Positive = 0.05
    nesterov: bool = False
    weight_decay: Annotated[float, Ge(0)] = 1e-5
    head_momentum: Momentum = 0.9
    sobel: bool = False
    accelerator: str = field(default="auto", metadata=NOT_IN_RECIPE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ConfigError("nesterov", True, "there is no momentum", "Set it to false.", self)

    def __call__(self, network: Network, dataset: Dataset, folder: Path, seed: int) -> Path:
        """Train, from wherever the folder stands; the path of the weights, all but the head's.

        The truth is used for one thing: to note how much clusters say about it.

        Raises:
            ConfigError: if network, dataset and settings do not fit together, or the loss is not finite.
            StoreError: if the folder holds something of other settings.
        """
        clusters = self.number_of_clusters(network, dataset)
        known = [{**settings(self), "precision": ""}, seed, len(dataset.train), dataset.name]
        kept_in = PretrainingFolder(folder, json.dumps(known, sort_keys=True))
        if kept_in.weights.exists():
            return kept_in.weights
        kept = kept_in.kept() or {}
        with undisturbed():
            if self.channels_last:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
            clustering = Clustering(network, dataset, self, clusters, seed, kept)
            precision = training_precision(self.precision, self.accelerator)
            train(Epochs(clustering, seed, (), kept_in.keep, kept), self.epochs, self.accelerator, precision)
        weights = {name: value.cpu() for name, value in network.state_dict().items() if not name.startswith("head.")}
        return kept_in.finish(weights)

    def number_of_clusters(self, network: Network, dataset: Dataset) -> int:
        """Number of clusters, once network and dataset are known.

        Raises:
            ConfigError: if they do not fit.
        """
        if network.frozen:
            why = "the features of this model never change"
            raise ConfigError("pretraining", "DeepCluster", why, "Use pretraining=none with model=frozen.")
        if self.sobel and not any(isinstance(part, Sobel) for part in network.modules()):
            fix = "Set model.sobel=true, or pretraining.sobel=false."
            raise ConfigError("sobel", True, "the network sees colours", fix, self)
        clusters = self.clusters_per_class * len(dataset.classes) if self.clusters is None else self.clusters
        if not 1 < clusters <= len(dataset.train):
            key = "clusters_per_class" if self.clusters is None else "clusters"
            why = f"{clusters} clusters cannot be made of {len(dataset.train)} images"
            raise ConfigError(key, getattr(self, key), why, "Choose fewer clusters than images.", self)
        return clusters

    def assign(self, features: Float[Tensor, "n d"], clusters: int, seed: int) -> Int[Tensor, " n"]:
        """Assign each image to a cluster by its features."""
        rows = features if self.pca is None else whitened(features, self.pca)
        return clustered(F.normalize(rows, dim=1), clusters, self.iterations, seed)


class Clustering(nn.Module):
    """Cross-entropy towards the clusters' numbers (`epochs.Objective`), under a head of its own.

    Args:
        network: to be trained.
        dataset: images with their classes.
        settings: of the pre-training.
        clusters: how many.
        seed: of the pre-training.
        kept: the state that an earlier process left; empty at the start.
    """

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        settings: DeepCluster,
        clusters: int,
        seed: int,
        kept: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.network, self.settings, self.clusters, self.seed = network, settings, clusters, seed
        self.pictures, self.truth = Pictures(dataset.train.images, dataset), dataset.train.labels
        self.about: Row = {}
        self.head = nn.Linear(network.dim, clusters)
        self.assignment: Tensor | None = kept.get("assignment")
        if kept:
            network.load_state_dict(kept["network"])
            self.head.load_state_dict(kept["head"])
        else:
            self.draw_head(generator(seed, 0, "head"))

    def draw_head(self, rng: Generator) -> None:
        """Draw the head's weights from a narrow Gaussian; its biases are 0."""
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(self.head.weight.shape, generator=rng) * HEAD_STD)
            self.head.bias.zero_()

    def begin(self, draw: Callable[[str], Generator], epoch: int, optimiser: Optimizer) -> tuple[list[Batch], Row]:
        """Cluster the features anew, measure the clusters, and draw the batches; a new head if configured."""
        settings, pictures, previous = self.settings, self.pictures, self.assignment
        precision = training_precision(settings.precision, settings.accelerator)
        features = features_of(self.network, pictures, settings.view_batch, precision).cpu()
        words = (epoch,) if settings.reseed else ()
        assignment = settings.assign(features, self.clusters, derived_seed(self.seed, "k-means", *words))
        self.assignment = assignment
        rng = draw("batches")
        uniform = settings.sampling == "uniform"
        chosen = uniform_epoch(assignment, rng) if uniform else torch.randperm(len(assignment), generator=rng)
        size = min(settings.batch, len(chosen))
        images = chosen[: len(chosen) // size * size].reshape(-1, size)
        ones = torch.ones(len(chosen))
        batches = batches_of(images, PseudoLabels(assignment, ones), ones, pictures.shift, pictures.flips, rng)
        if settings.new_head:
            self.draw_head(draw("head"))
            for parameter in self.head.parameters():
                optimiser.state.pop(parameter, None)
        return batches, measured(assignment, previous, self.truth)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy towards the clusters' numbers."""
        features = self.network.features(self.pictures(batch, self.settings.channels_last))
        return F.cross_entropy(self.head(self.settings.scale * features), batch.target)

    def groups(self) -> list[dict[str, Any]]:
        """Parameters of the network, and of the head with a momentum of its own."""
        settings, parts = self.settings, self.network.named_parameters()
        body = [value for name, value in parts if value.requires_grad and not name.startswith("head.")]
        decay, head = {"weight_decay": settings.weight_decay}, list(self.head.parameters())
        return [
            {"params": body, "momentum": settings.momentum, "nesterov": settings.nesterov, **decay},
            {"params": head, "momentum": settings.head_momentum, "nesterov": False, **decay},
        ]

    def state(self) -> dict[str, Any]:
        """Head and clusters."""
        return {"head": self.head.state_dict(), "assignment": self.assignment}


def measured(assignment: Int[Tensor, " n"], previous: Int[Tensor, " n"] | None, truth: Int[Tensor, " n"]) -> Row:
    """Measure a clustering: its agreement with the one before and with the truth, its clusters' sizes.

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
