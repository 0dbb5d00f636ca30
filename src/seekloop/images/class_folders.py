"""Any set of images sorted into folders, one per class."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.learning import ImageSet
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.images.datasets import Content, HeldOut, ReadDataset
from seekloop.images.decoding import read_rgb
from seekloop.images.files import content_hashes
from seekloop.images.stratified import divided
from seekloop.images.walk import find_images

PARTS = ("train", "test")
SHOWN = 3  # damaged files named in an error
WORKERS = 4  # decoding threads


@component
class ClassFolders(ReadDataset):
    """One folder per class: below `train` and `test`, or directly below the root, then divided by a seed.

    Images are brought to a square: shrunk or enlarged until the shorter side fits, then cut in the middle.

    Args:
        images, test_images, seed, normalisation, shift, flips: as in `ReadDataset`.
        root: the folder.
        size: side of the images, in pixels.
        test: share held out, stratified, where there are no folders `train` and `test`.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: on loading, if there are no two classes, a class of one part is missing in the other, or a file
            cannot be decoded.
    """

    name = "folder"
    root: Path | str | None = field(default=None, metadata=NOT_IN_RECIPE)
    size: Count = 32
    test: HeldOut = 0.2
    cache: Path | str | None = field(default=None, metadata=NOT_IN_RECIPE)

    def _read(self) -> Content:
        root = self._folder()
        parts = self._parts()
        labelled = [self._labelled(root / part) for part in parts]
        classes = tuple(sorted({name for _, name in labelled[0]}))
        if len(classes) < 2:
            why = f"{root / parts[0]} has {len(classes)} folders with images"
            raise self._refused(why, "Put the images of each class into a folder of its own.")
        if len(parts) == 2:
            there = {name for _, name in labelled[1]}
            if wrong := sorted(there.difference(classes)):
                why = f"{root / parts[1]} has the classes {', '.join(wrong)}, and train has not"
                raise self._refused(why, "Use the same folders in train and test.")
            if absent := sorted(set(classes) - there):
                why = f"{root / parts[1]} has no images of {', '.join(absent)}"
                raise self._refused(why, "Use the same folders in train and test.")
        number = {name: label for label, name in enumerate(classes)}
        sets = [
            ImageSet(self._squares([file for file, _ in part]), torch.tensor([number[name] for _, name in part]))
            for part in labelled
        ]
        if len(sets) == 1:
            together = sets[0]
            divided_rows = divided(together.labels, self.test, generator(self.seed, "pool", "test"))
            sets = [ImageSet(together.images[rows], together.labels[rows]) for rows in divided_rows]
        return classes, sets[0], sets[1]

    def _contents(self) -> list[list[str]]:
        root = self._folder()
        images = find_images(root)
        hashes = content_hashes(root, images.real, self.cache)
        return [[path, content] for path, (_, content) in zip(images.paths, hashes, strict=True)]

    def _left_out(self) -> list[Problem]:
        images = find_images(self._folder())
        parts = [f"{part}/" if part else "" for part in self._parts()]
        beside = [
            path
            for path in images.paths
            if not any(path.startswith(part) and "/" in path.removeprefix(part) for part in parts)
        ]
        if not beside:
            return list(images.problems)
        why = f"{many(len(beside), 'picture lies', 'pictures lie')} outside the folders of the classes: not taken"
        return [*images.problems, Problem(beside[0], why, ProblemKind.FILE, len(beside))]

    def _folder(self) -> Path:
        fix = "Give a folder with one folder of images per class, or with such folders below train and test."
        if self.root is None:
            raise self._refused("a class-per-folder dataset needs a folder", fix)
        root = Path(self.root).expanduser().absolute()
        if not root.is_dir():
            raise self._refused("there is no such folder", fix)
        return root

    def _parts(self) -> Sequence[str]:
        """Folders that hold the folders of classes: one to train on and one to test on, or the root."""
        return PARTS if all((self._folder() / part).is_dir() for part in PARTS) else ("",)

    def _labelled(self, folder: Path) -> list[tuple[Path, str]]:
        """Every picture below the folder of a class, and that class."""
        images = find_images(folder)
        both = zip(images.paths, images.real, strict=True)
        return [(folder / real, path.partition("/")[0]) for path, real in both if "/" in path]

    def _squares(self, paths: Sequence[Path]) -> UInt8[Tensor, "n 3 s s"]:
        def read(path: Path) -> Tensor | str:
            try:
                return squared(read_rgb(path), self.size)
            except UnreadableImageError as error:
                return str(error)

        with ThreadPoolExecutor(max_workers=WORKERS) as threads:
            pictures = list(threads.map(read, paths))
        if damaged := [one for one in pictures if isinstance(one, str)]:
            why = f"{len(damaged)} images cannot be decoded: {'; '.join(damaged[:SHOWN])}"
            raise self._refused(why, "Repair them, or take them out of the folder.")
        return torch.stack([one for one in pictures if isinstance(one, Tensor)])

    def _refused(self, why: str, fix: str) -> ConfigError:
        return ConfigError("root", self.root, why, fix, self)


def squared(image: Image.Image, size: int) -> UInt8[Tensor, "3 {size} {size}"]:
    """Cut the largest square from the middle of an RGB picture, resampled bicubically."""
    fitted = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous()
