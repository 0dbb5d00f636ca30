"""One cycle's training: a fresh network, a warm-up perhaps, then as the scheme has it; gone on with after a kill."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from seekloop.backbones.precision import cpu_prefers_bfloat16
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.learning import Network, NetworkSource, Pool, Propagation, PseudoLabels
from seekloop.contracts.randomness import derived_seed, generator
from seekloop.learning.cycles import Learnt, Row, Task
from seekloop.learning.schemes import Scheme
from seekloop.learning.training import EpochKeeper, Training
from seekloop.lightning.silence import lightning_silenced
from seekloop.lightning.trainers import trainer_of
from seekloop.training.classification import SemiSupervised, Supervised, Watch
from seekloop.training.views import Pictures, view

Tell = Callable[[int, Row], None]


def resolved_precision(precision: str, accelerator: str) -> str:
    """Lightning's precision, with `auto` decided for this machine: bf16-mixed where that is much faster."""
    if precision != "auto":
        return precision
    cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    return "32-true" if cpu and not cpu_prefers_bfloat16() else "bf16-mixed"


@dataclass(frozen=True)
class LightningFit:
    """Trains a fresh network on what is known. Implements `learning.cycles.Fit`.

    Attributes:
        pool: images, and how they are normalised and moved; its labels are not looked at.
        source: of networks.
        training: settings of the optimiser.
        scheme: how an epoch is put together.
        propagation: spreads labels, where the scheme wants that.
        weights: file of pre-trained features; None: from scratch.
        seed: of the run, with `split`.
        split: number of the initial set.
        accelerator: Lightning's name.
        keeper: where the training of a cycle is kept.
        watch: measures pseudo-labels.
        tell: told every finished epoch of a cycle.
    """

    pool: Pool
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
    tell: Tell

    def __call__(self, task: Task) -> Learnt:
        """Train, then look at all images."""
        with own_randomness(), lightning_silenced():
            network = self._fresh(task.cycle)
            pictures = Pictures(self.pool.train.images, self.pool)
            rows = self._train(task, network, pictures)
            return self._look(task, network, pictures, rows)

    def _fresh(self, cycle: int) -> Network:
        """A network whose weights depend on seed, split and cycle; its features may be pre-trained."""
        network = self.source.build(len(self.pool.classes), derived_seed(self.seed, self.split, cycle, "network"))
        if self.weights is not None:
            load_features(network, self.weights)
        return network.to(memory_format=torch.channels_last) if self.training.channels_last else network  # type: ignore[call-overload]

    def _train(self, task: Task, network: Network, pictures: Pictures) -> list[Row]:
        """The stages that are missing, each for its epochs."""
        kept = self.keeper.kept(task.cycle)
        stages = stages_of(self.scheme, self.training.epochs)
        reached = [name for name, _ in stages].index(kept["stage"]) if kept else 0
        rows: list[Row] = list(kept["rows"]) if kept else []
        if kept:
            network.load_state_dict(kept["network"])
        for number, (name, epochs) in enumerate(stages):
            first = int(kept["epoch"]) if kept and number == reached else 0
            if number >= reached and first < epochs:
                state = kept["optimiser"] if first and kept else None
                rows = self._stage(task, network, pictures, name, epochs, first, state, rows)
        return rows

    def _stage(
        self,
        task: Task,
        network: Network,
        pictures: Pictures,
        name: str,
        epochs: int,
        first: int,
        state: Mapping[str, Any] | None,
        rows: list[Row],
    ) -> list[Row]:
        module = self._module(task, network, pictures, name, first, state)
        module.rows = rows
        settings = {"accelerator": self.accelerator, "devices": 1, "precision": self.training.precision}
        trainer_of({**settings, "max_epochs": epochs - first}, key="accelerator").fit(module)
        return module.rows

    def _module(
        self,
        task: Task,
        network: Network,
        pictures: Pictures,
        name: str,
        first: int,
        state: Mapping[str, Any] | None,
    ) -> Supervised:
        def keep(checkpoint: dict[str, Any]) -> None:
            self.keeper.keep(task.cycle, checkpoint)
            self.tell(task.cycle, checkpoint["rows"][-1])

        known = together(task.labels, task.extra)
        epochs = dict(stages_of(self.scheme, self.training.epochs))[name]
        horizon = max(epochs, round(self.training.horizon * epochs / self.training.epochs))
        own = replace(self.training, epochs=epochs, horizon=horizon)  # each stage has the whole of the schedule
        given = (network, pictures, task.labels, known, len(self.pool.classes), own)
        about = {"seed": self.seed, "purpose": (self.split, task.cycle, name), "first": first}
        about |= {"optimiser_state": state, "keep": keep}
        if name == "supervised":
            return Supervised(*given, **about)  # type: ignore[arg-type]
        return SemiSupervised(*given, semi=self.scheme, propagation=self.propagation, watch=self.watch, **about)

    def _look(self, task: Task, network: Network, pictures: Pictures, rows: list[Row]) -> Learnt:
        """The trained network's views, and what its features make of the labels."""
        size, precision = self.training.view_batch, self.training.precision
        device = torch.device(
            "cuda" if self.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available() else "cpu"
        )
        network.to(device)
        rng = generator(self.seed, self.split, task.cycle, "view")
        moves = pictures.random_moves(rng) if self.training.augmented_views else None
        train = view(network, pictures.to(device), size, precision, moves)
        test = view(network, Pictures(self.pool.test.images, self.pool).to(device), size, precision, None)
        classes = len(self.pool.classes)
        pseudo = self.propagation(train.features, task.labels, classes) if self.scheme.propagates else task.extra
        return Learnt(train, test.probabilities, rows, pseudo)


def stages_of(scheme: Scheme, epochs: int) -> list[tuple[str, int]]:
    """What a cycle consists of: the kind of training, and its epochs.

    Raises:
        ConfigError: if the warm-up leaves no epoch.
    """
    if not scheme.propagates:
        return [("supervised", epochs)]
    if not 0 <= scheme.warmup < epochs:
        why = f"a cycle has {epochs} epochs, the warm-up included, and some must be left"
        raise ConfigError("semi.warmup", scheme.warmup, why, f"Use 0 to {epochs - 1}, or raise training.epochs.")
    return [("supervised", scheme.warmup), ("semi", epochs - scheme.warmup)]


def together(labels: Int[Tensor, " n"], extra: PseudoLabels | None) -> PseudoLabels:
    """Answers with weight 1, and labels of other origin where there is no answer."""
    answers = PseudoLabels(labels, (labels >= 0).float())
    if extra is None:
        return answers
    known = labels >= 0
    weights = torch.where(known, answers.weights, extra.weights.float())
    return PseudoLabels(torch.where(known, labels, extra.labels), weights)


def load_features(network: Network, path: Path) -> None:
    """Give a network pre-trained weights, all but the head's.

    Raises:
        StoreError: if the file is not of such a network.
    """
    weights = torch.load(path, map_location="cpu", weights_only=True)
    own = network.state_dict()
    wanted = {name for name in own if not name.startswith("head.")}
    given = {name: value for name, value in weights.items() if not name.startswith("head.")}
    other = [name for name in sorted(wanted ^ set(given))]
    other += [name for name in sorted(wanted & set(given)) if given[name].shape != own[name].shape]
    if other:
        why = f"{path} holds the weights of another network: {len(other)} parts differ, such as {other[0]!r}"
        raise StoreError(f"{why}. Delete it, or name the model it was made with")
    network.load_state_dict(given, strict=False)


@contextlib.contextmanager
def own_randomness() -> Iterator[None]:
    """Torch's own generators, which dropout draws from, are given back as they were; the GPU's kernels repeat."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.backends.cudnn.deterministic = before
