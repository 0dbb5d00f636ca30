"""What an epoch makes of labels and pseudo-labels: which images it takes, and how much each counts."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import PseudoLabels
from seekloop.learning.batches import class_weights, labelled_epoch, mixed_epoch, sampled

Plan = tuple[Int[Tensor, "t b"], Float[Tensor, " n"]]
"""Positions, a row per batch; and the factor on the loss of every image of the pool."""


@runtime_checkable
class Scheme(Protocol):
    """How an epoch is put together: what `conf/semi/*.yaml` instantiate.

    Attributes:
        propagates: whether labels are propagated at the beginning of each epoch.
        warmup: of a cycle's epochs, so many come first, on labelled images alone, with a schedule of their own.
    """

    propagates: bool
    warmup: int

    def plan(
        self,
        labels: Int[Tensor, " n"],
        known: PseudoLabels,
        classes: int,
        batch: int,
        iterations: int | None,
        rng: Generator,
    ) -> Plan:
        """The batches of one epoch.

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
    """Every image that has a label, from people or from the criterion itself, counts the same; no other is used."""

    propagates = False
    warmup = 0

    def plan(
        self,
        labels: Int[Tensor, " n"],
        known: PseudoLabels,
        classes: int,
        batch: int,
        iterations: int | None,
        rng: Generator,
    ) -> Plan:
        """Random orders of the labelled images."""
        del labels, classes
        images = labelled_epoch((known.weights > 0).nonzero()[:, 0], batch, iterations, rng)
        return images, torch.ones(len(known.labels))


@dataclass(frozen=True)
class PropagatedLabels:
    """Batches with a labelled part and a pseudo-labelled part.

    Args:
        warmup: of a cycle's epochs, so many come first, on labelled images alone.
        batch: images in a batch.
        labelled: of which labelled.
        share: of the images without a label, how many are taken in an epoch.
        weighted_sampling: whether certain pseudo-labels are drawn more often.
        replacement: whether one may be drawn several times for an epoch.
        weighted_loss: whether certain pseudo-labels count more in the loss.
        class_weights: whether classes with few pseudo-labels count more in the loss.

    Raises:
        ConfigError: if a batch has no room for one of its parts, or nothing is drawn.
    """

    warmup: int
    batch: int
    labelled: int
    share: float
    weighted_sampling: bool
    replacement: bool
    weighted_loss: bool
    class_weights: bool
    propagates = True

    def __post_init__(self) -> None:
        if not 0 < self.labelled < self.batch:
            why = f"both parts of a batch of {self.batch} need room"
            raise ConfigError("semi.labelled", self.labelled, why, f"Choose from 1 to {self.batch - 1}.")
        if not 0 < self.share <= 1:
            raise ConfigError("semi.share", self.share, "it is a share of the unlabelled images", "Usual: 0.5.")

    def plan(
        self,
        labels: Int[Tensor, " n"],
        known: PseudoLabels,
        classes: int,
        batch: int,
        iterations: int | None,
        rng: Generator,
    ) -> Plan:
        """One pass over the drawn pseudo-labels; labelled images alone where there is no pseudo-label at all."""
        labelled = (labels >= 0).nonzero()[:, 0]
        chosen = self._drawn(labels, known, rng)
        if len(chosen):
            images = mixed_epoch(labelled, chosen, self.batch, self.labelled, iterations, rng)
        else:
            images = labelled_epoch(labelled, batch, iterations, rng)
        weights = known.weights.float() if self.weighted_loss else torch.ones(len(labels))
        if self.class_weights:
            weights = weights * class_weights(known.labels, classes)[known.labels.clamp(min=0)]
        return images, weights

    def _drawn(self, labels: Int[Tensor, " n"], known: PseudoLabels, rng: Generator) -> Int[Tensor, " _"]:
        usable = (labels < 0) & (known.labels >= 0)
        keys = known.weights if self.weighted_sampling else torch.ones_like(known.weights)
        return sampled(keys * usable, round(self.share * int((labels < 0).sum())), self.replacement, rng)
