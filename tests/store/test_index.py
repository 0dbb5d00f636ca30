import importlib
import threading
import time

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.artifacts import files
from seekloop.contracts.errors import ConfigError, MissingExtraError, StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.store import index
from seekloop.store.index import open_index
from seekloop.store.index_settings import BUILT_BY, IndexSettings

pytest.importorskip("faiss", reason="faiss is not installed")
USUAL = {"nlist": 4, "nprobe": 1, "pq_m": 2, "pq_bits": 4, "hnsw_m": 8, "hnsw_ef": 32}


def choose(kind, **changes):
    return IndexSettings(kind, **USUAL | changes)


class Rows:
    """Vectors held in memory, `per_image` of them for each image."""

    def __init__(self, rows, per_image=2, name="rows"):
        self.table, self.per_image = rows, per_image
        self.rows, self.dim = rows.shape
        self.images = self.rows // per_image
        self.recipe = Recipe("vectors", {"name": name})
        self.reads = 0

    def read(self, images):
        self.reads += 1
        owner = images.repeat_interleave(self.per_image)
        place = owner * self.per_image + torch.arange(self.per_image).repeat(len(images))
        return self.table[place], owner


def drawn(rows=200, dim=8, seed=0):
    return Rows(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)))


def opened(folder, vectors=None, kind="flat", **changes):
    said = []
    folder.mkdir(exist_ok=True)
    found = open_index(vectors or drawn(), choose(kind, **changes), folder, said.append)
    return found, said


def scores_of(found, weights, k=5, widening=1):
    result = found.search(weights, k, widening)
    return result.score, result.image


def test_search_by_hand():
    """Images 0 and 1 with two vectors each; along w = (2, 1): 2, 1 (image 0) and -2, 3 (image 1)."""
    rows = Rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0]]))
    found = open_index(rows, choose("flat"), None, lambda _: None).search(torch.tensor([[2.0, 1.0]]), 3, 1)
    assert found.image.tolist() == [[1, 0, 0]]
    assert found.score.tolist() == [[3.0, 2.0, 1.0]]
    assert found.lowest.tolist() == [1.0]
    assert (found.exact, found.final) == (True, False)


def test_asking_for_more_than_there_is_finds_everything():
    rows = Rows(torch.eye(4))
    found = open_index(rows, choose("flat"), None, lambda _: None).search(torch.ones(2, 4), 99, 1)
    assert found.final
    assert found.known.all()
    assert found.image.shape == (2, 4)


def test_probed_clusters_that_are_used_up_leave_places_empty():
    """One of four clusters is probed: fewer vectors than asked for, and what lies elsewhere may score higher."""
    rows = drawn()
    found = open_index(rows, choose("ivf"), None, lambda _: None).search(torch.randn(1, 8), rows.rows, 1)
    assert not found.known.all()
    assert (found.exact, found.final) == (False, False)
    assert found.lowest.isfinite().all()
    assert found.score[~found.known].tolist() == [-torch.inf] * int((~found.known).sum())


@pytest.mark.parametrize("kind", BUILT_BY)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 250))
def test_the_widest_search_is_exact_or_says_that_it_is_not(kind, seed, k):
    """A law: where `exact` is said, the scores are the k largest products; never are places filled twice."""
    rows = drawn(seed=seed)
    weights = torch.randn(3, rows.dim, generator=torch.Generator().manual_seed(seed + 1))
    found = open_index(rows, choose(kind), None, lambda _: None).search(weights, k, 4)
    assert found.exact == (kind in ("flat", "ivf"))
    k = min(k, rows.rows)
    best = (weights @ rows.table.T).sort(dim=1, descending=True).values[:, :k]
    if found.exact:
        torch.testing.assert_close(found.score, best)
    assert found.score.shape == (3, k)
    for row, known in zip(found.score, found.known, strict=True):  # a graph may not lead to every vector
        assert bool((row[known].diff() <= 0).all())
    assert max(np.bincount(found.image[0][found.known[0]].numpy(), minlength=1)) <= rows.per_image


@pytest.mark.parametrize("kind", BUILT_BY)
def test_it_is_kept_beside_the_store_and_found_again(tmp_path, kind):
    weights = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    first, said = opened(tmp_path / "store", kind=kind)
    assert said[0].startswith(f"building a {kind} index of 200 vectors x 8")
    second, said = opened(tmp_path / "store", unread := drawn(), kind=kind)
    assert (said, unread.reads) == ([], 0)
    for one, other in zip(scores_of(first, weights), scores_of(second, weights), strict=True):
        assert torch.equal(one, other)
    assert second.norm == first.norm == pytest.approx(float(drawn().table.norm(dim=1).max()))
    assert not list(tmp_path.glob("store/*.part"))


def test_how_it_is_searched_does_not_change_what_is_built(tmp_path):
    opened(tmp_path / "store", kind="ivf", nprobe=1)
    assert opened(tmp_path / "store", kind="ivf", nprobe=2, pq_m=4)[1] == []
    assert opened(tmp_path / "store", kind="ivf", nlist=2)[1] != []
    assert opened(tmp_path / "store", Rows(drawn().table, name="others"), kind="ivf")[1] != []
    assert len(list(tmp_path.glob("store/index-*.json"))) == 3


LIMIT_SECONDS = 60.0  # it takes about one; ordering 64 codes for Hamming distances took minutes


@pytest.mark.parametrize("kind", ["pq", "ivfpq"])
@pytest.mark.parametrize(("rows", "recall"), [(256, 1.0), (257, 0.98), (384, 0.8)])
def test_the_usual_codes_on_the_fewest_vectors_are_learnt_in_seconds(kind, rows, recall):
    """256 centres for each part of 256 vectors: every vector is its own code. Beyond, parts have to share centres."""
    vectors = Rows(drawn(rows, 384).table, per_image=1)
    started = time.monotonic()
    built = open_index(vectors, choose(kind, nlist=None, pq_m=64, pq_bits=8), None, lambda _: None)
    assert time.monotonic() - started < LIMIT_SECONDS
    weights = torch.randn(20, 384, generator=torch.Generator().manual_seed(1))
    found = built.search(weights, 20, widening=1000)
    best = (weights @ vectors.table.T).topk(20, dim=1)
    hits = (found.image[:, :, None] == best.indices[:, None]).any(dim=2).double().mean()
    assert hits >= recall
    if recall == 1.0:
        torch.testing.assert_close(found.score, best.values, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
@pytest.mark.parametrize("images", [1, 2, 24])
@pytest.mark.parametrize("per_image", [1, 16])
def test_few_images_are_all_found(kind, images, per_image):
    vectors = Rows(drawn(images * per_image, 16).table, per_image)
    built = open_index(vectors, choose(kind, nlist=None, nprobe=None, hnsw_m=32), None, lambda _: None)
    weights = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    found = built.search(weights, vectors.rows, widening=1000)
    best = (weights @ vectors.table.T).sort(dim=1, descending=True)
    torch.testing.assert_close(found.score, best.values)
    assert torch.equal(found.image, best.indices // per_image)


@pytest.mark.parametrize("kind", ["pq", "ivfpq"])
@pytest.mark.parametrize(("rows", "bits"), [(1, None), (2, 1), (3, 1), (4, 2), (24, 4), (31, 4), (32, 5), (384, 8)])
def test_the_bits_that_an_error_names_can_be_learnt_and_are_the_most(kind, rows, bits):
    """The logarithm to base 2, rounded down; one vector has nothing to tell apart."""
    vectors = Rows(drawn(rows, 8).table, per_image=1)
    fix = "Use index=flat" if bits is None else f"Choose up to {bits}, or use index=flat"
    with pytest.raises(ConfigError, match=rf"pq_bits={(bits or 0) + 1} cannot work: .* {fix}"):
        open_index(vectors, choose(kind, pq_bits=(bits or 0) + 1), None, lambda _: None)
    if bits is not None:
        built = open_index(vectors, choose(kind, nlist=None, pq_bits=bits), None, lambda _: None)
        assert built.search(torch.ones(1, 8), rows, widening=1000).known.all()


@pytest.mark.parametrize("suffix", [".faiss", "-images.npy", ".json"])
def test_a_damaged_file_is_built_again(tmp_path, suffix):
    weights = torch.randn(2, 8)
    before, _ = opened(tmp_path / "store")
    (path,) = tmp_path.glob(f"store/index-*{suffix}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))
    again, said = opened(tmp_path / "store")
    assert "is damaged and will be built again" in said[0]
    assert torch.equal(scores_of(before, weights)[1], scores_of(again, weights)[1])
    assert opened(tmp_path / "store")[1] == []


@pytest.mark.parametrize("last", ["write_json", "write_array"])
def test_a_builder_that_was_killed_leaves_no_index(tmp_path, monkeypatch, last):
    """Killed at the record, or at the file before it: the next one starts anew and clears its leavings away."""

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, last, killed)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path / "store")
    (tmp_path / "store" / "index-0.faiss.1.part").write_bytes(b"half")
    assert not list(tmp_path.glob("store/index-*.json"))
    _, said = opened(tmp_path / "store")
    assert said[0].startswith("building")
    assert not list(tmp_path.glob("store/*.part"))


def test_one_builds_and_the_other_waits(tmp_path):
    said, done = [], []
    (tmp_path / "store").mkdir()
    with FileLock(f"{tmp_path / 'store'}.lock"):
        waiting = threading.Event()

        def say(message):
            said.append(message)
            waiting.set()

        other = threading.Thread(
            target=lambda: done.append(open_index(drawn(), choose("flat"), tmp_path / "store", say))
        )
        other.start()
        assert waiting.wait(10)
        assert said == ["another process is writing into store: waiting for it"]
        assert done == []
    other.join(10)
    assert len(done) == 1


@pytest.mark.parametrize(("gpu", "extra"), [(False, "faiss-cpu"), (True, "faiss-gpu")])
def test_without_faiss_the_message_names_the_extra(monkeypatch, gpu, extra):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    with pytest.raises(MissingExtraError, match=rf"pip install 'seekloop\[{extra}\]'"):
        open_index(drawn(), choose("flat"), None, lambda _: None)


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(index.load_faiss(), "write_index", full)
    with pytest.raises(StoreError, match=r"could not be written .* Free some space"):
        opened(tmp_path / "store")
    assert not list(tmp_path.glob("store/*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "tree"}, "IndexSettings: kind='tree' cannot work: it must be one of: flat, ivf, pq, ivfpq, hnsw"),
        ({"kind": "ivf", "nlist": 0}, "IndexSettings: nlist=0 cannot work"),
        ({"kind": "ivf", "nprobe": 0}, "IndexSettings: nprobe=0 cannot work"),
        ({"kind": "pq", "pq_bits": 20}, "at most 12"),
        ({"kind": "pq", "pq_m": 3}, "does not divide the 8 dimensions of a vector. Choose 4"),
        ({"kind": "ivfpq", "pq_bits": 9}, "512 centres cannot be learnt from 200 vectors. Choose up to 7, or use"),
        ({"kind": "hnsw", "hnsw_m": 0}, "IndexSettings: hnsw_m=0 cannot work"),
    ],
)
def test_what_cannot_work_is_refused(change, message):
    with pytest.raises(ConfigError, match=message.replace("^", r"\^")):
        open_index(drawn(), choose(**change), None, lambda _: None)


def test_other_kinds_parameters_have_no_effect():
    assert choose("flat", nlist=7, pq_m=3).build_identity(5) == {"kind": "flat"}


def test_an_index_larger_than_memory_is_refused(monkeypatch):
    monkeypatch.setattr(index, "free_memory", lambda: 1000)
    with pytest.raises(ConfigError, match=r"GiB are free\. Use index=ivfpq"):
        open_index(drawn(), choose("flat"), None, lambda _: None)


def test_nothing_to_index_is_refused():
    with pytest.raises(ConfigError, match="holds no region"):
        open_index(Rows(torch.zeros(0, 4)), choose("flat"), None, lambda _: None)


def test_clusters_and_probes_by_hand():
    """Twice the root of 10,000 is 200, an eighth of which is 25; 39 vectors per cluster at least: 10,000 / 39 = 256."""
    usual = choose("ivf", nlist=None, nprobe=None)
    assert (usual.clusters(10_000), usual.probes(200, 1), usual.probes(200, 4), usual.probes(200, 16)) == (
        200,
        25,
        100,
        200,
    )
    assert choose("ivf", nlist=1000).clusters(10_000) == 256
    assert choose("ivf", nlist=1000).sample(10_000) == 10_000
    assert choose("ivfpq", nlist=10).sample(10_000) == 1024  # 64 for each of 16 codes
