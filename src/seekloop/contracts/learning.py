"""Records and protocols of deep active learning: datasets, networks, pseudo-labels.

Axes as in `records`: n images of the dataset, c classes, d features, b images of a batch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from seekloop.contracts.problems import Problem


@dataclass(frozen=True)
class ImageSet:
    """Small images of one size, in memory, with their classes.

    Attributes:
        images: RGB, 0 to 255.
        labels: class of each image, counted from 0.
    """

    images: UInt8[Tensor, "n 3 h w"]
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A classification problem: images to ask about, and others to measure on.

    Attributes:
        name: for people.
        classes: names; labels count into them.
        train: images to ask about. Their labels are seen only where they were asked for, and by metrics.
        test: never trained on, never chosen by.
        mean: per channel, of images in [0, 1].
        std: likewise.
        shift: augmentation: the largest translation per axis in pixels, the border reflected; 0 is none.
        flips: augmentation: whether images may be mirrored left to right.
        problems: files that were not taken.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    test: ImageSet
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    shift: int
    flips: bool
    problems: tuple[Problem, ...] = ()


@runtime_checkable
class DatasetSource(Protocol):
    """Reads a dataset (`conf/dataset/`). Nothing is read before `load`."""

    name: str

    def load(self) -> Dataset:
        """Read it into memory."""
        ...

    def fingerprint(self) -> str:
        """Hash of all that determines the images and labels, cheap to compute."""
        ...


class Network(nn.Module, ABC):
    """A classifier whose features are used too: for acquisition, for propagation.

    Attributes:
        dim: d of the features.
        head: features to logits, the last layer; has `in_features` and `out_features`.
        frozen: True where only the head learns: features are then taken once, without augmentation.
    """

    dim: int
    head: nn.Module
    frozen: bool

    @abstractmethod
    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Input of the head, of unit length where the method says so."""

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c"]:
        """Logits of normalised images."""
        logits: Tensor = self.head(self.features(pixels))
        return logits


Triple = tuple[float, float, float]


@runtime_checkable
class NetworkSource(Protocol):
    """Builds networks (`conf/model/`).

    Attributes:
        name: for people.
        mean: per channel, of the images in [0, 1] that the networks were trained on before; None: that of the dataset.
        std: likewise.
    """

    name: str
    mean: Triple | None
    std: Triple | None

    def build(self, classes: int, seed: int) -> Network:
        """Build a fresh network on the CPU; its weights depend on `seed` and on nothing global."""
        ...


@runtime_checkable
class Pretrainer(Protocol):
    """Unsupervised pre-training (`conf/pretraining/`)."""

    def __call__(self, network: Network, dataset: Dataset, folder: Path, seed: int) -> Path:
        """Train the network's features without labels; the path of its saved weights, in `folder`.

        Goes on where an earlier call with the same folder was interrupted, and returns at once where it had finished.
        """
        ...


@dataclass(frozen=True)
class PseudoLabels:
    """Labels of other origin than people's answers.

    Attributes:
        labels: class of each image of the dataset; -1 where there is none.
        weights: how certain each is, from 0 to 1; 0 where there is none.
    """

    labels: Int[Tensor, " n"]
    weights: Float[Tensor, " n"]


@runtime_checkable
class Propagation(Protocol):
    """Label propagation: labels of a few images, brought to all along a graph (`conf/propagation/`)."""

    def __call__(self, features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], classes: int) -> PseudoLabels:
        """Pseudo-labels of all images; `labels` is -1 where unknown, and what is known is kept with weight 1."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """View of a network on some images.

    Attributes:
        features: input of its head, brought to unit length.
        probabilities: softmax of its logits.
    """

    features: Float[Tensor, "n d"]
    probabilities: Float[Tensor, "n c"]
