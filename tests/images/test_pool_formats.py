import os
import pickle

import numpy as np
import pytest
import torch

from seekloop.images.pool_formats import read_cifar, read_idx, read_pickle, read_svhn
from tests.images.pool_files import cifar10_files, svhn_files, write_idx, write_pickle


@pytest.mark.parametrize("name", ["plain", "packed.gz"])
def test_idx_by_hand(tmp_path, name):
    """Axes are stored highest byte first: 0x0102 = 258 rows, not 513."""
    values = np.arange(258 * 2).reshape(258, 2) % 256
    write_idx(tmp_path / name, values)
    assert read_idx(tmp_path / name).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no idx file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "no idx file of bytes"),
        (b"\0\0\x08\x02\0\0\0\x02\0\0\0\x02\1\2\3", r"cut off: it states \[2, 2\] and holds 3"),
        (b"\0\0\x08\x02\0\0", "cut off"),
        (b"\x1f\x8bnot gzip", "damaged"),
    ],
)
def test_what_is_no_whole_idx_file_is_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_idx(tmp_path / "file")


def test_cifar_planes_rows_and_columns_stay_what_they_are(tmp_path):
    """Red names the image, green the row, blue the column: a transposed reader would swap the last two."""
    cifar10_files(tmp_path)
    images, labels = read_cifar(tmp_path / "data_batch_2", b"labels")
    assert labels.tolist() == [0, 1, 2, 1]
    assert images[2, :, 5, 7].tolist() == [6, 5, 7]


def test_arrays_pickled_by_an_old_numpy_are_read(tmp_path):
    content = pickle.dumps({b"data": np.arange(3, dtype=np.uint8)}, protocol=2)
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old").write_bytes(old)
    assert read_pickle(tmp_path / "old")[b"data"].tolist() == [0, 1, 2]


def test_svhn_puts_images_first_and_calls_ten_zero(tmp_path):
    svhn_files(tmp_path)
    images, labels = read_svhn(tmp_path / "train_32x32.mat")
    assert labels.tolist() == [1, 0, 9]
    assert images[2, :, 5, 7].tolist() == [2, 5, 7]


class Command:
    def __reduce__(self):
        return os.getenv, ("HOME",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    (tmp_path / "bad").write_bytes(pickle.dumps({b"data": Command()}))
    with pytest.raises(
        ValueError,
        match=r"damaged: .*UnpicklingError: it holds os\.getenv, which is no plain data",
    ):
        read_pickle(tmp_path / "bad")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds a list"),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "has no labels"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, r"\(2, 3072\) values and 1 labels"),
        ({b"data": np.zeros((2, 784), np.uint8), b"labels": [1, 1]}, r"\(2, 784\)"),
    ],
)
def test_other_pickles_are_refused(tmp_path, content, message):
    write_pickle(tmp_path / "batch", content)
    with pytest.raises(ValueError, match=message):
        read_cifar(tmp_path / "batch", b"labels")


def test_other_mat_files_are_refused(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(ValueError, match="damaged"):
        read_svhn(tmp_path / "x.mat")
    from scipy.io import savemat

    savemat(tmp_path / "y.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8)})
    with pytest.raises(ValueError, match="no X and y"):
        read_svhn(tmp_path / "y.mat")
    savemat(tmp_path / "z.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1))})
    with pytest.raises(ValueError, match="and 3 labels"):
        read_svhn(tmp_path / "z.mat")


def test_what_was_read_may_be_written_to(tmp_path):
    write_idx(tmp_path / "file", np.zeros((1, 2)))
    assert torch.equal(read_idx(tmp_path / "file").add_(1), torch.ones(1, 2, dtype=torch.uint8))
