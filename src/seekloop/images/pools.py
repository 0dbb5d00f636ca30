"""Classification pools: what is asked about in `learn`. Published files are read from a folder, never fetched."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import ImageSet, Pool
from seekloop.contracts.problems import Problem
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import NOT_IN_RECIPE, Recipe, settings
from seekloop.images.files import content_hashes
from seekloop.images.pool_formats import Labelled, read_cifar, read_idx, read_pickle, read_svhn
from seekloop.images.stratified import divided, stratified

Triple = tuple[float, float, float]
Content = tuple[tuple[str, ...], ImageSet, ImageSet]  # names of the classes, train, test
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class ReadPool(ABC):
    """What all pools share: a stratified part of the images if wanted, normalisation, augmentation.

    Args:
        images: how many training images to keep, every class in its proportion; None: all.
        test_images: how many test images, likewise.
        seed: of those draws, and of a division into train and test where there is none.
        normalisation: `mean` and `std` per channel, of images in [0, 1]; None: those of the training images kept.
        shift: augmentation: the largest translation per axis, in pixels.
        flips: augmentation: whether images may be mirrored left to right.
    """

    name: ClassVar[str]
    images: int | None
    test_images: int | None
    seed: int
    normalisation: Mapping[str, Sequence[float | int]] | None
    shift: int
    flips: bool

    def load(self) -> Pool:
        """The pool, in memory.

        Raises:
            ConfigError: if files are missing or damaged, or fewer images are there than wanted.
        """
        classes, train, test = self._read()
        train = self._kept(train, "images", "training")
        test = self._kept(test, "test_images", "test")
        mean, std = channel_statistics(train.images) if self.normalisation is None else self._given()
        side = min(train.images.shape[-2:])
        if not 0 <= self.shift < side:
            why = f"images have {side} pixels a side, and reflection reaches no further"
            raise ConfigError("pool.shift", self.shift, why, "Usual: 4 for 32 pixels.")
        left_out = tuple(self._left_out())
        return Pool(self.name, classes, train, test, mean, std, self.shift, self.flips, left_out)

    def fingerprint(self) -> str:
        """Hash of the files' contents, and of the settings but the folder."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.metadata.get("recipe", True)}
        return Recipe("dataset", {"name": self.name, "files": self._contents(), **settings(given)}).key

    @abstractmethod
    def _read(self) -> Content:
        """Classes, training images, test images."""

    @abstractmethod
    def _contents(self) -> list[list[str]]:
        """What identifies the contents of the files."""

    def _left_out(self) -> Sequence[Problem]:
        """Files that were not taken; published pools are read whole or not at all."""
        return ()

    def _kept(self, images: ImageSet, key: str, kind: str) -> ImageSet:
        wanted: int | None = getattr(self, key)
        if wanted is None:
            return images
        if not 0 < wanted <= len(images):
            why = f"{self.name} has {len(images)} {kind} images"
            raise ConfigError(f"pool.{key}", wanted, why, f"Use at most {len(images)}, or null for all.")
        rows = stratified(images.labels, wanted, generator(self.seed, "pool", key))
        return ImageSet(images.images[rows], images.labels[rows])

    def _given(self) -> tuple[Triple, Triple]:
        given = self.normalisation or {}
        if any(len(given.get(key, ())) != 3 for key in ("mean", "std")):
            fix = "Write {mean: [r, g, b], std: [r, g, b]}, or null."
            raise ConfigError("pool.normalisation", dict(given), "it needs three means and three deviations", fix)
        return _triple(given["mean"]), _triple(given["std"])


@dataclass(frozen=True)
class Digits(ReadPool):
    """scikit-learn's 1,797 handwritten digits, 8x8 brought to 32x32 (bilinear); needs no files.

    Args:
        images: as in `ReadPool`.
        test_images: as in `ReadPool`.
        seed: as in `ReadPool`.
        normalisation: as in `ReadPool`.
        shift: as in `ReadPool`.
        flips: as in `ReadPool`.
        test: share of the digits that is held out, stratified.
    """

    name = "digits"
    test: float

    def _read(self) -> Content:
        if not 0 < self.test < 1:
            raise ConfigError("pool.test", self.test, "it is the share of the digits held out", "Usual: 0.3.")
        grey, labels = _digits()
        images = enlarged(grey)
        rest, held = divided(labels, self.test, generator(self.seed, "pool", "test"))
        return DIGITS, ImageSet(images[rest], labels[rest]), ImageSet(images[held], labels[held])

    def _contents(self) -> list[list[str]]:
        grey, labels = _digits()
        return [[hashlib.blake2b(part.numpy().tobytes(), digest_size=16).hexdigest() for part in (grey, labels)]]


@dataclass(frozen=True)
class PublishedPool(ReadPool):
    """A pool in the files that its authors publish.

    Args:
        images: as in `ReadPool`.
        test_images: as in `ReadPool`.
        seed: as in `ReadPool`.
        normalisation: as in `ReadPool`.
        shift: as in `ReadPool`.
        flips: as in `ReadPool`.
        root: folder with the files, or one that has them where torchvision puts them.
    """

    source: ClassVar[str]  # where people get the files
    folders: ClassVar[tuple[str, ...]]  # below the root, where they may lie
    files: ClassVar[tuple[tuple[str, ...], ...]]  # each by the names it may have
    root: str | None = field(metadata=NOT_IN_RECIPE)

    def _read(self) -> Content:
        try:
            return self._parse(self._found())
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            fix = f"Fetch it again from {self.source}."
            raise ConfigError("pool.root", self.root, str(error), fix) from error

    @abstractmethod
    def _parse(self, found: list[Path]) -> Content:
        """The content of the files."""

    def _contents(self) -> list[list[str]]:
        found = self._found()
        hashes = content_hashes(found[0].parent, [path.name for path in found], None)
        return [[names[0], content] for names, (_, content) in zip(self.files, hashes, strict=True)]

    def _found(self) -> list[Path]:
        """The files, all in one folder.

        Raises:
            ConfigError: if one is missing; the message says which, where it was expected and how to get it.
        """
        fix = f"Get the files from {self.source} and give their folder with pool.root=<folder>."
        if self.root is None:
            raise ConfigError("pool.root", None, f"{self.name} is read from its published files", fix)
        root = Path(self.root).expanduser().absolute()
        places = [root / folder for folder in self.folders]
        folder = next((place for place in places if _first(place, self.files[0])), root)
        missing = [names[0] for names in self.files if _first(folder, names) is None]
        if missing:
            raise ConfigError("pool.root", self.root, f"{folder} has no {', '.join(missing)}", fix)
        return [path for names in self.files if (path := _first(folder, names)) is not None]


def _idx_names(part: str, content: str) -> tuple[str, ...]:
    """The names under which one of MNIST's files is found: a hyphen or a point before `idx`, gzipped or not."""
    kind, number = content.split("-")
    return tuple(f"{part}-{kind}{mark}{number}-ubyte{end}" for mark in "-." for end in ("", ".gz"))


@dataclass(frozen=True)
class Mnist(PublishedPool):
    """MNIST's handwritten digits (60,000 and 10,000, 28x28), brought to 32x32 by a border of zeros.

    Reference:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """

    name = "mnist"
    source = "torchvision.datasets.MNIST(root, download=True), or any mirror of the four idx files"
    folders = ("MNIST/raw", ".")
    files = tuple(_idx_names(part, content) for part in ("train", "t10k") for content in ("images-idx3", "labels-idx1"))

    def _parse(self, found: list[Path]) -> Content:
        train, test = (_grey(read_idx(a), read_idx(b), a) for a, b in (found[:2], found[2:]))
        return DIGITS, train, test


@dataclass(frozen=True)
class Svhn(PublishedPool):
    """Street View House Numbers, cropped digits (73,257 and 26,032, 32x32).

    Reference:
        Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
    """

    name = "svhn"
    source = "http://ufldl.stanford.edu/housenumbers (cropped digits, format 2)"
    folders = (".", "SVHN")
    files = (("train_32x32.mat",), ("test_32x32.mat",))

    def _parse(self, found: list[Path]) -> Content:
        train, test = (ImageSet(*read_svhn(path)) for path in found)
        return DIGITS, train, test


class Cifar(PublishedPool):
    """What both of them share: training batches, then a test batch, then the names of the classes."""

    labels: ClassVar[bytes]
    names: ClassVar[bytes]

    def _parse(self, found: list[Path]) -> Content:
        *train, test, meta = found
        classes = _names(meta, self.names)
        batches = [read_cifar(path, self.labels) for path in (*train, test)]
        return classes, _joined(batches[:-1], classes), _joined(batches[-1:], classes)


@dataclass(frozen=True)
class Cifar10(Cifar):
    """CIFAR-10 (50,000 and 10,000 photographs of 32x32 pixels), the Python version.

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name = "cifar10"
    source = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz (unpack it)"
    folders = ("cifar-10-batches-py", ".")
    files = (*((f"data_batch_{k}",) for k in range(1, 6)), ("test_batch",), ("batches.meta",))
    labels, names = b"labels", b"label_names"


@dataclass(frozen=True)
class Cifar100(Cifar):
    """CIFAR-100 (50,000 and 10,000 photographs of 32x32 pixels), its 100 fine classes, the Python version.

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name = "cifar100"
    source = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz (unpack it)"
    folders = ("cifar-100-python", ".")
    files = (("train",), ("test",), ("meta",))
    labels, names = b"fine_labels", b"fine_label_names"


def channel_statistics(images: UInt8[Tensor, "n 3 h w"]) -> tuple[Triple, Triple]:
    """Mean and standard deviation of each channel over all pixels, of values in [0, 1]; deviations of 0 become 1.

    Example:
        >>> channel_statistics(torch.tensor([0, 255], dtype=torch.uint8).repeat(3, 1)[None, :, None])
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    """
    counts = torch.stack([torch.bincount(images[:, channel].flatten(), minlength=256) for channel in range(3)]).double()
    shares, values = counts / counts.sum(dim=1, keepdim=True), torch.arange(256).double() / 255
    mean = shares @ values
    std = (shares * (values - mean[:, None]).square()).sum(dim=1).sqrt()
    return _triple(mean.tolist()), _triple(torch.where(std > 0, std, 1.0).tolist())


def enlarged(grey: UInt8[Tensor, "n 8 8"]) -> UInt8[Tensor, "n 3 32 32"]:
    """Grey pictures four times as large, three equal channels."""
    large = F.interpolate(grey[:, None].float(), size=(32, 32), mode="bilinear", align_corners=False)
    return large.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


def padded(grey: UInt8[Tensor, "n h w"], side: int) -> UInt8[Tensor, "n 3 {side} {side}"]:
    """Grey pictures in the middle of a black square, three equal channels."""
    height, width = grey.shape[1:]
    top, left = (side - height) // 2, (side - width) // 2
    square = F.pad(grey, (left, side - width - left, top, side - height - top))
    return square[:, None].expand(-1, 3, -1, -1).contiguous()


def _digits() -> tuple[UInt8[Tensor, "n 8 8"], Int[Tensor, " n"]]:
    from sklearn.datasets import load_digits

    content = load_digits()
    grey = np.rint(content.images * (255 / 16)).astype(np.uint8)  # scikit-learn's values go from 0 to 16
    return torch.from_numpy(grey), torch.from_numpy(content.target.astype(np.int64))


def _grey(pixels: Tensor, labels: Tensor, path: Path) -> ImageSet:
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1] or max(pixels.shape[1:]) > 32:
        raise ValueError(f"{path} holds {tuple(pixels.shape)}, and there are {tuple(labels.shape)} labels")
    return ImageSet(padded(pixels, 32), labels.long())


def _joined(parts: Sequence[Labelled], classes: Sequence[str]) -> ImageSet:
    labels = torch.cat([part[1] for part in parts])
    if len(labels) and int(labels.max()) >= len(classes):
        raise ValueError(f"there are labels up to {int(labels.max())}, and {len(classes)} classes have a name")
    return ImageSet(torch.cat([part[0] for part in parts]), labels)


def _names(path: Path, key: bytes) -> tuple[str, ...]:
    content = read_pickle(path)
    if key not in content:
        raise ValueError(f"{path} has no {key.decode()}")
    return tuple(name.decode() for name in content[key])


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _triple(values: Sequence[float | int]) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
