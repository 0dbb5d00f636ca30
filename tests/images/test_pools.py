from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from seekloop.commands.configs import load_entry
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Pool, PoolSource
from seekloop.images.pools import channel_statistics, enlarged, padded
from tests.images.pool_files import cifar10_files, cifar100_files, mnist_files, svhn_files

CONF = Path(__file__).parents[2] / "conf" / "dataset"
WRITERS = {"mnist": mnist_files, "svhn": svhn_files, "cifar10": cifar10_files, "cifar100": cifar100_files}


def source(name, **keys):
    return instantiate(OmegaConf.merge(load_entry(CONF / f"{name}.yaml"), keys))


@pytest.mark.parametrize("name", WRITERS)
def test_every_published_pool_is_read_with_its_settings(tmp_path, name):
    WRITERS[name](tmp_path)
    found = source(name, root=str(tmp_path))
    pool = found.load()
    assert isinstance(found, PoolSource)
    assert isinstance(pool, Pool)
    assert pool.name == found.name == name
    assert pool.train.images.shape[1:] == pool.test.images.shape[1:] == (3, 32, 32)
    assert int(pool.train.labels.max()) < len(pool.classes)
    assert pool.shift == 4


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_file_is_named_with_its_place_and_remedy(tmp_path, name):
    WRITERS[name](tmp_path)
    lost = sorted(tmp_path.iterdir())[-1]
    lost.unlink()
    with pytest.raises(ConfigError, match=rf"pool.root=.*{tmp_path}.* has no {lost.name}.* Get the files from .*"):
        source(name, root=str(tmp_path)).load()
    with pytest.raises(ConfigError, match=r"pool.root=None .*published files.*pool.root=<folder>"):
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
def test_a_damaged_file_is_named(tmp_path, name, file):
    WRITERS[name](tmp_path)
    (tmp_path / file).write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=rf"pool.root=.*{file}.*Fetch it again from"):
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


def test_cifar10_joins_its_five_batches_in_order(tmp_path):
    cifar10_files(tmp_path / "cifar-10-batches-py")
    pool = source("cifar10", root=str(tmp_path)).load()
    assert pool.classes == ("plane", "car", "bird")
    assert pool.train.images[:, 0, 0, 0].tolist() == list(range(20))
    assert pool.test.images[:, 0, 0, 0].tolist() == [20, 21, 22, 23]
    assert pool.mean == (0.4914, 0.4822, 0.4465)


def test_cifar100_has_its_fine_labels(tmp_path):
    cifar100_files(tmp_path)
    pool = source("cifar100", root=str(tmp_path)).load()
    assert pool.classes == ("apple", "bear", "bee")
    assert pool.train.labels.tolist() == [2, 0, 1]


def test_labels_without_a_name_are_refused(tmp_path):
    from tests.images.pool_files import write_pickle

    cifar10_files(tmp_path)
    write_pickle(tmp_path / "batches.meta", {b"label_names": [b"plane"]})
    with pytest.raises(ConfigError, match="labels up to 2, and 1 classes have a name"):
        source("cifar10", root=str(tmp_path)).load()


def test_svhn_computes_its_statistics(tmp_path):
    """Green counts 0 to 31 in every picture: mean 15.5, variance (32^2 - 1) / 12."""
    svhn_files(tmp_path)
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
        ({"images": 2000}, r"pool.images=2000 .*1258 training images"),
        ({"images": 0}, r"pool.images=0 "),
        ({"test_images": 540}, r"pool.test_images=540 .*539 test images"),
        ({"shift": 32}, r"pool.shift=32 .*32 pixels"),
        ({"test": 1.0}, r"pool.test=1.0 "),
        ({"normalisation": {"mean": [0.5], "std": [1, 1, 1]}}, r"pool.normalisation=.*three means"),
    ],
)
def test_settings_that_cannot_work_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        source("digits", **keys).load()
