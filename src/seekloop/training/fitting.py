"""Training of one cycle: a fresh network, a warm-up perhaps, then as the scheme has it; gone on with after a kill."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from seekloop.artifacts.files import read_tensors
from seekloop.contracts.errors import StoreError
from seekloop.contracts.learning import Dataset, Network, NetworkSource, Propagation, PseudoLabels
from seekloop.contracts.randomness import derived_seed, generator
from seekloop.learning.cycles import Learnt, Row, Task
from seekloop.learning.descent import EpochKeeper, Training
from seekloop.learning.schemes import LabelledOnly, Scheme
from seekloop.training.classification import Classification, Watch
from seekloop.training.epochs import Epochs, train, undisturbed
from seekloop.training.views import Pictures, view


@dataclass(frozen=True)
class LightningFit:
    """Training of a fresh network on the labels there are (`learning.cycles.Fit`).

    Attributes:
        dataset: images, and how they are normalised and moved; its labels are not looked at.
        source: of networks.
        training: settings of the optimiser.
        scheme: how an epoch is put together.
        propagation: spreads labels, where the scheme wants that.
        weights: file of pre-trained features; None: from scratch.
        seed: of the run, with `split`.
        split: number of the initial set.
        accelerator: Lightning's name.
        keeper: keeps the training of a cycle.
        watch: measures pseudo-labels.
        tell: told every finished epoch of a cycle.
    """

    dataset: Dataset
    source: NetworkSource
    training: Training
    scheme: Scheme
    propagation: Propagation
    weights: Path | None
    seed: int
    split: int
    accelerator: str
    keeper: EpochKeeper
    watch: Watch
    tell: Callable[[int, Row], None]

    def __call__(self, task: Task) -> Learnt:
        """Train, then look at all images. The network's first weights depend on seed, split and cycle."""
        seed = derived_seed(self.seed, self.split, task.cycle, "network")
        with undisturbed():
            network = self.source.build(len(self.dataset.classes), seed)
            if self.weights is not None:
                load_features(network, self.weights)
            if self.training.channels_last:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
            pictures = Pictures(self.dataset.train.images, self.dataset)
            rows = self._train(task, network, pictures)
            return self._look(task, network, pictures, rows)

    def _train(self, task: Task, network: Network, pictures: Pictures) -> list[Row]:
        """Train the stages that are missing, each for its epochs and with the whole of the schedule."""
        settings, stages = self.training, stages_of(self.scheme, self.training.epochs)
        kept = self.keeper.kept(task.cycle) or {}
        rows: list[Row] = list(kept.get("rows", []))
        reached = [name for name, _ in stages].index(kept["stage"]) if kept else 0
        if kept:
            network.load_state_dict(kept["network"])

        def keep(checkpoint: dict[str, Any]) -> None:
            self.keeper.keep(task.cycle, checkpoint)
            self.tell(task.cycle, checkpoint["rows"][-1])

        for name, epochs in stages[reached:]:
            horizon = settings.horizon and max(epochs, round(settings.horizon * epochs / settings.epochs))
            own = replace(settings, epochs=epochs, horizon=horizon)
            scheme, propagation = (LabelledOnly(), None) if name == "supervised" else (self.scheme, self.propagation)
            known, classes = together(task.labels, task.extra), len(self.dataset.classes)
            given = (network, pictures, task.labels, known, classes, own, scheme, propagation, self.watch)
            earlier = kept if kept.get("stage") == name else {"rows": rows}
            module = Epochs(Classification(*given), self.seed, (self.split, task.cycle, name), keep, earlier)
            train(module, epochs, self.accelerator, settings.precision)
            rows = module.rows
        return rows

    def _look(self, task: Task, network: Network, pictures: Pictures, rows: list[Row]) -> Learnt:
        """Give the trained network's views, and pseudo-labels by its features."""
        size, precision = self.training.view_batch, self.training.precision
        gpu = self.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()
        device = torch.device("cuda" if gpu else "cpu")
        rng = generator(self.seed, self.split, task.cycle, "view")
        moves = pictures.random_moves(rng) if self.training.augmented_views else None
        seen = view(network.to(device), pictures.to(device), size, precision, moves)
        test = view(network, Pictures(self.dataset.test.images, self.dataset).to(device), size, precision, None)
        classes = len(self.dataset.classes)
        pseudo = self.propagation(seen.features, task.labels, classes) if self.scheme.propagates else task.extra
        return Learnt(seen, test.probabilities, rows, pseudo)


def stages_of(scheme: Scheme, epochs: int) -> list[tuple[str, int]]:
    """List the stages of a cycle: the kind of training, and its epochs.

    Raises:
        ConfigError: if the warm-up leaves no epoch.
    """
    warmup = scheme.warmup_of(epochs) if scheme.propagates else epochs
    stages = [("supervised", warmup), ("semi", epochs - warmup)]
    return [(name, count) for name, count in stages if count]


def together(labels: Int[Tensor, " n"], extra: PseudoLabels | None) -> PseudoLabels:
    """Join answers, of weight 1, and labels of other origin where there is no answer."""
    known = labels >= 0
    if extra is None:
        return PseudoLabels(labels, known.float())
    return PseudoLabels(torch.where(known, labels, extra.labels), torch.where(known, 1.0, extra.weights.float()))


def load_features(network: Network, path: Path) -> None:
    """Give a network pre-trained weights, all but the head's.

    Raises:
        StoreError: if the file is damaged, or not of such a network.
    """
    weights = read_tensors(path, "Delete it to pre-train anew.")
    given, own = (
        {name: value for name, value in state.items() if not name.startswith("head.")}
        for state in (weights, network.state_dict())
    )
    other = sorted(given.keys() ^ own.keys())
    other += [name for name in sorted(given.keys() & own.keys()) if given[name].shape != own[name].shape]
    if other:
        why = f"{path} holds the weights of another network: {len(other)} parts differ, such as {other[0]!r}"
        raise StoreError(f"{why}. Delete it, or name the model it was made with")
    network.load_state_dict(given, strict=False)
