"""A faiss index beside a store: it names the vectors that lie farthest on the positive side of a hyperplane."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import psutil
import torch
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.progress import track
from torch import Tensor

from seekloop.artifacts import files
from seekloop.contracts.errors import ConfigError, MissingExtraError, StoreError, require
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import Recipe
from seekloop.store import shards
from seekloop.store.index_settings import SAMPLE_PER_CENTRE, IndexSettings
from seekloop.store.manifest import KEY, store_folder

Faiss = Any  # the module, and its objects, which carry no types
GPU_LARGEST_K = 2048  # a search on a GPU returns no more
BLOCK_BYTES = 2**26  # of float32 vectors read at once
CODE_ROUNDS = 10  # of k-means for each code; faiss's 25 take most of the building time and gain little
ENDINGS = (".faiss", "-images.npy", ".json")
SPARE = 0.9  # share of the free memory that an index may take


@runtime_checkable
class Vectors(Protocol):
    """The vectors that an index is made of.

    Attributes:
        images: n.
        rows: number of vectors of all images together.
        dim: of the vectors.
        recipe: what determines them.
    """

    images: int
    rows: int
    dim: int
    recipe: Recipe

    def read(self, images: Int[Tensor, " b"]) -> tuple[Float[Tensor, "r e"], Int[Tensor, " r"]]:
        """The vectors of these images, float32, and for each the image it belongs to."""
        ...


@dataclass(frozen=True)
class Found:
    """The vectors that a search returned.

    Attributes:
        score: inner products with each query's hyperplane, highest first; -inf after the last one found.
        image: whose vectors they are; -1 after the last one found.
        exact: whether every vector that was not found certainly scores no higher than the last one found.
        final: whether the search was exhausted: a larger one finds nothing more.
    """

    score: Float[Tensor, "q k"]
    image: Int[Tensor, "q k"]
    exact: bool
    final: bool

    @property
    def known(self) -> Bool[Tensor, "q k"]:
        """Mask of the positions that are filled."""
        return self.image >= 0

    @property
    def lowest(self) -> Float[Tensor, " q"]:
        """Score of the last vector found; +inf where none was."""
        return self.score.masked_fill(~self.known, torch.inf).amin(dim=1)


class Index:
    """An index that has been built or loaded.

    Args:
        index: faiss's own.
        owner: the image of each vector.
        norm: length of the longest vector.
        settings: which index it is.
    """

    def __init__(self, index: Faiss, owner: Int[Tensor, " r"], norm: float, settings: IndexSettings) -> None:
        self._faiss = load_faiss()
        self._clusters = int(index.nlist) if settings.clustered else 0
        on_gpus = settings.kind in ("flat", "ivf") and hasattr(self._faiss, "index_cpu_to_all_gpus")
        self._gpus = int(self._faiss.get_num_gpus()) if on_gpus else 0
        self._index = self._faiss.index_cpu_to_all_gpus(index) if self._gpus else index
        self.owner = owner
        self.rows = len(owner)
        self.norm = norm
        self.settings = settings

    def search(self, weights: Float[Tensor, "q e"], k: int, widening: int) -> Found:
        """The `k` vectors with the largest inner products with each query's hyperplane.

        Args:
            weights: normals.
            k: how many, cut to what there is.
            widening: how many times harder than at first to look: clusters probed, nodes of the graph kept in view.
        """
        most = min(self.rows, GPU_LARGEST_K) if self._gpus else self.rows
        k = max(1, min(k, most))
        everywhere = self._aim(k, widening, len(weights))
        rows = np.ascontiguousarray(weights.detach().cpu().float().numpy())
        score, row = (torch.from_numpy(found) for found in self._index.search(rows, k))
        image = torch.where(row >= 0, self.owner[row.clamp(min=0)], -1)
        exact = everywhere and not self.settings.coded and self.settings.kind != "hnsw"
        return Found(score.masked_fill(row < 0, -torch.inf), image, exact, k == most and everywhere)

    def write(self, path: Path) -> None:
        """Let faiss write it."""
        plain = self._faiss.index_gpu_to_cpu(self._index) if self._gpus else self._index
        self._faiss.write_index(plain, str(path))

    def _aim(self, k: int, widening: int, queries: int) -> bool:
        """Set how hard to look; returns whether that is as hard as possible."""
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        space = self._faiss.GpuParameterSpace() if self._gpus else self._faiss.ParameterSpace()
        if self.settings.clustered:
            probes = self.settings.probes(self._clusters, widening)
            space.set_index_parameter(self._index, "nprobe", probes)
            if not self._gpus:
                self._index.parallel_mode = 1 if queries == 1 else 0  # one query: threads share its clusters
            return probes == self._clusters
        if self.settings.kind == "hnsw":
            space.set_index_parameter(self._index, "efSearch", max(self.settings.hnsw_ef * widening, k))
        return True


def open_index(vectors: Vectors, settings: IndexSettings, folder: Path | None, say: Callable[[str], None]) -> Index:
    """Load the index of these vectors from a store's folder; build and keep it there if it is absent or damaged.

    Any number of processes may ask for the same index at once: one builds, the others wait for it.

    Args:
        vectors: of the store.
        settings: which index.
        folder: of the store; None: nothing is kept.
        say: where messages for people go.

    Raises:
        MissingExtraError: if faiss is not installed.
        ConfigError: if the index does not fit the vectors, or the machine's memory.
        StoreError: if it cannot be written.
    """
    load_faiss()
    factory = settings.factory(vectors.rows, vectors.dim)
    if folder is None:
        return _built(vectors, settings, factory, say)
    kept = IndexFiles(folder, index_recipe(vectors, settings).key)
    if (found := kept.load(settings, lambda _: None)) is not None:
        return found
    with store_folder(folder).claim(lambda: f"the descriptors in {folder} are kept, the index is not", say):
        if (found := kept.load(settings, say)) is not None:
            return found
        files.remove_drafts(folder)
        built = _built(vectors, settings, factory, say)
        kept.save(built)
    return built


def index_recipe(vectors: Vectors, settings: IndexSettings) -> Recipe:
    """Recipe of an index of these vectors."""
    return Recipe("index", settings.build_identity(vectors.rows), (vectors.recipe,))


def load_faiss() -> Faiss:
    """faiss, where it is used.

    Raises:
        MissingExtraError: if it is not installed, naming the extra for this machine.
    """
    try:
        return require("faiss", "faiss-cpu")
    except MissingExtraError:
        if torch.cuda.is_available():
            return require("faiss", "faiss-gpu")
        raise


@dataclass(frozen=True)
class IndexFiles:
    """The files of one index in a store's folder; the record is written last, and until it stands there is no index.

    Attributes:
        folder: of the store.
        key: hash of what determines the index.
    """

    folder: Path
    key: str

    def path(self, ending: str) -> Path:
        """One of the files: what faiss wrote, the image of each vector, and the record of the checksums of both."""
        return self.folder / f"index-{self.key[:12]}{ending}"

    def load(self, settings: IndexSettings, say: Callable[[str], None]) -> Index | None:
        """The index, or None where it is absent or damaged.

        Checksums are compared first: faiss trusts what it reads, and a damaged file could end the process.
        """
        index, owner, record = map(self.path, ENDINGS)
        if not record.exists():
            return None
        try:
            known = files.read_json(record)
            for path in (index, owner):
                if files.checksum(path) != known[path.name]:
                    raise ValueError(f"{path.name} has another checksum")
            images = shards.map_array(owner).clone().long()
            return Index(load_faiss().read_index(str(index)), images, float(known["norm"]), settings)
        except (FileNotFoundError, KeyError, ValueError, RuntimeError) as error:
            say(f"{index} is damaged and will be built again ({error})")
            return None

    def save(self, built: Index) -> None:
        """Write the files, each whole or not at all, the record last.

        Raises:
            StoreError: if they cannot be written, such as on a full disk.
        """
        index, owner, record = map(self.path, ENDINGS)
        record.unlink(missing_ok=True)
        try:
            files.write_through(index, KEY, built.write)
        except (OSError, RuntimeError) as error:
            free = shutil.disk_usage(self.folder).free / 1e6
            raise StoreError(
                f"{index} could not be written ({free:,.0f} MB are free; {error}). Free some space, or use "
                "store.index=ivfpq, which is smaller, or store.index=null."
            ) from error
        images = files.write_array(owner, built.owner.to(torch.int32).numpy(), KEY)
        sums = {index.name: files.checksum(index), owner.name: images["blake2b"]}
        files.write_json(record, {**sums, "norm": built.norm, **built.settings.build_identity(built.rows)}, KEY)


def _built(vectors: Vectors, settings: IndexSettings, factory: str, say: Callable[[str], None]) -> Index:
    """Train on a sample and add everything, block after block."""
    if vectors.rows == 0:
        raise ConfigError("index", settings.kind, "the store holds no region to find", "Use index=null.", settings)
    needed, free = settings.bytes(vectors.rows, vectors.dim), free_memory()
    if needed > SPARE * free:
        why = f"it takes {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"
        raise ConfigError("index", settings.kind, why, "Use index=ivfpq or pq, or a larger machine.", settings)
    say(f"building a {settings.kind} index of {vectors.rows:,} vectors x {vectors.dim}: {needed / 1e6:,.1f} MB")
    faiss = load_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.index_factory(vectors.dim, factory, faiss.METRIC_INNER_PRODUCT)
    if sample := settings.sample(vectors.rows):  # at least so many vectors, of images drawn at random
        count = min(vectors.images, -(-sample * vectors.images // vectors.rows))
        drawn = torch.randperm(vectors.images, generator=generator(0, "index", "sample"))[:count].sort().values
        _train(index, settings, np.concatenate([vectors.read(some)[0].numpy() for some in _blocks(drawn, vectors)]))
    owner, norm = [], 0.0
    blocks = _blocks(torch.arange(vectors.images), vectors)
    for images in track(blocks, "index", console=Console(stderr=True), transient=True):
        rows, image = vectors.read(images)
        index.add(np.ascontiguousarray(rows.numpy()))
        owner.append(image)
        norm = max(norm, float(rows.norm(dim=1).max()) if len(rows) else 0.0)
    return Index(index, torch.cat(owner), norm, settings)


def _train(index: Faiss, settings: IndexSettings, sample: np.ndarray) -> None:
    """Learn clusters and codes; faiss is not to warn of samples whose size we have chosen."""
    if settings.clustered:
        index.cp.min_points_per_centroid = 1
    if settings.coded:
        codes = index.pq.cp
        codes.min_points_per_centroid, codes.max_points_per_centroid = 1, SAMPLE_PER_CENTRE
        codes.niter = CODE_ROUNDS
        # Ordering codes for Hamming distances, which no search here uses, takes seconds for each of the pq_m codes.
        index.do_polysemous_training = False
    index.train(sample)


def _blocks(images: Int[Tensor, " k"], vectors: Vectors) -> list[Tensor]:
    per_image = max(1.0, vectors.rows / vectors.images) * vectors.dim * 4
    return list(torch.split(images, max(1, int(BLOCK_BYTES / per_image))))


def free_memory() -> int:
    """Bytes that a process can still take, the system's file cache included."""
    return int(psutil.virtual_memory().available)
