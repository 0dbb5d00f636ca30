import numpy as np
import pytest

from seekloop.artifacts.shards import Batches, damaged, intact, write_shard


def kept(folder, *spans):
    batches = Batches(folder, "store_dir")
    for span in spans:
        batches.keep(0, span, {"rows": np.arange(*span), "reasons": np.array(["é"] * 2)})
    return batches


def test_batches_come_back_in_their_order(tmp_path):
    batches = kept(tmp_path, (8, 12), (0, 4))
    batches.keep(1, (12, 16), {"rows": np.arange(2)})
    assert batches.spans(0) == [(0, 4), (8, 12)]
    found = batches.read(0, (8, 12))
    assert (found["rows"].tolist(), found["reasons"].tolist()) == ([8, 9, 10, 11], ["é", "é"])
    batches.clear(0)
    assert (batches.spans(0), batches.spans(1)) == ([], [(12, 16)])
    batches.clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("harm", [lambda content: content[:-30], lambda content: content[:60], lambda _: b""])
def test_a_batch_that_a_power_cut_has_torn_and_one_of_another_division_are_not_taken(tmp_path, harm):
    batches = kept(tmp_path, (0, 4), (4, 8), (8, 16))
    (torn,) = tmp_path.glob("*-00000004-*")
    torn.write_bytes(harm(torn.read_bytes()))
    assert batches.check(0, [(0, 4), (4, 8), (8, 12), (12, 16)]) == [(0, 4)]
    assert batches.spans(0) == [(0, 4)]


def test_a_batch_with_a_wrong_bit_is_not_taken(tmp_path):
    batches = kept(tmp_path, (0, 400))
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(bytes(content))
    assert batches.check(0, [(0, 400)]) == []


def test_a_shard_counts_once_its_record_is_there_and_sizes_agree(tmp_path):
    write_shard(tmp_path, 3, {"a.npy": np.arange(4), "b.npy": np.arange(9)}, {"unreadable": []}, "store_dir")
    assert intact(tmp_path, 3)
    assert list(damaged(tmp_path, 3)) == []
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-1] + b"\x07")
    assert intact(tmp_path, 3)  # which only looks at sizes
    assert list(damaged(tmp_path, 3)) == [("a.npy", "checksum differs")]
    (tmp_path / "b.npy").unlink()
    assert not intact(tmp_path, 3)
    assert [name for name, _ in damaged(tmp_path, 3)] == ["a.npy", "b.npy"]
    (tmp_path / "shard-00003.json").unlink()
    assert list(damaged(tmp_path, 3)) == [("shard-00003.json", "missing or no JSON")]
