"""Any set of images sorted into folders, one per class."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.learning import ImageSet
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.images.decoding import read_rgb
from seekloop.images.files import content_hashes
from seekloop.images.pools import Content, ReadPool
from seekloop.images.stratified import divided
from seekloop.images.walk import find_images

PARTS = ("train", "test")
SHOWN = 3  # damaged files named in an error
WORKERS = 4  # decoding threads


@dataclass(frozen=True)
class ClassFolders(ReadPool):
    """One folder per class: below `train` and `test`, or directly below the root, then divided by a seed.

    Images are brought to a square: shrunk or enlarged until the shorter side fits, then cut in the middle.

    Args:
        images: as in `ReadPool`.
        test_images: as in `ReadPool`.
        seed: as in `ReadPool`.
        normalisation: as in `ReadPool`.
        shift: as in `ReadPool`.
        flips: as in `ReadPool`.
        root: the folder.
        size: side of the images, in pixels.
        test: share held out, stratified, where there are no folders `train` and `test`.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: on loading, if there are no two classes, a class of one part is missing in the other, or a file
            cannot be decoded.
    """

    name = "folder"
    root: str | None = field(metadata=NOT_IN_RECIPE)
    size: int
    test: float
    cache: str | None = field(metadata=NOT_IN_RECIPE)

    def _read(self) -> Content:
        root = self._folder()
        if self.size < 1:
            raise ConfigError("pool.size", self.size, "images need at least a pixel", "Usual: 32.")
        if divided_on_disk(root):
            classes = self._classes(root / PARTS[0])
            train, test = (self._decoded(root / part, classes) for part in PARTS)
            return classes, train, test
        classes = self._classes(root)
        together = self._decoded(root, classes)
        if not 0 < self.test < 1:
            raise ConfigError("pool.test", self.test, "it is the share of the images held out", "Usual: 0.2.")
        kept, held = (
            ImageSet(together.images[rows], together.labels[rows])
            for rows in divided(together.labels, self.test, generator(self.seed, "pool", "test"))
        )
        return classes, kept, held

    def _contents(self) -> list[list[str]]:
        root = self._folder()
        found = find_images(root)
        real = [found.renamed.get(path, path) for path in found.paths]
        hashes = content_hashes(root, real, None if self.cache is None else Path(self.cache))
        return [[path, content] for path, (_, content) in zip(found.paths, hashes, strict=True)]

    def _left_out(self) -> list[Problem]:
        root = self._folder()
        found = find_images(root)
        parts = [f"{part}/" for part in PARTS] if divided_on_disk(root) else [""]
        beside = [
            path
            for path in found.paths
            if not any(path.startswith(part) and "/" in path.removeprefix(part) for part in parts)
        ]
        if not beside:
            return list(found.problems)
        why = f"{many(len(beside), 'picture lies', 'pictures lie')} outside the folders of the classes: not taken"
        return [*found.problems, Problem(beside[0], why, ProblemKind.FILE, len(beside))]

    def _folder(self) -> Path:
        fix = "Give a folder with one folder of images per class, or with such folders below train and test."
        if self.root is None:
            raise ConfigError("pool.root", None, "a class-per-folder pool needs a folder", fix)
        root = Path(self.root).expanduser().absolute()
        if not root.is_dir():
            raise ConfigError("pool.root", self.root, "there is no such folder", fix)
        return root

    def _classes(self, folder: Path) -> tuple[str, ...]:
        names = sorted({path.partition("/")[0] for path in find_images(folder).paths if "/" in path})
        if len(names) < 2:
            why = f"{folder} has {len(names)} folders with images"
            raise ConfigError("pool.root", self.root, why, "Put the images of each class into a folder of its own.")
        return tuple(names)

    def _decoded(self, folder: Path, classes: Sequence[str]) -> ImageSet:
        found = find_images(folder)
        paths = [path for path in found.paths if "/" in path]
        names = [path.partition("/")[0] for path in paths]
        if wrong := sorted(set(names) - set(classes)):
            why = f"{folder} has the classes {', '.join(wrong)}, and train has not"
            raise ConfigError("pool.root", self.root, why, "Use the same folders in train and test.")
        if absent := sorted(set(classes) - set(Counter(names))):
            why = f"{folder} has no images of {', '.join(absent)}"
            raise ConfigError("pool.root", self.root, why, "Use the same folders in train and test.")
        number = {name: label for label, name in enumerate(classes)}
        images = self._squares([found.file(path) for path in paths])
        return ImageSet(images, torch.tensor([number[name] for name in names]))

    def _squares(self, paths: Sequence[Path]) -> UInt8[Tensor, "n 3 s s"]:
        def read(path: Path) -> Tensor | str:
            try:
                return squared(read_rgb(path), self.size)
            except UnreadableImageError as error:
                return str(error)

        with ThreadPoolExecutor(max_workers=WORKERS) as threads:
            found = list(threads.map(read, paths))
        if damaged := [one for one in found if isinstance(one, str)]:
            why = f"{len(damaged)} images cannot be decoded: {'; '.join(damaged[:SHOWN])}"
            raise ConfigError("pool.root", self.root, why, "Repair them, or take them out of the folder.")
        return torch.stack([one for one in found if isinstance(one, Tensor)])


def divided_on_disk(root: Path) -> bool:
    """Whether the folder holds a part to train on and a part to test on."""
    return all((root / part).is_dir() for part in PARTS)


def squared(image: Image.Image, size: int) -> UInt8[Tensor, "3 {size} {size}"]:
    """The largest square in the middle of an RGB picture, resampled bicubically."""
    fitted = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous()
