"""How a network is trained, whoever does it."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from seekloop.contracts.errors import ConfigError


@dataclass(frozen=True)
class Training:
    """Stochastic gradient descent: what `conf/training/*.yaml` instantiate.

    Args:
        epochs: in each cycle, the warm-up of the scheme included.
        iterations: batches in an epoch; None: one pass over what the epoch takes.
        batch: images in a batch of labelled images alone.
        lr: learning rate at the start.
        horizon: epochs after which the cosine schedule would reach 0; at least `epochs`.
        momentum: of Nesterov's kind.
        weight_decay: of all parameters.
        augmented_views: whether features for propagation and acquisition are taken of randomly moved images.
        view_batch: images at once where features are taken. Results do not depend on it beyond rounding.
        precision: Lightning's name; auto: bf16-mixed where that is faster, else 32-true.
        channels_last: whether channels lie innermost in memory, which convolutions on GPUs and in bfloat16 prefer.

    Raises:
        ConfigError: if a number makes no sense.
    """

    epochs: int
    iterations: int | None
    batch: int
    lr: float
    horizon: int
    momentum: float
    weight_decay: float
    augmented_views: bool
    view_batch: int
    precision: str
    channels_last: bool

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "view_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name}", getattr(self, name), "nothing would be learnt", "Use 1 or more.")
        if self.iterations is not None and self.iterations < 1:
            why = "an epoch has at least one batch"
            raise ConfigError("training.iterations", self.iterations, why, "Use 1 or more, or null for one pass.")
        if self.horizon < self.epochs:
            why = f"the learning rate would be 0 before the {self.epochs} epochs are over"
            raise ConfigError("training.horizon", self.horizon, why, f"Use training.horizon={self.epochs} or more.")
        if not self.lr > 0:
            raise ConfigError("training.lr", self.lr, "nothing would be learnt", "Usual: 0.2.")


@runtime_checkable
class EpochKeeper(Protocol):
    """Where the training of a cycle is kept, so that a kill loses at most one epoch."""

    def keep(self, cycle: int, checkpoint: dict[str, Any], /) -> None:
        """Replace what was kept by this."""
        ...

    def kept(self, cycle: int, /) -> dict[str, Any] | None:
        """What was kept last, if it is of this cycle."""
        ...
