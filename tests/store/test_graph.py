import numpy as np
import pytest
import torch

from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.graphs.affinity import adjacency
from seekloop.store import graph as module
from seekloop.store.inventory import inventory
from seekloop.store.manifest import store_folder
from tests.graphs.clouds import clouds

RECIPE = Recipe("graph", {"neighbours": 4}, (Recipe("descriptors", {"of": "clouds"}),))


def write(folder, weights):
    with store_folder(folder).claim():
        kept = module.begin(folder, RECIPE)
        kept.keep(0, (0, 3), {"position": np.zeros(3)})
        module.finish(folder, weights, torch.arange(weights.shape[0]) // 2, 0.9)


def test_a_graph_is_read_as_it_was_written(tmp_path):
    weights = adjacency(clouds([9, 8])[0], 4, "sum", 3, True)
    write(tmp_path / "graph", weights)
    found = module.read_graph(tmp_path / "graph")
    assert (found.weights != weights).nnz == 0
    assert found.weights.data.dtype == np.float64
    assert found.image.tolist() == [i // 2 for i in range(17)]
    assert found.recall == 0.9
    assert not list((tmp_path / "graph").glob("batch*"))
    (entry,) = inventory(tmp_path, {})
    assert (entry.kind, entry.state) == ("graph", "finished")


def test_an_unfinished_or_damaged_graph_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no finished graph"):
        module.read_graph(tmp_path)
    write(tmp_path / "graph", adjacency(clouds([9, 8])[0], 4, "sum", 3, True))
    path = tmp_path / "graph" / module.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=r"weights\.npy is damaged: checksum differs"):
        module.read_graph(tmp_path / "graph")
