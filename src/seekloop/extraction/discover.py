"""Objects discovered in a collection: salient regions of all images, their graph, then the regions that recur."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.discovery import RegionGraph
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Recipe, settings
from seekloop.descriptors.roi import pooled
from seekloop.descriptors.saliency import ObjectSaliency
from seekloop.descriptors.whitening import Whitening, learn_whitening
from seekloop.extraction.detect import Detection
from seekloop.extraction.salient import FeatureSalient, ObjectSalient
from seekloop.extraction.whitening import open_whitening
from seekloop.graphs.affinity import Graph, between_images
from seekloop.graphs.centrality import Measure, centrality
from seekloop.regions.detected import Detected, Feature
from seekloop.regions.egm import Egm
from seekloop.regions.parts import Say
from seekloop.store.discovery import keep_graph, kept_graph
from seekloop.store.found import FoundRegions
from seekloop.store.manifest import store_folder

ROWS_PER_DIM = 8  # regions for each dimension of a whitening that is learnt on them


@component
class Discovered(Detected):
    """Regions of salient objects: FS.EGM, salient in the image alone, or OS.EGM, those that recur in the collection.

    OS.EGM takes the regions of FS.EGM in all images as the vertices of a k-NN graph; a cell of an image is then salient
    as far as its patch is like regions that are central in the graph.

    Args:
        detector: FS.EGM, see `FeatureSalient`; also of the first regions of OS.EGM.
        saliency: object, OS.EGM; feature, FS.EGM, for which only the arguments of `Detected` count.
        scales: sizes, relative to `longest` and `shortest`, at which the regions of the graph are looked for.
        graph: the k-NN graph of regions.
        same_image: whether regions of one image are joined like any others.
        centrality: of its vertices: degree, eigenvector, pagerank, katz, betweenness, closeness or harmonic.
        learn: whitening of regions and patches: none, vectors stay as they are; pca, learnt on the regions.
        dims: dimensions of the whitening that is learnt; None: at most as many as an eighth of the regions. Whitened in
            as many dimensions as there are regions, no two are alike, and the graph has no edges.
        whitening: learnt elsewhere, on vectors of the same map pooled in the same way, in place of `learn`: itself, or
            the folder in which a run has kept it; None: none.
        objects: object saliency by that graph.
        mixture: finds regions in it.

    The other arguments are those of `Detected`. Maps are some 3 MB an image; with keep=() they are not kept, and the
    network runs three times.

    Raises:
        ConfigError: if the detector has no feature saliency, or a network of one size is to see several.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, chapter 5.
    """

    keep: Sequence[Feature] = ("tokens",)
    shortest: Count = 64
    longest: Count = 64
    enlarge: bool = False
    saliency: Literal["object", "feature"] = "object"
    scales: Sequence[Positive] = (1.0,)
    graph: Graph = Graph()
    same_image: bool = True
    centrality: Measure = "katz"
    learn: Literal["none", "pca"] = "none"
    dims: Count | None = None
    whitening: Whitening | Path | str | None = None
    objects: ObjectSaliency = ObjectSaliency()
    mixture: Egm = Egm(power=2.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.salient
        if not self.scales:
            raise ConfigError("scales", self.scales, "the graph would have no regions", "Use [1.0].", self)
        if self.shape == "backbone" and list(self.scales) != [1.0]:
            why = "with shape=backbone all images have one size"
            raise ConfigError("scales", self.scales, why, "Use [1.0], or shape=own.", self)

    @property
    def salient(self) -> FeatureSalient:
        """FS.EGM, the detector.

        Raises:
            ConfigError: if it is another one.
        """
        if isinstance(self.detector, FeatureSalient):
            return self.detector
        name = type(self.detector).__name__
        raise ConfigError("detector", name, "it has no feature saliency", "Use detector@regions.detector=egm.", self)

    @cached_property
    def given(self) -> Whitening | None:
        """The whitening that was learnt elsewhere, read from its folder if need be.

        Raises:
            StoreError: if there is none, or it is damaged.
        """
        return open_whitening(self.whitening) if isinstance(self.whitening, Path | str) else self.whitening

    def detected(self, **changes: object) -> Detected:
        """The part that says how a detector sees the images, without cells."""
        known = {one.name: getattr(self, one.name) for one in fields(Detected)}
        return Detected(**{**known, "cells": None, **changes})


@component
class SecondLook(Detection):
    """A stage: regions that depend on a graph of all images besides their own.

    Attributes:
        graph: the recipe of that graph.
    """

    graph: Recipe = field(default_factory=lambda: Recipe("discovery", {}))

    def recipe(self, collection: Collection) -> Recipe:
        """Recipe of the detector's regions; the graph is one of its inputs."""
        known = super().recipe(collection)
        return Recipe(known.kind, known.settings, (*known.inputs, self.graph))


@component
class Discovery(Detection):
    """A stage: salient objects of a collection, and their graph, in folders below the stores.

    Attributes:
        regions: the choices.
        store_dir: as in `Detection`.
        trainer: as in `Detection`.
    """

    regions: Discovered

    @cached_property
    def first(self) -> list[Detection]:
        """FS.EGM at each scale."""
        chosen, looks = self.regions, []
        for scale in chosen.scales:
            sizes = {name: max(1, round(getattr(chosen, name) * scale)) for name in ("shortest", "longest")}
            looks.append(Detection(chosen.detected(**sizes), self.store_dir, self.trainer))
        return looks

    def recipe(self, collection: Collection) -> Recipe:
        """Recipe of the regions: of OS.EGM one that any other image changes."""
        if self.regions.saliency == "feature":
            return super().recipe(collection)
        return self._second(collection).recipe(collection)

    def recipe_of_graph(self, collection: Collection) -> Recipe:
        """Recipe of the graph of regions. No graph of other images can be taken over."""
        chosen = self.regions
        known = {
            "images": collection.fingerprint(),
            "p": chosen.objects.p,
            "graph": settings(chosen.graph),
            "same_image": chosen.same_image,
            "centrality": chosen.centrality,
            "learn": chosen.learn,
            "dims": chosen.dims,
            "whitening": settings(chosen.given),
        }
        return Recipe("discovery", known, tuple(look.recipe(collection) for look in self.first))

    def folder_of_graph(self, collection: Collection) -> Path:
        """Where the graph lies, or will."""
        return self._folder(collection, "discovery", self.recipe_of_graph(collection))

    def detector(self, collection: Collection) -> ObjectSalient:
        """OS.EGM of maps of this collection's images, or of new ones, once the graph is there."""
        chosen = self.regions
        return ObjectSalient(chosen.salient, chosen.objects, chosen.mixture, self.folder_of_graph(collection))

    def _second(self, collection: Collection) -> SecondLook:
        looked = self.regions.detected(detector=self.detector(collection))
        return SecondLook(looked, self.store_dir, self.trainer, self.recipe_of_graph(collection))

    def found(self, collection: Collection, say: Say) -> FoundRegions:
        """The regions of a collection, without cells and whole images; looked for if they have to be.

        Raises:
            StoreError: if the disk is full or a file is damaged.
        """
        if self.regions.saliency == "feature":
            return super().found(collection, say)
        second = self._second(collection)
        if not store_folder(second.folder(collection)).finished:
            self.discovered(collection, say)
        return second.found(collection, say)

    def discovered(self, collection: Collection, say: Say) -> RegionGraph:
        """The graph of regions of a collection, made if it is not there.

        Raises:
            StoreError: if the disk is full or a file is damaged.
        """
        folder = self.folder_of_graph(collection)
        artifact = store_folder(folder)
        if artifact.finished:
            artifact.used()
            return kept_graph(folder)
        with artifact.claim(None, say, "joining regions in"):
            if not artifact.finished:
                graph, weights = self._joined(collection, say)
                say(f"a graph of {len(graph.vectors):,} regions and {weights.nnz // 2:,} edges: {folder}")
                if weights.nnz < len(graph.vectors):
                    say(
                        "warning: most regions have no neighbour in it, so that centrality says little: try "
                        "regions.learn=none, or more regions.graph.neighbours"
                    )
                keep_graph(folder, self.recipe_of_graph(collection), graph, weights)
        return kept_graph(folder)

    def _joined(self, collection: Collection, say: Say) -> tuple[RegionGraph, sparse.csr_array]:
        """Regions at all scales, their vectors, their graph and their centrality."""
        regions = [self._regions(look, collection, say) for look in self.first]
        every = Vertices(*(torch.cat([getattr(one, name) for one in regions]) for name in Vertices.columns()))
        return joined(every, self.regions)

    def _regions(self, look: Detection, collection: Collection, say: Say) -> "Vertices":
        """The regions at one scale with their vectors."""
        found = look.found(collection, say)
        counts = found.offsets.diff()
        owner = torch.arange(len(counts)).repeat_interleave(counts)
        vectors = PoolRegions(found, self.regions.objects.p)
        images = counts.nonzero()[:, 0].tolist()
        if images:
            look.show(collection, images, vectors)
        pools = [vectors.of[image] for image in images]
        rows = torch.cat(pools) if pools else torch.zeros(0, self.regions.backbone.dim)
        return Vertices(rows, found.score, owner, found.boxes)


@dataclass(frozen=True)
class Vertices:
    """Regions of all images: pooled vectors, mean feature saliency, image and box of each."""

    pooled: Float[Tensor, "v d"]
    saliency: Float[Tensor, " v"]
    image: Int[Tensor, " v"]
    box: Float[Tensor, "v 4"]

    @staticmethod
    def columns() -> Sequence[str]:
        """Names of the columns."""
        return [one.name for one in fields(Vertices)]


def joined(regions: Vertices, how: Discovered) -> tuple[RegionGraph, sparse.csr_array]:
    """Whiten the vectors of regions, join each with its nearest, and measure how central each is.

    Returns:
        The vertices, and the weights W of the edges.
    """
    unit, dims = F.normalize(regions.pooled, dim=1), regions.pooled.shape[1]
    if how.given is not None:
        whitening = how.given
    elif len(unit) and how.learn == "pca":
        whitening = learn_whitening(unit, how.dims or max(1, min(dims, len(unit) // ROWS_PER_DIM)))
    else:
        whitening = Whitening(torch.zeros(dims, dtype=torch.float64), None)
    vectors = whitening.unit(unit)
    weights, u = sparse.csr_array((0, 0), dtype=float), torch.zeros(0, dtype=torch.float64)
    if len(vectors):
        weights = how.graph.weights(vectors)
        weights = weights if how.same_image else between_images(weights, regions.image)
        u = centrality(weights, how.centrality, features=vectors)
    columns = (vectors, regions.saliency, u, regions.image, regions.box)
    return RegionGraph(*columns, whitening.mean, whitening.axes), weights


def most_central(centrality: Float[Tensor, " v"], weights: sparse.csr_array, count: int) -> list[int]:
    """The most central vertices no two of which are joined, so that each shows something else.

    Args:
        centrality: of every vertex; of equal ones the first comes first.
        weights: of the edges.
        count: how many at most.

    Example:
        >>> chain = sparse.csr_array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> most_central(torch.tensor([0.5, 1.0, 0.7]), chain, 2), most_central(torch.tensor([1.0, 0.8, 0.7]), chain, 2)
        ([1], [0, 2])
    """
    chosen: list[int] = []
    told = torch.zeros(len(centrality), dtype=torch.bool)
    for vertex in centrality.argsort(descending=True, stable=True).tolist():
        if len(chosen) == count:
            break
        if not told[vertex]:
            chosen.append(vertex)
            told[torch.from_numpy(weights.indices[weights.indptr[vertex] : weights.indptr[vertex + 1]]).long()] = True
    return chosen


def region_vectors(tokens: Float[Tensor, "h w d"], masks: Bool[Tensor, "m h w"], p: float) -> Float[Tensor, "m d"]:
    """Pool the cells of each region by the generalised mean, eq. 5.10; values below 0 count as 0."""
    weights = masks.flatten(1).double()
    return pooled(tokens.clamp(min=0).flatten(0, 1), weights / weights.sum(dim=1, keepdim=True), "gem", p, None)


class PoolRegions(pl.Callback):
    """Collects the vectors of all regions, image by image, from the maps that come by.

    Attributes:
        of: vectors of the regions of an image.
    """

    def __init__(self, found: FoundRegions, p: float) -> None:
        self.found, self.p = found, p
        self.of: dict[int, Tensor] = {}

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Pool the regions of one image."""
        image = int(outputs.image)
        self.of[image] = region_vectors(outputs.map.float().cpu(), self.found.masks(image), self.p)
