import importlib.util

import numpy as np
import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Regions
from seekloop.extraction import graph as module
from seekloop.extraction.graph import GraphStage
from seekloop.graphs.affinity import Graph
from seekloop.graphs.diffusion import Diffusion
from seekloop.store.arrays import ArrayDescriptors, array_descriptors
from seekloop.store.manifest import store_folder
from tests.graphs.clouds import clouds, on_circle


def stage(points, folder, **more):
    descriptors = array_descriptors(points)
    return GraphStage(descriptors, descriptors.recipe, **{"graph": Graph(4), "store_dir": folder, **more})


@pytest.fixture
def said():
    return []


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(module, "READ", 2)


def test_it_is_the_graph_of_the_global_descriptors(tmp_path, said):
    points, _ = clouds([9, 8], spread=0.4)
    for kind in ("reciprocal", "sum", "max"):
        found = stage(points, tmp_path, graph=Graph(4, kind)).ensure(said.append)
        wanted = Graph(4, kind)
        np.testing.assert_allclose(found.weights.toarray(), wanted.weights(points.float()).toarray(), atol=1e-6)
        np.testing.assert_allclose(found.normalised.toarray(), wanted.of(points.float()).toarray(), atol=1e-6)
        assert found.image.tolist() == list(range(17))
    assert len(list(tmp_path.glob("*/COMPLETE"))) == 3
    assert "joining 17 images to their 4 nearest" in said[0]
    assert "without any" in said[1]


def test_it_is_that_graph_to_the_last_bit(tmp_path, said, monkeypatch):
    """Where all neighbours are looked for at once, as `Graph` does."""
    monkeypatch.setattr(module, "BLOCK", 2**13)
    points, _ = clouds([40, 30], spread=0.4)
    machine = stage(points, tmp_path)
    assert (machine.ensure(said.append).normalised != Graph(4).of(machine.descriptors.global_)).nnz == 0


def test_regions_are_vertices_of_their_own(tmp_path, said):
    """Images of 2, 1 and 1 regions; the first's second region and the last image's are 10 degrees apart."""
    local = on_circle(0, 80, 40, 90).float()
    regions = Regions(torch.tensor([[0.0, 0, 1, 1]]).expand(4, 4), torch.tensor([0, 2, 3, 4]))
    descriptors = ArrayDescriptors(torch.ones(3, 2), local, regions)
    machine = GraphStage(descriptors, descriptors.recipe, Graph(1), tmp_path, regions=True)
    found = machine.ensure(said.append)
    assert found.image.tolist() == [0, 0, 1, 2]
    np.testing.assert_allclose(found.weights.toarray()[1], [0, 0, 0, np.cos(np.radians(10)) ** 3], atol=1e-6)
    assert machine.folder != GraphStage(descriptors, descriptors.recipe, Graph(1), tmp_path).folder


def test_edges_within_an_image_can_be_left_out(tmp_path, said):
    """Regions at 0 and 10 degrees of one image, and at 30 of another: all are mutual neighbours."""
    regions = Regions(torch.tensor([[0.0, 0, 1, 1]]).expand(3, 4), torch.tensor([0, 2, 3]))
    descriptors = ArrayDescriptors(torch.ones(2, 2), on_circle(0, 10, 30).float(), regions)
    made = {"graph": Graph(2), "store_dir": tmp_path, "regions": True}
    found = GraphStage(descriptors, descriptors.recipe, **made).ensure(said.append).weights
    apart = GraphStage(descriptors, descriptors.recipe, **made, within_images=False).ensure(said.append).weights
    assert found.nnz == 6
    assert (found.toarray() * [[0, 0, 1], [0, 0, 1], [1, 1, 0]] == apart.toarray()).all()
    assert apart.nnz == 4


def test_a_finished_graph_is_not_made_again(tmp_path, said, monkeypatch):
    points, _ = clouds([9, 8])
    first = stage(points, tmp_path).ensure(said.append)
    monkeypatch.setattr(module, "lookup", None)
    again = stage(points, tmp_path).ensure(said.append)
    assert (first.weights != again.weights).nnz == 0
    # a method built on a graph is content with the graph of its settings
    assert stage(points, tmp_path, graph=Diffusion(neighbours=4, alpha=0.5)).folder == first.stored.folder


def test_a_stopped_search_goes_on(tmp_path, said, monkeypatch):
    """Two of three blocks are kept; only the last is searched again, and the graph is the same."""
    points, _ = clouds([9, 8], spread=0.4)
    whole = stage(points, tmp_path / "whole").ensure(said.append)
    searched, others = [], module.others

    def stopping(find, rows, first, end, k):
        searched.append(first)
        if searched == [0, 7, 14]:
            raise RuntimeError("stopped")
        return others(find, rows, first, end, k)

    monkeypatch.setattr(module, "others", stopping)
    machine = stage(points, tmp_path / "stopped")
    with pytest.raises(RuntimeError, match="stopped"):
        machine.ensure(said.append)
    assert not store_folder(machine.folder).finished
    found = machine.ensure(said.append)
    assert searched == [0, 7, 14, 14]
    assert "(14 are done already)" in said[-2]
    assert (found.weights != whole.weights).nnz == 0


def test_odd_collections(tmp_path, said):
    """One image; identical images; an image that could not be read."""
    assert stage(on_circle(3), tmp_path).ensure(said.append).weights.shape == (1, 1)
    same = stage(on_circle(3, 3, 3), tmp_path).ensure(said.append).weights.toarray()
    np.testing.assert_allclose(same, 1 - np.eye(3), atol=1e-6)
    points = torch.cat([on_circle(0, 10), torch.zeros(1, 2).double()])
    assert (stage(points, tmp_path).ensure(said.append).weights.toarray()[2] == 0).all()


def test_a_collection_without_regions_has_a_graph_without_vertices(tmp_path, said):
    descriptors = ArrayDescriptors(
        torch.ones(2, 3), torch.zeros(0, 3), Regions(torch.zeros(0, 4), torch.zeros(3).long())
    )
    found = GraphStage(descriptors, descriptors.recipe, Graph(1), tmp_path, regions=True).ensure(said.append)
    assert found.normalised.shape == (0, 0)
    assert found.image.tolist() == []


def test_what_the_folder_is_named_by(tmp_path):
    """Settings of the graph, descriptors and index; not where it lies."""
    points, _ = clouds([9, 8])
    first = stage(points, tmp_path, name="my images").folder
    assert first.name.startswith("my_images-graph-")
    others = (
        stage(points + 1, tmp_path),
        stage(points, tmp_path, graph=Graph(5)),
        stage(points, tmp_path, index="ivf"),
    )
    assert len({one.made_of.key for one in (stage(points, tmp_path), *others)}) == 4
    assert stage(points, tmp_path / "elsewhere").made_of.key == stage(points, tmp_path).made_of.key
    with pytest.raises(ConfigError, match="GraphStage: index="):
        stage(points, tmp_path, index="best")


@pytest.mark.skipif(not importlib.util.find_spec("faiss"), reason="needs faiss")
@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_the_recall_of_an_index_is_told(tmp_path, said, index, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 500)
    points, _ = clouds([400] * 3, spread=0.3)
    machine = stage(points, tmp_path, index=index, graph=Graph(10))
    found = machine.ensure(said.append)
    exact = stage(points, tmp_path, graph=Graph(10)).ensure(said.append)
    assert exact.stored.recall == 1
    assert 0.7 < found.stored.recall <= 1
    assert f"index={index} found {found.stored.recall:.1%} of the nearest neighbours" in said[1]
    common = found.weights.multiply(exact.weights).nnz / exact.weights.nnz
    assert common > 0.6
