"""Photographs as square pictures in memory, and which of them training never sees."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 256  # height and width in memory: twice what the network sees of a whole picture


def is_held_out(name: str) -> bool:
    """Whether a photograph is kept for evaluation: about one in four, by its file name alone."""
    return hashlib.sha256(name.encode()).digest()[0] % 4 == 0


def training_files(folders: Sequence[Path]) -> list[Path]:
    """The JPEG files below the folders, sorted by name, without the held-out ones.

    Raises:
        FileNotFoundError: if there are none.
    """
    found = sorted((path for folder in folders for path in folder.rglob("*.jpg")), key=lambda path: path.name)
    files = [path for path in found if not is_held_out(path.name)]
    if not files:
        raise FileNotFoundError(f"no *.jpg below {', '.join(map(str, folders))}; give other --photographs")
    return files


def read_square(path: Path, side: int) -> Tensor:
    """One picture squashed to a square: uint8, (3, side, side)."""
    with Image.open(path) as image:
        squashed = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(squashed).copy()).permute(2, 0, 1)


def read_squares(files: Sequence[Path], side: int) -> Tensor:
    """Many pictures squashed to squares: uint8, (n, 3, side, side)."""
    return torch.stack([read_square(path, side) for path in files])
