"""Tiny files in the layouts in which datasets are published."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
from scipy.io import savemat
from torchvision import datasets


def write_idx(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    content = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def mnist_files(folder, name="{part}-{kind}-{number}-ubyte", train=20, test=10):
    """Image i of the training set has a corner of value i; labels count 0 to 9 again and again."""
    for part, count in (("train", train), ("t10k", test)):
        pixels = np.zeros((count, 28, 28), np.uint8)
        pixels[:, 0, 0] = np.arange(count)
        write_idx(folder / name.format(part=part, kind="images", number="idx3"), pixels)
        write_idx(folder / name.format(part=part, kind="labels", number="idx1"), np.arange(count) % 10)


def write_pickle(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def cifar_rows(count, first=0):
    """Row i: red is i everywhere, green counts the rows of the picture, blue its columns."""
    red = np.broadcast_to(np.arange(first, first + count)[:, None, None], (count, 32, 32))
    green = np.broadcast_to(np.arange(32)[None, :, None], (count, 32, 32))
    blue = np.broadcast_to(np.arange(32)[None, None, :], (count, 32, 32))
    return np.stack([red, green, blue], axis=1).reshape(count, -1).astype(np.uint8)


def cifar10_files(folder):
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    for number, name in enumerate(names):
        content = {"data": cifar_rows(4, first=4 * number), "labels": [0, 1, 2, 1], "batch_label": "x"}
        write_pickle(folder / name, content)
    write_pickle(folder / "batches.meta", {"label_names": ["plane", "car", "bird"]})


def cifar100_files(folder):
    for name in ("train", "test"):
        labels = {"fine_labels": [2, 0, 1], "coarse_labels": [0, 0, 0]}
        write_pickle(folder / name, {"data": cifar_rows(3), **labels})
    write_pickle(folder / "meta", {"fine_label_names": ["apple", "bear", "bee"], "coarse_label_names": ["all"]})


def svhn_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        images = cifar_rows(3).reshape(3, 3, 32, 32).transpose(2, 3, 1, 0)
        savemat(folder / f"{name}_32x32.mat", {"X": images, "y": np.array([[1], [10], [9]])})


def take_as_published(monkeypatch, name, folder):
    """Have torchvision take these files for the published ones: their checksums are replaced."""

    def md5(file):
        return hashlib.md5((folder / file).read_bytes(), usedforsecurity=False).hexdigest()

    if name == "svhn":
        split = {
            part: [url, file, md5(file)] for part, (url, file, _) in datasets.SVHN.split_list.items() if part != "extra"
        }
        monkeypatch.setattr(datasets.SVHN, "split_list", split)
    elif name != "mnist":
        kind = getattr(datasets, name.upper())
        for files in ("train_list", "test_list"):
            monkeypatch.setattr(kind, files, [[file, md5(file)] for file, _ in getattr(kind, files)])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(kind.meta["filename"])})
