"""Hyper-parameters and learning rate of supervised training, and where its epochs are kept."""

import math
from typing import Annotated, Any, Protocol, runtime_checkable

from annotated_types import Ge, Interval

from seekloop.contracts.declared import Count, Positive, Precision, component
from seekloop.contracts.errors import ConfigError

Momentum = Annotated[float, Interval(ge=0, lt=1)]


@component
class Descent:
    """Hyper-parameters of stochastic gradient descent.

    Args:
        epochs: how many.
        lr: learning rate at the start.
        horizon: epochs after which the cosine schedule would reach 0, at least `epochs`; None: the rate stays.
        momentum: of the network's parameters.
        weight_decay: of all parameters.
        view_batch: images at once where features are taken. Results do not depend on it beyond rounding.
        precision: Lightning's name; auto: bf16-mixed where that is faster, else 32-true.
        channels_last: whether channels lie innermost in memory, which convolutions on GPUs and in bfloat16 prefer.

    Raises:
        ConfigError: if an argument is out of its range, or the horizon lies before the last epoch.
    """

    epochs: Count
    lr: Positive
    horizon: Count | None = None
    momentum: Momentum = 0.9
    weight_decay: Annotated[float, Ge(0)] = 2e-4
    view_batch: Count = 100
    precision: Precision = "auto"
    channels_last: bool = True

    def __post_init__(self) -> None:
        if self.horizon is not None and self.horizon < self.epochs:
            why = f"the learning rate would be 0 before the {self.epochs} epochs are over"
            raise ConfigError("horizon", self.horizon, why, f"Use horizon={self.epochs} or more.", self)


@component
class Training(Descent):
    """Hyper-parameters of training on labelled images, beside those of `Descent`; its momentum is of Nesterov's kind.

    Args:
        epochs: in each cycle, the warm-up of the scheme included.
        iterations: batches in an epoch; None: one pass over what the epoch takes.
        batch: images in a batch of labelled images alone.
        augmented_views: whether features for propagation and acquisition are taken of randomly moved images.
    """

    epochs: Count = 200
    iterations: Count | None = None
    batch: Count = 32
    lr: Positive = 0.2
    horizon: Count | None = 210
    augmented_views: bool = False


def cosine(rate: float, epoch: float, horizon: int) -> float:
    r"""Learning rate at a time, counted in epochs and fractions of them.

    .. math:: \eta(e) = \eta_0 \tfrac{1}{2} (1 + \cos(\pi e / E))

    Args:
        rate: at the start.
        epoch: now.
        horizon: E, the epoch at which the rate would be 0.

    Reference:
        Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts.

    Example:
        >>> cosine(0.2, 0.0, 210), round(cosine(0.2, 105.0, 210), 6)
        (0.2, 0.1)
    """
    return rate * 0.5 * (1 + math.cos(math.pi * min(epoch, horizon) / horizon))


@runtime_checkable
class EpochKeeper(Protocol):
    """Keeps the training of a cycle, so that a kill loses at most one epoch."""

    def keep(self, cycle: int, checkpoint: dict[str, Any], /) -> None:
        """Replace what was kept by this."""
        ...

    def kept(self, cycle: int) -> dict[str, Any] | None:
        """Last checkpoint, if it is of this cycle."""
        ...
