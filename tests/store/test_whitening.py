import numpy as np
import pytest
import torch

from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.extraction.whitening import open_whitening
from seekloop.store import whitening
from seekloop.store.inventory import inventory

RECIPE = Recipe("whitening", {"learner": "a"})
MEAN, AXES = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([[0.5], [2.0]], dtype=torch.float64)


def quiet(_):
    pass


@pytest.mark.parametrize("axes", [AXES, None])
def test_a_whitening_is_learnt_once_and_read_again(axes, tmp_path):
    asked = []

    def learn():
        asked.append(1)
        return MEAN, axes

    for _ in range(2):
        mean, found = whitening.ensure(tmp_path / "a", RECIPE, learn, quiet)
        assert torch.equal(mean, MEAN)
        assert (found is None) == (axes is None)
    assert len(asked) == 1
    rows = torch.tensor([[2.0, 2.5]])
    want = rows - MEAN.float() if axes is None else torch.tensor([[1.5]])
    assert open_whitening(tmp_path / "a")(rows).tolist() == want.tolist()
    assert [one.kind for one in inventory(tmp_path, {})] == ["whitening"]


def test_what_is_no_whitening_is_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no whitening"):
        whitening.read(tmp_path)
    whitening.ensure(tmp_path / "a", RECIPE, lambda: (MEAN, AXES), quiet)
    (tmp_path / "a" / "mean.npy").write_bytes(b"nothing")
    with pytest.raises(StoreError, match="is damaged"):
        whitening.read(tmp_path / "a")


def test_one_that_failed_is_learnt_anew(tmp_path):
    def fails():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        whitening.ensure(tmp_path / "a", RECIPE, fails, quiet)
    mean, _ = whitening.ensure(tmp_path / "a", RECIPE, lambda: (MEAN, None), quiet)
    np.testing.assert_array_equal(mean, MEAN)
