import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.store import found as found_files
from seekloop.store.found import FoundImage, FoundWriter, begin, finish, read_found
from seekloop.store.kept_maps import keep_map, kept_map
from seekloop.store.manifest import store_folder


def image_of(seed, regions, height, width, affine=0.25):
    rng = torch.Generator().manual_seed(seed)
    return FoundImage(
        torch.rand(regions, 4, generator=rng),
        torch.randint(1, 5, (regions,), generator=rng),
        torch.rand(regions, generator=rng),
        torch.rand(regions, height, width, generator=rng) > 0.5,
        affine,
        drew=seed % 2 == 0,
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(folder, images):
    begin(folder, Recipe("regions", {"detector": "any"}), len(images))
    writer = FoundWriter(folder, len(images))
    for number in reversed(range(len(images))):  # whatever the order
        writer.add(number, images[number])
    finish(folder, len(images))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=7))
def test_what_was_found_is_read_back_bit_by_bit(tmp_path_factory, shapes):
    """Maps of different shapes, images without regions, several shards."""
    folder = tmp_path_factory.mktemp("found") / "regions"
    images = [image_of(seed, *shape, affine=seed**2 / 64) for seed, shape in enumerate(shapes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(found_files, "SHARD", 3)
        written(folder, images)
        found, why = read_found(folder)
        assert why == [""] * len(images)
        assert found.readable.all()
        for number, image in enumerate(images):
            rows = slice(int(found.offsets[number]), int(found.offsets[number + 1]))
            assert found.boxes[rows].equal(image.boxes)
            assert found.level[rows].equal(image.level)
            assert found.score[rows].equal(image.score)
            assert found.masks(number).equal(image.masks)
            back = found.image(number)
            assert all(back.__dict__[name].equal(image.__dict__[name]) for name in ("boxes", "level", "score"))
            assert (back.affine, back.why, back.drew) == (image.affine, None, image.drew)
    assert found.affine_share == pytest.approx(sum(image.affine for image in images) / len(images))


def test_an_unreadable_image_has_no_regions_and_a_reason(tmp_path):
    written(tmp_path / "r", [image_of(0, 2, 3, 4), FoundImage.unreadable("the file is empty")])
    found, why = read_found(tmp_path / "r")
    assert why == ["", "the file is empty"]
    assert found.readable.tolist() == [True, False]
    assert found.offsets.tolist() == [0, 2, 2]
    assert found.affine_share == pytest.approx(0.25)
    written(tmp_path / "alone", [FoundImage.unreadable("it is gone")])
    alone, _ = read_found(tmp_path / "alone")
    assert alone.affine_share is None


def test_only_missing_and_damaged_files_are_done_again(tmp_path, monkeypatch):
    """Five images in shards of two: the second is cut short, the third is gone."""
    monkeypatch.setattr(found_files, "SHARD", 2)
    folder = tmp_path / "r"
    images = [image_of(seed, 1, 2, 2) for seed in range(5)]
    written(folder, images)
    whole = (folder / "found-00001.npz").read_bytes()
    (folder / "found-00001.npz").write_bytes(whole[:40])
    (folder / "found-00002.npz").unlink()
    found_files._load.cache_clear()
    assert begin(folder, Recipe("regions", {"detector": "any"}), 5) == [
        [2, 3],
        [4],
    ]
    assert not store_folder(folder).finished
    with pytest.raises(StoreError, match="1 files of regions are missing"):
        finish(folder, 5)
    with pytest.raises(StoreError, match=r"found-00001\.npz is missing or damaged"):
        read_found(folder)
    writer = FoundWriter(folder, 5)
    for number in (2, 3):
        writer.add(number, images[number])
    assert (folder / "found-00001.npz").read_bytes() == whole


def test_an_image_that_was_found_is_kept_before_its_shard_is_whole(tmp_path):
    images = [image_of(seed, 1 + seed, 3, 2) for seed in range(3)]
    whole = tmp_path / "whole"
    written(whole, images)
    for missing, number in (([0, 1, 2], 1), ([0, 2], 0), ([2], 2)):
        assert begin(tmp_path / "pieces", Recipe("regions", {"detector": "any"}), 3) == [missing]
        FoundWriter(tmp_path / "pieces", 3).add(number, images[number])
    assert begin(tmp_path / "pieces", Recipe("regions", {"detector": "any"}), 3) == []
    finish(tmp_path / "pieces", 3)
    assert contents(tmp_path / "pieces") == contents(whole)


def test_kept_maps_come_back_in_half_precision(tmp_path):
    tokens = torch.tensor([[[1.0], [1 / 3]]])
    assert kept_map(tmp_path, 4) is None
    keep_map(tmp_path, 4, tokens)
    torch.testing.assert_close(kept_map(tmp_path, 4), tokens.half().float(), rtol=0, atol=0)  # the dtype, too
    (tmp_path / "0000004.npy").write_bytes(b"cut")
    assert kept_map(tmp_path, 4) is None
