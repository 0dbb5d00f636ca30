import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from seekloop.contracts.errors import MissingExtraError
from seekloop.learning import clusters as subject
from seekloop.learning.clusters import clustered, sizes, uniform_epoch


def blobs(each, dim=4):
    """Three far apart."""
    centres = 10 * torch.eye(3, dim).repeat_interleave(each, dim=0)
    return centres + 0.1 * torch.randn(centres.shape, generator=Generator().manual_seed(0))


@pytest.fixture(params=["as installed", "without faiss"])
def library(request, monkeypatch):
    def absent():
        raise MissingExtraError("faiss", "faiss-cpu")

    if request.param == "without faiss":
        monkeypatch.setattr(subject, "load_faiss", absent)


@pytest.mark.usefixtures("library")
def test_blobs_become_clusters():
    """Starts are drawn at random, and one in two may miss a blob: the best of ten is taken."""
    rows = blobs(20)
    found = [clustered(rows, 3, 10, seed) for seed in range(10)]
    truth = torch.arange(3).repeat_interleave(20)
    assert any(len({*zip(one.tolist(), truth.tolist(), strict=True)}) == 3 == len(one.unique()) for one in found)


@pytest.mark.usefixtures("library")
def test_the_seed_seeds():
    rows = torch.randn(200, 4, generator=Generator().manual_seed(0))
    first, again, other = (clustered(rows, 10, 5, seed) for seed in (2**40 + 1, 2**40 + 1, 2))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.usefixtures("library")
def test_equal_rows_do_not_matter():
    found = clustered(torch.ones(30, 4), 5, 5, 0)
    assert found.shape == (30,)
    assert len(clustered(blobs(1), 3, 5, 0).unique()) == 3  # as many clusters as rows


def test_an_epoch_by_hand():
    """7 images, 2 clusters that have any: 7 // 2 + 1 = 4 of each, one of the 8 cut off.

    Cluster 5 has five images and gives four different ones; cluster 2 has two and repeats itself.
    """
    assignment = torch.tensor([5, 2, 5, 5, 2, 5, 5])
    epochs = torch.stack([uniform_epoch(assignment, Generator().manual_seed(seed)) for seed in range(50)])
    assert epochs.shape == (50, 7)
    for epoch in epochs:
        counts = torch.bincount(assignment[epoch], minlength=6)
        assert sorted(counts[[2, 5]].tolist()) == [3, 4]
        of_five = epoch[assignment[epoch] == 5]
        assert len(of_five.unique()) == len(of_five)
    assert set(epochs.flatten().tolist()) == set(range(7))
    assert len({int((epoch == 1).sum()) for epoch in epochs}) > 3  # drawn again by chance, not as often as its twin
    assert len({tuple(assignment[epoch].tolist()) for epoch in epochs}) > 10  # shuffled, not cluster after cluster


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 100))
def test_an_epoch_has_as_many_positions_as_there_are_images(assignment, seed):
    """Before the cut all clusters count alike; it takes off fewer positions than there are clusters."""
    assignment = torch.tensor(assignment)
    epoch = uniform_epoch(assignment, Generator().manual_seed(seed))
    assert len(epoch) == len(assignment)
    groups = len(assignment.unique())
    each = len(assignment) // groups + 1
    counts = torch.bincount(assignment[epoch], minlength=10)
    assert set(counts.nonzero()[:, 0].tolist()) <= set(assignment.tolist())
    assert int(counts.max()) <= each
    assert int((each - counts[assignment.unique()]).sum()) == each * groups - len(assignment)


def test_sizes_by_hand():
    assert sizes(torch.tensor([4, 4, 1, 9, 4, 1])).tolist() == [3, 2, 1]
