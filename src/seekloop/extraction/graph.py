"""The graph of a collection: a stage from descriptors to the k-NN graph of its images, or of all their regions."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.artifacts.shards import Batches
from seekloop.contracts.declared import component
from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import Recipe, settings
from seekloop.graphs.affinity import Affinity, Graph, between_images, joined, normalised
from seekloop.graphs.neighbours import Index, lookup, others, recall
from seekloop.regions.parts import Say
from seekloop.store import graph as files_of_graphs
from seekloop.store.graph import StoredGraph
from seekloop.store.manifest import folder_name, store_folder

READ = 2**14  # images read at once
BLOCK = 2**13  # vertices whose neighbours are kept on disk together
SAMPLE = 500  # vertices on which recall is measured


@dataclass(frozen=True)
class CollectionGraph:
    """The finished graph of a collection.

    Attributes:
        stored: its weights, and which image each vertex is from.
    """

    stored: StoredGraph

    @property
    def weights(self) -> Affinity:
        """W, as they are."""
        return self.stored.weights

    @property
    def image(self) -> Int[Tensor, " v"]:
        """Image of each vertex."""
        return self.stored.image

    @cached_property
    def normalised(self) -> Affinity:
        """The normalised weights."""
        return normalised(self.stored.weights)


@component
class GraphStage:
    """A stage: the k-NN graph of a collection's descriptors, in a folder of its own below the stores.

    Memory holds one copy of the descriptors in float32, and the lists of neighbours. Neighbours of a block of vertices
    are kept as soon as they are found, so that a stopped computation goes on.

    Args:
        descriptors: the collection.
        recipe: of the descriptors.
        graph: settings of the graph.
        store_dir: folder of all stores.
        regions: whether vertices are the regions of all images, one image after the other; else the images.
        within_images: whether regions of one image may be joined, as the thesis leaves it; their lists are the same.
        index: flat: exact neighbours; ivf or hnsw: by an index of faiss, whose recall is measured on a sample.
        name: of the collection, which the folder's name begins with.
    """

    descriptors: Descriptors
    recipe: Recipe
    graph: Graph = Graph()
    store_dir: Path | str = "stores"
    regions: bool = False
    within_images: bool = True
    index: Index = "flat"
    name: str = "collection"

    @property
    def settings_of_graph(self) -> Graph:
        """The settings that a graph knows, without what a part built on it adds."""
        return Graph(self.graph.neighbours, self.graph.kind, self.graph.power, self.graph.clamp)

    @property
    def made_of(self) -> Recipe:
        """Recipe of the graph."""
        vertices = "regions" if self.regions else "images"
        known = {"graph": settings(self.settings_of_graph), "vertices": vertices, "index": self.index}
        if self.regions:
            known["within_images"] = self.within_images
        return Recipe("graph", known, (self.recipe,))

    @property
    def folder(self) -> Path:
        """Folder of the graph."""
        return Path(self.store_dir) / folder_name(self.name, "graph", self.made_of.key)

    def ensure(self, say: Say) -> CollectionGraph:
        """The finished graph; computed first where it is missing.

        Any number of processes may ask for the same graph at once: one computes, the others wait for it.

        Args:
            say: where messages for people go.

        Raises:
            StoreError: if the disk is full or a file is damaged.
        """
        folder = self.folder
        artifact = store_folder(folder)
        if artifact.finished:
            artifact.used()
        else:
            with artifact.claim(lambda: f"the neighbours found so far are kept in {folder}", say, "joining"):
                if not artifact.finished:
                    self._join(folder, say)
        return CollectionGraph(files_of_graphs.read_graph(folder))

    def _join(self, folder: Path, say: Say) -> None:
        """Find all neighbours, and write the graph that they make."""
        kept = files_of_graphs.begin(folder, self.made_of)
        rows, image = self._vertices()
        similarity, position = self._lists(kept, rows, say)
        share = self._recall(rows, position, say)
        weights = joined(similarity, position, self.graph.kind, self.graph.power, self.graph.clamp)
        if self.regions and not self.within_images:
            weights = between_images(weights, image)
        alone = int((np.diff(weights.indptr) == 0).sum())
        say(f"{weights.nnz // 2:,} edges, {alone:,} of {len(rows):,} without any")
        files_of_graphs.finish(folder, weights, image, share)

    def _lists(
        self, kept: Batches, rows: Float[Tensor, "v d"], say: Say
    ) -> tuple[Float[Tensor, "v k"], Int[Tensor, "v k"]]:
        """Similarities and positions of all vertices' neighbours, block by block; those found before are read."""
        size, k = len(rows), self.graph.neighbours
        spans = [(first, min(first + BLOCK, size)) for first in range(0, size, BLOCK)]
        there = kept.check(0, spans)
        done = f" ({sum(end - first for first, end in there):,} are done already)" if there else ""
        say(f"joining {size:,} {'regions' if self.regions else 'images'} to their {k} nearest{done}: {self.folder}")
        if k >= size - 1 > 0:
            say(f"all {size:,} are neighbours of each other: fewer than {size - 1} make a graph that tells more")
        if len(there) < len(spans):
            find = lookup(rows, self.index)
            for first, end in (span for span in spans if span not in there):
                similarity, position = others(find, rows, first, end, k)
                kept.keep(0, (first, end), {"similarity": similarity.numpy(), "position": position.numpy()})
        width = max(0, min(k, size - 1))
        found = torch.zeros(size, width), torch.zeros(size, width, dtype=torch.long)
        for first, end in spans:
            lists = kept.read(0, (first, end))
            found[0][first:end] = torch.from_numpy(lists["similarity"])
            found[1][first:end] = torch.from_numpy(lists["position"])
        return found

    def _vertices(self) -> tuple[Float[Tensor, "v d"], Int[Tensor, " v"]]:
        """Vectors of all vertices, of unit length, and the image that each is from."""
        images, regions = self.descriptors.images, self.descriptors.regions
        each = len(regions.boxes)
        size = images if not self.regions else images * each if regions.offsets is None else int(regions.offsets[-1])
        rows, image = torch.zeros(size, self.descriptors.dim), torch.zeros(size, dtype=torch.long)
        first = 0
        for some in torch.split(torch.arange(images), READ):
            block = self.descriptors.read(some, local=self.regions)
            local = block.local if self.regions else None
            found, owner = (block.global_, some) if local is None else (local, some[block.owner])
            rows[first : first + len(found)], image[first : first + len(found)] = F.normalize(found, dim=1), owner
            first += len(found)
        return rows, image

    def _recall(self, rows: Float[Tensor, "v d"], position: Int[Tensor, "v k"], say: Say) -> float:
        """Share of the exact neighbours that the index found."""
        if self.index == "flat":
            return 1.0
        sample = torch.randperm(len(rows), generator=generator(0, "recall"))[:SAMPLE]
        found = recall(rows, position[sample], sample)
        say(f"index={self.index} found {found:.1%} of the nearest neighbours of {len(sample):,} of them")
        return found
