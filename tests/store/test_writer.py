import errno
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.artifacts import files
from seekloop.artifacts.files import CannotWriteError
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.store import open_store, shards
from seekloop.store.manifest import folder_name, read_manifest
from seekloop.store.shards import discard, verify
from seekloop.store.writer import StoreWriter, finish
from tests.store.stores import complete, manifest, paths, write

WHOLE, LOCAL = torch.arange(10.0).reshape(5, 2), torch.arange(40.0).reshape(20, 2)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@settings(deadline=None, max_examples=40)
@given(batch=st.integers(1, 3))
def test_bytes_do_not_depend_on_how_rows_arrive(tmp_path_factory, batch):
    base = tmp_path_factory.mktemp("bytes")
    complete(base / "one", manifest(shard=3), WHOLE, LOCAL)
    complete(base / "many", manifest(shard=3), WHOLE, LOCAL, batch=batch)
    assert contents(base / "one") == contents(base / "many")


def test_shards_may_be_written_in_any_order_and_later(tmp_path):
    complete(tmp_path / "straight", manifest(), WHOLE, LOCAL, unreadable=(4,))
    write(tmp_path / "pieces", manifest(), WHOLE, LOCAL, shards=[2], unreadable=(4,))
    described = read_manifest(tmp_path / "pieces")
    assert shards.missing(tmp_path / "pieces", described) == [0, 1]
    with pytest.raises(StoreError, match="2 of 3 shards are missing"):
        finish(tmp_path / "pieces", described, paths(5))
    complete(tmp_path / "pieces", manifest(), WHOLE, LOCAL, shards=[1, 0])
    assert contents(tmp_path / "pieces") == contents(tmp_path / "straight")


def test_an_unfinished_store_keeps_its_shard_size(tmp_path):
    write(tmp_path, manifest(shard=2), WHOLE, LOCAL, shards=[0])
    assert write(tmp_path, manifest(shard=4), WHOLE, LOCAL, shards=[1]).shard == 2
    with pytest.raises(StoreError, match="something else than was asked for"):
        write(tmp_path, manifest(content={"who": "else"}), WHOLE, LOCAL, shards=[1])


def test_what_an_interrupted_writer_left_is_removed(tmp_path):
    (tmp_path / "whole-00000.npy.77.part").write_bytes(b"half")
    complete(tmp_path, manifest(), WHOLE, LOCAL)
    assert not list(tmp_path.glob("*.[tp]*"))


@pytest.mark.parametrize(("value", "name"), [(float("nan"), "image 3.jpg"), (float("inf"), "image 3.jpg")])
@pytest.mark.parametrize("where", ["whole", "local"])
def test_values_that_are_not_finite_name_the_image_and_spare_the_rest(tmp_path, value, name, where):
    whole, local = WHOLE.clone(), LOCAL.clone()
    if where == "whole":
        whole[3, 1] = value
    else:
        local[14, 0] = value  # four regions an image: rows 12 to 15 are image 3's
    with pytest.raises(StoreError, match=rf"not finite for {name}\."):
        write(tmp_path, manifest(), whole, local)
    assert shards.missing(tmp_path, read_manifest(tmp_path)) == [1, 2]
    complete(tmp_path, manifest(), WHOLE, LOCAL, shards=[1, 2])
    assert not verify(tmp_path)


def test_an_unreadable_image_may_hold_anything(tmp_path):
    whole = WHOLE.clone()
    whole[3] = float("nan")
    assert complete(tmp_path, manifest(), whole, LOCAL, unreadable=(3,)) == [("image 3.jpg", "broken")]
    assert read_manifest(tmp_path).failures == 1
    assert files.read_json(tmp_path / "failures.json") == [{"image": 3, "path": "image 3.jpg", "why": "broken"}]


def test_values_beyond_float16_ask_for_float32(tmp_path):
    """65504 is the largest float16; 65505 would round back to it, so the limit is on the value before rounding."""
    whole = WHOLE.clone()
    whole[1, 0] = 65504
    complete(tmp_path / "fits", manifest(dtype="float16"), whole, LOCAL)
    whole[1, 0] = 70000
    with pytest.raises(ConfigError, match=r"image 1\.jpg has values up to 7e\+04.*dtype=float32"):
        write(tmp_path / "over", manifest(dtype="float16"), whole, LOCAL)
    complete(tmp_path / "wide", manifest(dtype="float32"), whole, LOCAL)


def breaks(monkeypatch, word, number):
    """Let the disk refuse every file with this word in its name."""
    real = os.replace

    def refusing(draft, path):
        if word in Path(path).name:
            raise OSError(number, os.strerror(number))
        real(draft, path)

    monkeypatch.setattr(os, "replace", refusing)


def test_a_full_disk_keeps_what_is_there(tmp_path, monkeypatch):
    """Of shard 1 the first array is there, its record is not, so the shard does not count; its first batch is kept."""
    with monkeypatch.context() as patch:
        breaks(patch, "local-00001", errno.ENOSPC)
        with pytest.raises(CannotWriteError, match=r"no space left.*choose another store_dir; what was finished is"):
            write(tmp_path / "full", manifest(), WHOLE, LOCAL)
    assert not list((tmp_path / "full").glob("*.tmp"))
    assert shards.missing(tmp_path / "full", read_manifest(tmp_path / "full")) == [1, 2]
    assert shards.missing_images(tmp_path / "full", read_manifest(tmp_path / "full")) == 2
    complete(tmp_path / "full", manifest(), WHOLE, LOCAL, shards=[1, 2])
    complete(tmp_path / "roomy", manifest(), WHOLE, LOCAL)
    assert contents(tmp_path / "full") == contents(tmp_path / "roomy")


def test_a_shard_that_is_being_rewritten_does_not_count(tmp_path, monkeypatch):
    """The old record must go first: interrupted in the middle, it would vouch for a mixture."""
    complete(tmp_path, manifest(), WHOLE, LOCAL)
    breaks(monkeypatch, "local", errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write(tmp_path, manifest(), WHOLE + 1, LOCAL, shards=[1])
    assert shards.missing(tmp_path, read_manifest(tmp_path)) == [1]


def test_batches_are_kept_until_their_shard_is_written(tmp_path):
    """Images 0, 1 and 2 of a shard of five; then 3 and 4 by another writer, which is told nothing of the first."""
    described = manifest(shard=5)
    write(tmp_path / "pieces", described, WHOLE, LOCAL, shards=[])
    rows = {"readable": torch.tensor([True]), "reasons": []}
    for first, stop in ((0, 3), (3, 5)):
        writer = StoreWriter(tmp_path / "pieces", described, None, paths(5))
        for image in range(first, stop):
            alone = torch.tensor([image])
            writer.add(alone, WHOLE[alone], LOCAL[4 * image : 4 * image + 4], **rows)
        assert shards.missing_images(tmp_path / "pieces", described) == 5 - stop
    finish(tmp_path / "pieces", described, paths(5))
    complete(tmp_path / "straight", described, WHOLE, LOCAL)
    assert contents(tmp_path / "pieces") == contents(tmp_path / "straight")


def test_the_images_of_a_batch_follow_each_other(tmp_path):
    described = write(tmp_path, manifest(shard=5), WHOLE, LOCAL, shards=[])
    image = torch.tensor([0, 2])
    with pytest.raises(ValueError, match=r"must follow each other, got \[0, 2\]"):
        StoreWriter(tmp_path, described, None, paths(5)).add(image, WHOLE[image], LOCAL[:8], image > -1, [])


def test_verify_finds_what_opening_cannot_and_repair_touches_only_that(tmp_path):
    complete(tmp_path, manifest(), WHOLE, LOCAL)
    before = contents(tmp_path)
    with (tmp_path / "local-00001.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    open_store(tmp_path, None)
    (damage,) = verify(tmp_path)
    assert (damage.where, damage.what) == (str(tmp_path / "local-00001.npy"), "checksum differs")
    discard(tmp_path, verify(tmp_path))
    described = read_manifest(tmp_path)
    assert shards.missing(tmp_path, described) == [1]
    assert not (tmp_path / "COMPLETE").exists()
    complete(tmp_path, described, WHOLE, LOCAL, shards=[1])
    assert contents(tmp_path) == before
    (tmp_path / "shard-00002.json").unlink()
    assert [problem.what for problem in verify(tmp_path)] == ["missing or no JSON"]


def test_sizes_are_foreseen(tmp_path):
    """5 images x (1 + 4) rows x 2 numbers x 4 bytes = 200; ragged: (5 + 7) x 2 x 2 = 48."""
    described = manifest()
    complete(tmp_path, described, WHOLE, LOCAL)
    arrays = [torch.from_numpy(shards.map_array(path).numpy()) for path in tmp_path.glob("[wl]*-*.npy")]
    assert shards.expected_bytes(described, None) == sum(a.numel() * 4 for a in arrays) == 200
    ragged = manifest(grids=None, dtype="float16")
    assert shards.expected_bytes(ragged, torch.tensor([0, 1, 2, 4, 5, 7])) == 48


def test_folder_names_can_be_typed():
    assert folder_name("my photos/été", "timm: vit", "0123456789abcdef") == "my_photos_été-timm__vit-0123456789ab"
