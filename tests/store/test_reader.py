import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.protocols import Descriptors
from seekloop.store import open_store
from tests.store.stores import complete, manifest, write


def random_store(folder, **changes):
    described = manifest(**changes)
    rng = torch.Generator().manual_seed(3)
    whole = torch.randn(described.images, described.dim, generator=rng)
    local = torch.randn(described.images * described.cells, described.dim, generator=rng)
    complete(folder, described, whole, local)
    return whole, local


def test_pyramid_by_hand(tmp_path):
    """Stored means (3, 0), (0, 4), (0, 0), (0, 4), not of unit length: their mean is (0.75, 2), norm 2.136.

    Normalising the cells before averaging would give (1, 2) / norm, another direction.
    """
    local = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0], [0.0, 4.0]])
    complete(tmp_path, manifest(images=1), torch.tensor([[0.0, 5.0]]), local)
    block = open_store(tmp_path, "1x1+2x2").read(torch.tensor([0]), local=True)
    mean = torch.tensor([[0.75, 2.0]])
    expected = torch.cat([mean / mean.norm(), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])])
    torch.testing.assert_close(block.local, expected)
    assert block.global_.tolist() == [[0.0, 1.0]]
    assert block.offsets.tolist() == [0, 5]


def test_a_store_is_what_the_loop_expects(tmp_path):
    random_store(tmp_path)
    store = open_store(tmp_path, "2x2")
    assert isinstance(store, Descriptors)
    assert (store.images, store.dim, store.regions.offsets) == (5, 2, None)
    assert store.regions.boxes.tolist()[1] == [0.5, 0.0, 1.0, 0.5]
    assert open_store(tmp_path, None).grids == ((2, 2),)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 6), max_size=9), st.booleans())
def test_any_order_of_images_gives_the_rows_of_these_images(tmp_path_factory, images, poolable):
    """Repeats, jumps between shards, the last short shard, nothing at all."""
    folder = tmp_path_factory.getbasetemp() / f"order-{poolable}"
    whole, local = (
        random_store(folder, images=7, shard=3, poolable=poolable) if not folder.exists() else torch.load(folder / "t")
    )
    torch.save((whole, local), folder / "t")
    block = open_store(folder, "2x2").read(torch.tensor(images, dtype=torch.long), local=True)
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(block.global_, unit(whole[images]))
    torch.testing.assert_close(block.local, unit(local.reshape(7, 4, 2)[images].flatten(0, 1), dim=-1))
    torch.testing.assert_close(
        open_store(folder, "2x2").read(torch.arange(1, 6), local=False).global_, unit(whole[1:6])
    )


@settings(deadline=None, max_examples=40)
@given(order=st.permutations(range(5)), contiguous=st.booleans())
def test_ragged_regions_keep_their_owner(tmp_path_factory, order, contiguous):
    """1, 3, 0, 2, 1 boxes: row r holds (r + 1, 1), so its direction names it."""
    folder = tmp_path_factory.getbasetemp() / "ragged"
    offsets = torch.tensor([0, 1, 4, 4, 6, 7])
    rows = torch.stack([torch.arange(7) + 1.0, torch.ones(7)], dim=1)
    if not folder.exists():
        complete(folder, manifest(grids=None, poolable=False, tokens=None), torch.ones(5, 2), rows, offsets, batch=2)
    images = torch.arange(1, 4) if contiguous else torch.tensor(order)
    store = open_store(folder, None)
    block = store.read(images, local=True)
    found = (block.local[:, 0] / block.local[:, 1] - 1).round().long().tolist()
    expected = [list(range(int(offsets[i]), int(offsets[i + 1]))) for i in images.tolist()]
    assert found == [row for mine in expected for row in mine]
    assert block.owner.tolist() == [place for place, mine in enumerate(expected) for _ in mine]
    assert len(store.regions.of(1)) == 3


def test_unreadable_images_are_zero(tmp_path):
    complete(tmp_path, manifest(images=3), torch.ones(3, 2), torch.ones(12, 2), unreadable=(1,), batch=2)
    store = open_store(tmp_path, "1x1")
    block = store.read(torch.arange(3), local=True)
    assert store.readable.tolist() == [True, False, True]
    assert block.global_.norm(dim=1).round(decimals=5).tolist() == [1, 0, 1]
    assert block.local.norm(dim=1).round(decimals=5).tolist() == [1, 0, 1]


def test_crops_are_picked_not_pooled(tmp_path):
    """Stored 1x1 and 1x2 crops at 0, 90 and 45 degrees: asking for 1x2 gives the last two, in any order asked for."""
    local = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    complete(tmp_path, manifest(images=1, grids=((1, 1), (1, 2)), poolable=False), torch.ones(1, 2), local)
    half = 0.5**0.5
    read = open_store(tmp_path, "1x2+1x1").read(torch.tensor([0]), local=True)
    torch.testing.assert_close(read.local, torch.tensor([[0.0, 1.0], [half, half], [1.0, 0.0]]))
    with pytest.raises(ConfigError, match=r"grid='2x1' cannot work: the store holds 1x1\+1x2"):
        open_store(tmp_path, "2x1")


@pytest.mark.parametrize(
    ("grid", "message"),
    [("3x3", "the store holds 2x2"), ("8x8", "finer than the backbone's 4x4"), ("2", "is not rows")],
)
def test_grids_that_the_store_cannot_give(tmp_path, grid, message):
    random_store(tmp_path)
    with pytest.raises(ConfigError, match=message):
        open_store(tmp_path, grid)


def test_drawn_boxes_have_no_grid(tmp_path):
    offsets = torch.tensor([0, 1])
    complete(tmp_path, manifest(images=1, grids=None), torch.ones(1, 2), torch.ones(1, 2), offsets)
    with pytest.raises(ConfigError, match="drawn boxes"):
        open_store(tmp_path, "2x2")


def test_unfinished_absent_and_cut_stores_are_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no descriptors"):
        open_store(tmp_path / "nowhere", None)
    write(tmp_path, manifest(), torch.ones(5, 2), torch.ones(20, 2), shards=[0])
    with pytest.raises(StoreError, match="continues where it stopped"):
        open_store(tmp_path, None)
    complete(tmp_path, manifest(), torch.ones(5, 2), torch.ones(20, 2))
    with (tmp_path / "local-00001.npy").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(StoreError, match="1 shards"):
        open_store(tmp_path, None)


def test_positions_outside_the_collection_are_an_error(tmp_path):
    random_store(tmp_path)
    with pytest.raises(IndexError, match=r"\[0, 5\)"):
        open_store(tmp_path, None).read(torch.tensor([5]), local=False)
