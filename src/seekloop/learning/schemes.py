"""Composition of an epoch from labels and pseudo-labels: which images it takes, and how much each counts."""

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from annotated_types import Ge, Interval
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import PseudoLabels
from seekloop.learning.batches import class_weights, labelled_epoch, mixed_epoch, sampled

Labels = Int[Tensor, " n"]
Plan = tuple[Int[Tensor, "t b"], Float[Tensor, " n"]]
"""Positions, a row per batch; and the factor on the loss of every image of the dataset."""


@runtime_checkable
class Scheme(Protocol):
    """Composition of an epoch (`conf/semi/`).

    Attributes:
        propagates: whether labels are propagated at the beginning of each epoch.
        first: features of a cycle's first propagation, `network` or `pixels`; later ones take the network's.
    """

    propagates: bool

    @property
    def first(self) -> str: ...

    def warmup_of(self, epochs: int) -> int:
        """Count of a cycle's epochs that come first, on labelled images alone, with a schedule of their own."""
        ...

    def plan(
        self, labels: Labels, known: PseudoLabels, classes: int, batch: int, iterations: int | None, rng: Generator
    ) -> Plan:
        """Draw the batches of one epoch.

        Args:
            labels: the answers, -1 where nobody was asked.
            known: those, and all pseudo-labels.
            classes: how many there are.
            batch: images in a batch of labelled images alone.
            iterations: batches in an epoch; None: as the scheme has it.
            rng: generator.
        """
        ...


@dataclass(frozen=True)
class LabelledOnly:
    """Train on labelled images alone, whether people or the criterion gave the label; all count the same."""

    propagates = False
    first = "network"

    def warmup_of(self, epochs: int) -> int:
        """None: all epochs are on labelled images alone."""
        del epochs
        return 0

    def plan(
        self, labels: Labels, known: PseudoLabels, classes: int, batch: int, iterations: int | None, rng: Generator
    ) -> Plan:
        """Draw random orders of the labelled images."""
        del labels, classes
        images = labelled_epoch((known.weights > 0).nonzero()[:, 0], batch, iterations, rng)
        return images, torch.ones(len(known.labels))


@component
class PropagatedLabels:
    """Train on batches with a labelled part and a pseudo-labelled part.

    Args:
        warmup: epochs of a cycle that come first, on labelled images alone (Algorithm 1, line 4); an int counts them, a
            float below 1 is their share of the cycle.
        first: features of a cycle's first propagation, before which few labels have taught the network little: its
            own, or the pixels.
        batch: images in a batch.
        labelled: of which labelled.
        share: of the images without a label, how many are taken in an epoch.
        weighted_sampling: whether certain pseudo-labels are drawn more often.
        replacement: whether one may be drawn several times for an epoch.
        weighted_loss: whether certain pseudo-labels count more in the loss.
        class_weights: whether classes with few pseudo-labels count more in the loss.

    Raises:
        ConfigError: if an argument is out of its range, or a batch has no room for both parts.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, chapter 3;
        with `weighted_loss` and `class_weights` Iscen et al., "Label Propagation for Deep Semi-supervised Learning",
        CVPR 2019.
    """

    warmup: Annotated[int, Ge(0)] | Annotated[float, Interval(gt=0, lt=1)] = 0.5
    first: Literal["network", "pixels"] = "network"
    batch: Count = 128
    labelled: Count = 50
    share: Annotated[float, Interval(gt=0, le=1)] = 0.5
    weighted_sampling: bool = True
    replacement: bool = True
    weighted_loss: bool = False
    class_weights: bool = False
    propagates = True

    def __post_init__(self) -> None:
        if self.labelled >= self.batch:
            why = f"both parts of a batch of {self.batch} need room"
            raise ConfigError("labelled", self.labelled, why, f"Use less than batch={self.batch}.", self)

    def warmup_of(self, epochs: int) -> int:
        """Count the epochs of the warm-up; a share of them is rounded, and leaves at least one on either side.

        Raises:
            ConfigError: if none is left after it.
        """
        if isinstance(self.warmup, float):
            return min(max(round(self.warmup * epochs), 1), epochs - 1)
        if self.warmup >= epochs:
            why = f"a cycle has {epochs} epochs, the warm-up included, and some must be left"
            raise ConfigError("warmup", self.warmup, why, f"Use 0 to {epochs - 1}, or raise training.epochs.", self)
        return self.warmup

    def plan(
        self, labels: Labels, known: PseudoLabels, classes: int, batch: int, iterations: int | None, rng: Generator
    ) -> Plan:
        """Draw one pass over some pseudo-labels; labelled images alone where there is no pseudo-label at all."""
        usable = (labels < 0) & (known.labels >= 0)
        keys = known.weights if self.weighted_sampling else torch.ones_like(known.weights)
        chosen = sampled(keys * usable, round(self.share * int((labels < 0).sum())), self.replacement, rng)
        labelled = (labels >= 0).nonzero()[:, 0]
        if len(chosen):
            images = mixed_epoch(labelled, chosen, self.batch, self.labelled, iterations, rng)
        else:
            images = labelled_epoch(labelled, batch, iterations, rng)
        weights = known.weights.float() if self.weighted_loss else torch.ones(len(labels))
        if self.class_weights:
            weights = weights * class_weights(known.labels, classes)[known.labels.clamp(min=0)]
        return images, weights
