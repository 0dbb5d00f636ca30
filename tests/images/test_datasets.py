import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hydra.utils import get_class

from seekloop.artifacts.files import CannotWriteError
from seekloop.commands.configs import load_entry
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Dataset, DatasetSource
from seekloop.images.datasets import channel_statistics, enlarged, padded, read_idx
from tests.images.dataset_files import (
    cifar10_files,
    cifar100_files,
    mnist_files,
    svhn_files,
    take_as_published,
    write_idx,
    write_pickle,
)

CONF = Path(__file__).parents[2] / "conf" / "dataset"
WRITERS = {"mnist": mnist_files, "svhn": svhn_files, "cifar10": cifar10_files, "cifar100": cifar100_files}


def source(name, **keys):
    keys = {**load_entry(CONF / f"{name}.yaml"), **keys}
    return get_class(keys.pop("_target_"))(**keys)


@pytest.fixture
def publish(monkeypatch):
    """Write a dataset's tiny files; they then count as the published ones."""

    def write(name, folder):
        WRITERS[name](folder)
        take_as_published(monkeypatch, name, folder)

    return write


@pytest.mark.parametrize("name", WRITERS)
def test_every_published_dataset_is_read_with_its_settings(tmp_path, name, publish):
    publish(name, tmp_path)
    found = source(name, root=tmp_path)
    pool = found.load()
    assert isinstance(found, DatasetSource)
    assert isinstance(pool, Dataset)
    assert pool.name == found.name == name
    assert pool.train.images.shape[1:] == pool.test.images.shape[1:] == (3, 32, 32)
    assert int(pool.train.labels.max()) < len(pool.classes)
    assert pool.shift == 4


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_file_is_named_with_its_place_and_remedy(tmp_path, name):
    WRITERS[name](tmp_path)
    lost = sorted(tmp_path.iterdir())[-1]
    lost.unlink()
    with pytest.raises(ConfigError, match=rf"root=.*{tmp_path}.* has no {lost.name}.* Get the files from .*"):
        source(name, root=str(tmp_path)).load()
    with pytest.raises(ConfigError, match=r"root=None .*published files.*root=<folder>, or set download=true"):
        source(name).load()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "train-images-idx3-ubyte"),
        ("svhn", "train_32x32.mat"),
        ("cifar10", "batches.meta"),
        ("cifar100", "meta"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, file, publish):
    publish(name, tmp_path)
    (tmp_path / file).write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=rf"root=.*{file}.*Fetch it again from"):
        source(name, root=str(tmp_path)).load()


def test_mnist_is_found_under_all_its_usual_names(tmp_path):
    mnist_files(tmp_path / "a", "{part}-{kind}-{number}-ubyte.gz")
    mnist_files(tmp_path / "b", "{part}-{kind}.{number}-ubyte")
    mnist_files(tmp_path / "c" / "MNIST" / "raw")
    pools = [source("mnist", root=str(tmp_path / folder)).load() for folder in "abc"]
    for pool in pools:
        assert pool.train.images.equal(pools[0].train.images)
        assert pool.train.images[7, :, 2, 2].tolist() == [7, 7, 7]  # its corner, behind two rows and columns of zeros
    assert pools[0].mean == (0.1307,) * 3


def test_cifar10_joins_its_five_batches_in_order(tmp_path, publish):
    publish("cifar10", tmp_path / "cifar-10-batches-py")
    pool = source("cifar10", root=str(tmp_path)).load()
    assert pool.classes == ("plane", "car", "bird")
    assert pool.train.images[:, 0, 0, 0].tolist() == list(range(20))
    assert pool.test.images[:, 0, 0, 0].tolist() == [20, 21, 22, 23]
    assert pool.mean == (0.4914, 0.4822, 0.4465)


def test_cifar_planes_rows_and_columns_stay_what_they_are(tmp_path, publish):
    """Red names the image, green the row, blue the column: a transposed reader would swap the last two."""
    publish("cifar10", tmp_path)
    dataset = source("cifar10", root=str(tmp_path)).load()
    assert dataset.train.labels[4:8].tolist() == [0, 1, 2, 1]
    assert dataset.train.images[6, :, 5, 7].tolist() == [6, 5, 7]


def test_cifar100_has_its_fine_labels(tmp_path, publish):
    publish("cifar100", tmp_path)
    pool = source("cifar100", root=str(tmp_path)).load()
    assert pool.classes == ("apple", "bear", "bee")
    assert pool.train.labels.tolist() == [2, 0, 1]


class Command:
    def __reduce__(self):
        return os.mkdir, ("this_was_run",)


@pytest.mark.parametrize("file", ["data_batch_3", "batches.meta"])
def test_nothing_is_unpickled_before_its_checksum_is_that_of_the_published_file(tmp_path, monkeypatch, publish, file):
    publish("cifar10", tmp_path)
    monkeypatch.chdir(tmp_path)
    write_pickle(tmp_path / file, {"data": Command()})
    with pytest.raises(
        ConfigError, match=rf"root=.*{file}: its MD5 is not that of the published cifar10.*Fetch it again"
    ):
        source("cifar10", root=str(tmp_path)).load()
    assert not (tmp_path / "this_was_run").exists()


def test_svhn_puts_images_first_and_calls_ten_zero(tmp_path, publish):
    publish("svhn", tmp_path)
    dataset = source("svhn", root=str(tmp_path)).load()
    assert dataset.train.labels.tolist() == [1, 0, 9]
    assert dataset.train.images[2, :, 5, 7].tolist() == [2, 5, 7]


@pytest.mark.parametrize("name", ["plain", "packed.gz"])
def test_idx_by_hand(tmp_path, name):
    """Axes are stored highest byte first: 0x0102 = 258 rows, not 513. What was read may be written to."""
    values = np.arange(258 * 2).reshape(258, 2) % 256
    write_idx(tmp_path / name, values)
    assert read_idx(tmp_path / name).tolist() == values.tolist()
    assert int(read_idx(tmp_path / name).add_(1)[0, 0]) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x0f\x01\0\0\0\x01\0\0\0\0",  # of no type
        b"\0\0\x08\x02\0\0\0\x02\0\0\0\x02\1\2\3",  # states 2 x 2 values, and holds 3
        b"\0\0\x08\x02\0\0",
        b"\x1f\x8bnot gzip",
    ],
)
def test_what_is_no_whole_idx_file_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"file is cut off, damaged, or no idx file \("):
        read_idx(tmp_path / "file")


def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    mnist_files(tmp_path)
    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(CannotWriteError, match=r"TMPDIR.*its disk has no space left"):
        source("mnist", root=tmp_path).load()


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((3, 28, 28)), np.zeros(2)),
        (np.zeros((3, 33, 28)), np.zeros(3)),
        (np.zeros(3), np.zeros(3)),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(tmp_path, images, labels):
    mnist_files(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels)
    with pytest.raises(ConfigError, match=r"train-images.* holds \(3.* and there are \(.* labels"):
        source("mnist", root=str(tmp_path)).load()


@pytest.mark.parametrize("name", WRITERS)
def test_files_are_fetched_when_that_is_asked_for_and_not_otherwise(tmp_path, monkeypatch, name):
    asked = []

    class Fetches:
        def __init__(self, root, download, **part):
            asked.append(part)
            WRITERS[name](Path(root))

    dataset = source(name, root=str(tmp_path / "new"))
    monkeypatch.setattr(torchvision.datasets, dataset.reader, Fetches)
    with pytest.raises(ConfigError, match="has no"):
        dataset.fingerprint()
    assert asked == []
    fetching = source(name, root=str(tmp_path / "new"), download=True)
    first = fetching.fingerprint()
    assert asked == list(dataset.parts)
    assert dataset.fingerprint() == fetching.fingerprint() == first
    assert asked == list(dataset.parts)


def test_a_failed_download_says_where_the_files_are(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)
    with pytest.raises(ConfigError, match=r"download=True .*\(no network\). Get the files from torchvision"):
        source("mnist", root=str(tmp_path), download=True).load()


def test_svhn_computes_its_statistics(tmp_path, publish):
    """Green counts 0 to 31 in every picture: mean 15.5, variance (32^2 - 1) / 12."""
    publish("svhn", tmp_path)
    pool = source("svhn", root=str(tmp_path)).load()
    assert pool.mean[1] == pytest.approx(15.5 / 255)
    assert pool.std[1] == pytest.approx((1023 / 12) ** 0.5 / 255)


def test_statistics_are_those_of_all_pixels():
    images = torch.randint(0, 256, (7, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = channel_statistics(images)
    values = images.double() / 255
    assert mean == pytest.approx(values.mean(dim=(0, 2, 3)).tolist())
    assert std == pytest.approx(values.std(dim=(0, 2, 3), correction=0).tolist())
    assert channel_statistics(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))[1] == (1.0, 1.0, 1.0)


def test_the_built_in_pool_is_stratified_and_needs_nothing():
    pool = source("digits").load()
    assert (len(pool.train), len(pool.test)) == (1258, 539)
    assert pool.train.images.shape == (1258, 3, 32, 32)
    for part in (pool.train, pool.test):
        counts = torch.bincount(part.labels)
        assert int(counts.max() - counts.min()) <= 0.07 * len(part)
    assert not pool.flips


def test_a_part_of_the_pool_is_balanced_repeatable_and_leaves_the_test_alone():
    whole, part, again, other = (
        source("digits", **keys).load() for keys in ({}, {"images": 100}, {"images": 100}, {"images": 100, "seed": 1})
    )
    assert len(part.train) == 100
    assert torch.bincount(part.train.labels).tolist() == [10] * 10
    assert part.train.images.equal(again.train.images)
    assert not part.train.images.equal(other.train.images)
    assert part.test.images.equal(whole.test.images)


def test_a_part_of_the_test_images_is_balanced_and_leaves_the_training_images_alone():
    whole, part = source("digits").load(), source("digits", test_images=100).load()
    assert torch.bincount(part.test.labels).tolist() == [10] * 10
    assert part.train.images.equal(whole.train.images)
    held = {image.numpy().tobytes() for image in whole.test.images}
    assert all(image.numpy().tobytes() in held for image in part.test.images)


def test_the_fingerprint_knows_contents_and_settings_but_not_places(tmp_path):
    for folder in "ab":
        mnist_files(tmp_path / folder)
    mnist_files(tmp_path / "c", train=30)
    first, same, other = (source("mnist", root=str(tmp_path / folder)).fingerprint() for folder in "abc")
    assert first == same != other
    assert source("mnist", root=str(tmp_path / "a"), images=10).fingerprint() != first
    assert source("digits").fingerprint() == source("digits").fingerprint() != source("digits", test=0.5).fingerprint()


def test_pictures_are_padded_and_enlarged_by_hand():
    """A single white pixel in 8x8, bilinearly four times as large, keeps its place: around row 4 * 2 + 1.5."""
    grey = torch.zeros(1, 8, 8, dtype=torch.uint8)
    grey[0, 2, 5] = 160
    large = enlarged(grey)[0, 0].float()
    centre = (large.sum(dim=1) * torch.arange(32)).sum() / large.sum()
    assert float(centre) == pytest.approx(9.5)
    assert int(large.max()) == round(160 * 0.875**2)  # the nearest pixel's centre is an eighth off along both axes
    square = padded(torch.ones(1, 28, 27, dtype=torch.uint8), 32)[0, 0]
    assert square.nonzero().amin(dim=0).tolist() == [2, 2]
    assert square.nonzero().amax(dim=0).tolist() == [29, 28]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"images": 2000}, r"images=2000 .*1258 training images"),
        ({"images": 0}, r"images=0 "),
        ({"test_images": 540}, r"test_images=540 .*539 test images"),
        ({"shift": 32}, r"shift=32 .*32 pixels"),
        ({"test": 1.0}, r"test=1.0 "),
        ({"normalisation": {"mean": [0.5], "std": [1, 1, 1]}}, r"normalisation=.*three means"),
    ],
)
def test_settings_that_cannot_work_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        source("digits", **keys).load()
