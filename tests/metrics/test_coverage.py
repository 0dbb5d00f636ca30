import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.metrics.coverage import cluster_positives, coverage
from seekloop.metrics.kmeans import kmeans_labels


def test_coverage_by_hand():
    """First clustering {0 1}{2}{3}, second {0}{1 2 3}. Query A found 0, 1: 1/3 and 2/2. B found 3: 1/3 and 1/2."""
    labels = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 1]])
    found = torch.tensor([[True, True, False, False], [False, False, False, True]])
    expected = torch.tensor([(1 / 3 + 1) / 2, (1 / 3 + 1 / 2) / 2], dtype=torch.float64)
    torch.testing.assert_close(coverage(labels, found), expected)


def test_names_of_clusters_do_not_matter():
    found = torch.tensor([[True, False, False]])
    assert coverage(torch.tensor([[7, 3, 3]]), found).item() == coverage(torch.tensor([[0, 1, 1]]), found).item() == 0.5


@st.composite
def clusterings(draw):
    p = draw(st.integers(1, 9))
    rows = st.lists(st.integers(0, 4), min_size=p, max_size=p)
    order = draw(st.permutations(range(p)))
    return torch.tensor(draw(st.lists(rows, min_size=1, max_size=3))), list(order)


@given(clusterings())
def test_never_falls_and_ends_at_one(drawn):
    """Row t of `found` has found t + 1 positives; the first alone touches one cluster of each clustering."""
    labels, order = drawn
    found = torch.zeros(len(order), len(order), dtype=torch.bool)
    for step, image in enumerate(order):
        found[step:, image] = True
    curve = coverage(labels, found)
    assert (curve.diff() >= 0).all()
    assert curve[-1] == 1
    assert curve[0].item() == pytest.approx(sum(1 / row.unique().numel() for row in labels) / len(labels))


def blobs(centres, each):
    rng = torch.Generator().manual_seed(0)
    rows = torch.eye(centres).repeat_interleave(each, dim=0)
    return torch.nn.functional.normalize(rows + 0.01 * torch.randn(rows.shape, generator=rng), dim=1)


def test_every_blob_is_a_cluster():
    """Two blobs of five in two clusters: each clustering must tell them apart, whatever its start."""
    labels = cluster_positives(blobs(2, 5), clusters=2, clusterings=4, seed=0, class_name="dog")
    for row in labels:
        assert row[:5].unique().numel() == row[5:].unique().numel() == 1
        assert row[0] != row[5]


def test_clusterings_are_fixed_by_class_and_seed_and_differ_among_each_other():
    rows = blobs(8, 6)
    first, again = (cluster_positives(rows, clusters=5, clusterings=4, seed=0, class_name="dog") for _ in range(2))
    other = cluster_positives(rows, clusters=5, clusterings=4, seed=0, class_name="cat")
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_fewer_distinct_images_than_clusters():
    """Three distinct images, one of them five times: three clusters, so that one image alone covers a third."""
    rows = torch.eye(3)[[0, 0, 0, 0, 0, 1, 2]]
    labels = cluster_positives(rows, clusters=32, clusterings=2, seed=0, class_name="toaster")
    assert [row.unique().numel() for row in labels] == [3, 3]
    assert coverage(labels, torch.eye(7, dtype=torch.bool)[:1]).item() == pytest.approx(1 / 3)


def test_duplicates_count_as_often_as_they_are_there():
    """On a line 0 (twenty times), 5, 9, in two clusters: {0}{5 9} from every start.

    From centres 5 and 9, {0 5} has its mean at 5 / 21 and 5 leaves it; counted once each, at 2.5, and 5 stays.
    """
    rows = torch.tensor([[0.0]] * 20 + [[5.0], [9.0]])
    for labels in kmeans_labels(rows, 2, range(30)):
        assert labels[:20].unique().numel() == 1
        assert labels[20] == labels[21] != labels[0]


def test_no_positives_is_refused():
    with pytest.raises(ValueError, match="'dog' has no positives"):
        cluster_positives(torch.zeros(0, 2), clusters=2, clusterings=1, seed=0, class_name="dog")


def test_a_class_is_clustered_once_in_a_sweep(monkeypatch):
    """Other images, another number of clusters, another seed are another clustering."""
    calls = []

    def counted(rows, clusters, seeds):
        calls.append(len(rows))
        return kmeans_labels(rows, clusters, seeds)

    monkeypatch.setattr("seekloop.metrics.coverage.kmeans_labels", counted)
    rows = blobs(3, 7)

    def labels(**changes):
        usual = {"descriptors": rows, "clusters": 3, "clusterings": 2, "seed": 5, "class_name": "owl"}
        return cluster_positives(**usual | changes)

    first = labels()
    assert torch.equal(labels(), first)
    assert torch.equal(labels(descriptors=rows.clone()), first)
    assert len(calls) == 1
    labels(descriptors=rows.flip(0))
    labels(clusters=4)
    labels(seed=6)
    assert len(calls) == 4
