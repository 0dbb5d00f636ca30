"""The file formats in which classification pools are published: idx, CIFAR's pickles, SVHN's .mat."""

import gzip
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from scipy.io.matlab import loadmat
from torch import Tensor

from seekloop.images.plain_pickle import read_plain

Labelled = tuple[UInt8[Tensor, "n 3 h w"], Int[Tensor, " n"]]

IDX_BYTE = 0x08  # the type of MNIST's values: unsigned bytes


def read_idx(path: Path) -> UInt8[Tensor, "..."]:
    """An array of bytes in the idx format, gzipped or not.

    Two zero bytes, the type, the number of axes, each axis' length as four bytes (the highest first), the values.

    Raises:
        ValueError: if the file is of another format, or cut off.
    """
    content = path.read_bytes()
    try:
        data = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if len(data) < 4 or data[:3] != bytes((0, 0, IDX_BYTE)):
        raise ValueError(f"{path} is no idx file of bytes")
    start = 4 + 4 * data[3]
    shape = [int.from_bytes(data[place : place + 4], "big") for place in range(4, start, 4)]
    if len(data) - start != math.prod(shape):
        raise ValueError(f"{path} is cut off: it states {shape} and holds {len(data) - start} values")
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape).copy())


def read_pickle(path: Path) -> Mapping[bytes, Any]:
    """A pickled dictionary of arrays, lists and names, as CIFAR's are. Nothing in it is run.

    Raises:
        ValueError: if the file is damaged, or holds anything else.
    """
    try:
        content = read_plain(path, encoding="bytes")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dictionary")
    return content


def read_cifar(path: Path, labels: bytes) -> Labelled:
    """One batch of CIFAR: rows of 3,072 bytes, the red plane, then the green, then the blue, each row by row.

    Args:
        path: of the batch.
        labels: key of its labels: `labels`, `fine_labels` or `coarse_labels`.

    Raises:
        ValueError: if it is no such file.
    """
    content = read_pickle(path)
    missing = [key.decode() for key in (b"data", labels) if key not in content]
    if missing:
        raise ValueError(f"{path} has no {' and no '.join(missing)}")
    rows = np.asarray(content[b"data"], dtype=np.uint8)
    if rows.ndim != 2 or rows.shape[1] != 3 * 32 * 32 or len(rows) != len(content[labels]):
        raise ValueError(f"{path} holds {rows.shape} values and {len(content[labels])} labels")
    return torch.from_numpy(rows.reshape(-1, 3, 32, 32).copy()), torch.tensor(list(content[labels]), dtype=torch.long)


def read_svhn(path: Path) -> Labelled:
    """SVHN's cropped digits: `X` (32, 32, 3, n) and `y` (n, 1), where 10 stands for the digit 0.

    Raises:
        ValueError: if it is no such file.
    """
    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # a damaged file can raise nearly anything
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if "X" not in content or "y" not in content:
        raise ValueError(f"{path} has no X and y: is it the set of cropped digits?")
    pixels, labels = content["X"], content["y"].reshape(-1).astype(np.int64)
    if pixels.ndim != 4 or pixels.shape[2:] != (3, len(labels)):
        raise ValueError(f"{path} holds X of {pixels.shape} and {len(labels)} labels")
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1), dtype=np.uint8)
    return torch.from_numpy(images), torch.from_numpy(labels % 10)
