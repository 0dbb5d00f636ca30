import pytest
import torch

from seekloop.contracts.errors import StoreError
from seekloop.training.pretraining import PretrainingFolder, read_epochs


def test_what_is_kept_comes_back_and_is_replaced_as_a_whole(tmp_path):
    place = PretrainingFolder(tmp_path / "x", "a")
    assert place.kept() is None
    assert read_epochs(place.path).empty
    for epoch in (1, 2):
        place.keep(
            {
                "epoch": epoch,
                "network": {"w": torch.ones(2)},
                "rows": [{"epoch": e, "sizes": [2, 1]} for e in range(epoch)],
            }
        )
    kept = place.kept()
    assert (kept["epoch"], len(kept["rows"])) == (2, 2)
    table = read_epochs(place.path)
    assert table["epoch"].tolist() == [0, 1]
    assert [list(one) for one in table["sizes"]] == [[2, 1], [2, 1]]
    assert sorted(path.name for path in place.path.iterdir()) == ["checkpoint.pt", "epochs.parquet"]


def test_weights_come_last_and_end_the_checkpoint(tmp_path):
    place = PretrainingFolder(tmp_path, "a")
    place.keep({"epoch": 1, "rows": [{"epoch": 0}]})
    path = place.finish({"w": torch.ones(2)})
    assert torch.load(path, weights_only=True)["w"].tolist() == [1, 1]
    assert not place.checkpoint.exists()


def test_checkpoints_of_others_and_damaged_ones_are_refused(tmp_path):
    PretrainingFolder(tmp_path, "a").keep({"epoch": 1, "rows": [{"epoch": 0}]})
    with pytest.raises(StoreError, match=r"checkpoint.pt was made with other settings"):
        PretrainingFolder(tmp_path, "b").kept()
    (tmp_path / "checkpoint.pt").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"checkpoint.pt is damaged"):
        PretrainingFolder(tmp_path, "a").kept()
