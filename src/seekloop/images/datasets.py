"""Datasets of labelled images for `learn`: scikit-learn's digits, and the published MNIST, SVHN and CIFAR."""

import gzip
import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Interval
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from seekloop.artifacts.files import FULL, CannotWriteError, make_folder, refused
from seekloop.artifacts.folder import lock
from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Dataset, ImageSet
from seekloop.contracts.problems import Problem
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import NOT_IN_RECIPE, Recipe, settings
from seekloop.images.files import content_hashes
from seekloop.images.stratified import divided, stratified

Triple = tuple[float, float, float]
Content = tuple[tuple[str, ...], ImageSet, ImageSet]  # names of the classes, train, test
Normalisation = Mapping[str, Sequence[float]]
HeldOut = Annotated[float, Interval(gt=0, lt=1)]
DIGITS = tuple("0123456789")
CIFAR_STATISTICS = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}


@component
class ReadDataset(ABC):
    """A dataset that is read whole; a stratified part of it if wanted, normalisation, augmentation.

    Args:
        images: how many training images to keep, every class in its proportion; None: all.
        test_images: how many test images, likewise.
        seed: of those draws, and of a division into train and test where there is none.
        normalisation: `mean` and `std` per channel, of images in [0, 1]; None: those of the training images kept.
        shift: augmentation: the largest translation per axis, in pixels.
        flips: augmentation: whether images may be mirrored left to right.
    """

    name: ClassVar[str]
    images: Count | None = None
    test_images: Count | None = None
    seed: int = 0
    normalisation: Normalisation | None = None
    shift: Annotated[int, Ge(0)] = 4
    flips: bool = True

    def load(self) -> Dataset:
        """Read the dataset into memory.

        Raises:
            ConfigError: if files are missing or damaged, or fewer images are there than wanted.
        """
        classes, train, test = self._read()
        train = self._part(train, "images", "training")
        test = self._part(test, "test_images", "test")
        mean, std = channel_statistics(train.images) if self.normalisation is None else self._given()
        side = min(train.images.shape[-2:])
        if self.shift >= side:
            why = f"images have {side} pixels a side, and reflection reaches no further"
            raise ConfigError("shift", self.shift, why, "Usual: 4 for 32 pixels.", self)
        left_out = tuple(self._left_out())
        return Dataset(self.name, classes, train, test, mean, std, self.shift, self.flips, left_out)

    def fingerprint(self) -> str:
        """Hash of the files' contents, and of the settings but the folder."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.metadata.get("recipe", True)}
        return Recipe("dataset", {"name": self.name, "files": self._contents(), **settings(given)}).key

    @abstractmethod
    def _read(self) -> Content:
        """Read classes, training images and test images."""

    @abstractmethod
    def _contents(self) -> list[list[str]]:
        """Identify the contents of the files."""

    def _left_out(self) -> Sequence[Problem]:
        """Files that were not taken; published datasets are read whole or not at all."""
        return ()

    def _part(self, images: ImageSet, key: str, kind: str) -> ImageSet:
        wanted: int | None = getattr(self, key)
        if wanted is None:
            return images
        if wanted > len(images):
            why = f"{self.name} has {len(images)} {kind} images"
            raise ConfigError(key, wanted, why, f"Use at most {len(images)}, or null for all.", self)
        rows = stratified(images.labels, wanted, generator(self.seed, "pool", key))
        return ImageSet(images.images[rows], images.labels[rows])

    def _given(self) -> tuple[Triple, Triple]:
        given = self.normalisation or {}
        if any(len(given.get(key, ())) != 3 for key in ("mean", "std")):
            fix = "Write {mean: [r, g, b], std: [r, g, b]}, or null."
            raise ConfigError("normalisation", dict(given), "it needs three means and three deviations", fix, self)
        return _triple(given["mean"]), _triple(given["std"])


@component
class Digits(ReadDataset):
    """scikit-learn's 1,797 handwritten digits, 8x8 brought to 32x32 (bilinear); needs no files.

    Args:
        images, test_images, seed, normalisation, shift, flips: as in `ReadDataset`.
        test: share of the digits that is held out, stratified.
    """

    name = "digits"
    flips: bool = False
    test: HeldOut = 0.3

    def _read(self) -> Content:
        grey, labels = _digits()
        images = enlarged(grey)
        rest, held = divided(labels, self.test, generator(self.seed, "pool", "test"))
        return DIGITS, ImageSet(images[rest], labels[rest]), ImageSet(images[held], labels[held])

    def _contents(self) -> list[list[str]]:
        return [[hashlib.blake2b(part.numpy().tobytes(), digest_size=16).hexdigest() for part in _digits()]]


@component
class PublishedDataset(ReadDataset):
    """A dataset in the files that its authors publish, read by torchvision.

    Files whose checksums torchvision knows are compared with them before anything is read.

    Args:
        images, test_images, seed, normalisation, shift, flips: as in `ReadDataset`.
        root: folder with the files, or one that has them where torchvision puts them.
        download: whether to fetch the files where they are missing.
    """

    source: ClassVar[str]  # where people get the files
    reader: ClassVar[str]  # of torchvision.datasets
    parts: ClassVar[tuple[Mapping[str, Any], ...]] = ({"train": True}, {"train": False})  # train and test, by its names
    folders: ClassVar[tuple[str, ...]]  # below the root, where they may lie
    files: ClassVar[tuple[tuple[str, ...], ...]]  # each by the names it may have
    root: Path | str | None = field(default=None, metadata=NOT_IN_RECIPE)
    download: bool = field(default=False, metadata=NOT_IN_RECIPE)

    def _read(self) -> Content:
        from torchvision.datasets.utils import check_integrity

        files, fix = self._found(), f"Fetch it again from {self.source}."
        for name, md5 in self._checksums().items():
            if not check_integrity(files[0].parent / name, md5):
                why = f"its MD5 is not that of the published {self.name}, so it is damaged or another file"
                raise ConfigError("root", self.root, f"{files[0].parent / name}: {why}", fix, self)
        try:
            return self._parse(files)
        except (MemoryError, CannotWriteError):
            raise
        except Exception as error:  # a damaged file raises nearly anything
            raise ConfigError("root", self.root, str(error) or type(error).__name__, fix, self) from error

    @abstractmethod
    def _parse(self, files: list[Path]) -> Content:
        """Read the files."""

    def _torchvision(self) -> Any:  # noqa: ANN401 - a class without types
        from torchvision import datasets

        return getattr(datasets, self.reader)

    def _checksums(self) -> Mapping[str, str]:
        """MD5 of the published files by their names, as torchvision knows them."""
        return {}

    def _contents(self) -> list[list[str]]:
        files = self._found()
        hashes = content_hashes(files[0].parent, [path.name for path in files], None)
        return [[names[0], content] for names, (_, content) in zip(self.files, hashes, strict=True)]

    def _found(self) -> list[Path]:
        """Find the files, all in one folder, or fetch them if that was asked for."""
        fix = f"Get the files from {self.source} and give their folder with root=<folder>, or set download=true."
        if self.root is None:
            raise ConfigError("root", None, f"{self.name} is read from its published files", fix, self)
        root = Path(self.root).expanduser().absolute()
        folder, missing = self._look(root)
        if missing and self.download:
            try:
                make_folder(root, "dataset.root")
                with lock(root / ".download.lock", "dataset.root"):
                    for part in self.parts if self._look(root)[1] else ():
                        self._torchvision()(root=str(root), **part, download=True)
            except CannotWriteError:
                raise
            except (OSError, RuntimeError) as error:
                why = f"{self.name} could not be fetched ({error})"
                raise ConfigError("download", True, why, f"Get the files from {self.source}.", self) from error
            folder, missing = self._look(root)
        if missing:
            raise ConfigError("root", self.root, f"{folder} has no {', '.join(missing)}", fix, self)
        return [path for names in self.files if (path := _first(folder, names)) is not None]

    def _look(self, root: Path) -> tuple[Path, list[str]]:
        """The folder that has the files, and what it lacks."""
        folders = [root / folder for folder in self.folders]
        folder = next((one for one in folders if _first(one, self.files[0])), root)
        return folder, [names[0] for names in self.files if _first(folder, names) is None]


def _idx_names(part: str, content: str) -> tuple[str, ...]:
    """The names under which one of MNIST's files is found: a hyphen or a point before `idx`, gzipped or not."""
    kind, number = content.split("-")
    return tuple(f"{part}-{kind}{mark}{number}-ubyte{end}" for mark in "-." for end in ("", ".gz"))


@component
class Mnist(PublishedDataset):
    """MNIST's handwritten digits (60,000 and 10,000, 28x28), brought to 32x32 by a border of zeros.

    Reference:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """

    name = "mnist"
    source = "torchvision.datasets.MNIST(root, download=True), or any mirror of the four idx files"
    reader = "MNIST"
    folders = ("MNIST/raw", ".")
    files = tuple(_idx_names(part, content) for part in ("train", "t10k") for content in ("images-idx3", "labels-idx1"))
    normalisation: Normalisation | None = field(default_factory=lambda: {"mean": (0.1307,) * 3, "std": (0.3081,) * 3})

    def _parse(self, files: list[Path]) -> Content:
        pixels, labels, test_pixels, test_labels = (read_idx(path) for path in files)
        return DIGITS, _grey(pixels, labels, files[0]), _grey(test_pixels, test_labels, files[2])


@component
class Svhn(PublishedDataset):
    """Street View House Numbers, cropped digits (73,257 and 26,032, 32x32).

    Reference:
        Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
    """

    name = "svhn"
    source = "http://ufldl.stanford.edu/housenumbers (cropped digits, format 2)"
    reader = "SVHN"
    parts = ({"split": "train"}, {"split": "test"})
    folders = (".", "SVHN")
    files = (("train_32x32.mat",), ("test_32x32.mat",))

    def _checksums(self) -> Mapping[str, str]:
        split = self._torchvision().split_list
        return {split[part][1]: split[part][2] for part in ("train", "test")}

    def _parse(self, files: list[Path]) -> Content:
        both = [self._torchvision()(str(files[0].parent), **part) for part in self.parts]
        train, test = (ImageSet(torch.from_numpy(one.data).contiguous(), torch.from_numpy(one.labels)) for one in both)
        return DIGITS, train, test


@component
class Cifar10(PublishedDataset):
    """CIFAR-10 (50,000 and 10,000 photographs of 32x32 pixels), the Python version.

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name = "cifar10"
    source = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz (unpack it)"
    reader = "CIFAR10"
    folders = ("cifar-10-batches-py", ".")
    files = (*((f"data_batch_{k}",) for k in range(1, 6)), ("test_batch",), ("batches.meta",))
    normalisation: Normalisation | None = field(default_factory=CIFAR_STATISTICS.copy)

    def _checksums(self) -> Mapping[str, str]:
        kind = self._torchvision()
        return {**dict([*kind.train_list, *kind.test_list]), kind.meta["filename"]: kind.meta["md5"]}

    def _parse(self, files: list[Path]) -> Content:
        """Unpickle the batches, which are the published ones."""
        kind = type("Found", (self._torchvision(),), {"base_folder": ""})  # where the files are, not below
        train, test = (kind(str(files[0].parent), **part) for part in self.parts)
        return tuple(train.classes), _channels_first(train), _channels_first(test)


@component
class Cifar100(Cifar10):
    """CIFAR-100 (50,000 and 10,000 photographs of 32x32 pixels), its 100 fine classes, the Python version.

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name = "cifar100"
    source = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz (unpack it)"
    reader = "CIFAR100"
    folders = ("cifar-100-python", ".")
    files = (("train",), ("test",), ("meta",))


def read_idx(path: Path) -> Tensor:
    """Read an array in the idx format, gzipped or not.

    Raises:
        ValueError: if the file is of another format, or cut off.
        CannotWriteError: if the disk of temporary files is full.
    """
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    try:
        content = path.read_bytes()
        with tempfile.NamedTemporaryFile() as plain:  # torchvision reads files only, and unpacked ones
            plain.write(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)
            plain.flush()
            return read_sn3_pascalvincent_tensor(plain.name)
    except Exception as error:  # a damaged file raises nearly anything
        if isinstance(error, OSError) and error.errno in FULL:
            raise refused(error, Path(tempfile.gettempdir()), "TMPDIR") from error
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ValueError(f"{path} is cut off, damaged, or no idx file ({reason})") from error


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
    fits = pixels.dtype == labels.dtype == torch.uint8 and pixels.ndim == 3 and labels.shape == pixels.shape[:1]
    if not fits or max(pixels.shape[1:]) > 32:
        raise ValueError(f"{path} holds {tuple(pixels.shape)}, and there are {tuple(labels.shape)} labels")
    return ImageSet(padded(pixels, 32), labels.long())


def _channels_first(read: Any) -> ImageSet:  # noqa: ANN401 - a dataset of torchvision
    return ImageSet(torch.from_numpy(read.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(read.targets))


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _triple(values: Sequence[float]) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
