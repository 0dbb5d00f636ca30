"""Re-rankers: query expansion, spatial verification, diffusion, and one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.local_features import LocalFeatures
from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.ranking import Ranking, Reranker
from seekloop.contracts.records import Example, Regions
from seekloop.graphs.affinity import Affinity, Graph, normalised
from seekloop.graphs.diffusion import (
    Diffusion,
    democratic,
    of_images,
    start_from_neighbours,
    start_from_verified,
)
from seekloop.graphs.neighbours import Index
from seekloop.matching.expansion import Augmented, Expansion
from seekloop.matching.instance_search import search
from seekloop.matching.spatial import SpatialMatching, Verified, verify_all
from seekloop.store.arrays import ArrayDescriptors


@dataclass(frozen=True)
class Match:
    """Agreement of an image with an example of a query.

    Attributes:
        example: picture with the object; None where an image of the ranking stood in for one.
        features: local features of the example.
        verified: inliers and map, from the example to the image.
    """

    example: Example | None
    features: LocalFeatures
    verified: Verified


@dataclass(frozen=True)
class Searched:
    """A collection as re-rankers see it.

    Attributes:
        descriptors: of its images.
        by_region: whether queries are compared with the regions of images, and not with global descriptors.
        weights: weights of the k-NN graph of the descriptors (of the regions, with `by_region`), not normalised, its
            neighbours found exactly or by an index.
        features: local features of an image of the collection.
        example: local features of an example, inside its box.
        threads: that may compute; no result depends on it.
        matches: of each query and image with inliers the example that agrees best, and how; `Verify` fills it.
    """

    descriptors: Descriptors
    by_region: bool
    weights: Callable[[Graph, Index], Affinity]
    features: Callable[[int], LocalFeatures]
    example: Callable[[Example], LocalFeatures]
    threads: int = 1
    matches: dict[tuple[int, int], "Match"] = field(default_factory=dict)

    @cached_property
    def vectors(self) -> tuple[Float[Tensor, "v d"], Int[Tensor, " v"]]:
        """The vectors that queries are compared with, and the image that each is from."""
        images = torch.arange(self.descriptors.images)
        block = self.descriptors.read(images, local=self.by_region)
        return (block.global_, images) if block.local is None else (block.local, block.owner)


@runtime_checkable
class RerankerSource(Protocol):
    """A choice of re-ranker, `conf/reranker/*.yaml`."""

    def over(self, searched: Searched) -> Reranker:
        """The re-ranker of one collection.

        Raises:
            ConfigError: if it cannot rank this collection.
        """
        ...


def _require_verified(ranking: Ranking, argument: str, part: object) -> None:
    """Refuse to go by verified images where nothing was verified."""
    if ranking.inliers is None:
        fix = "Choose reranker=spatial_diffusion or spatial_expansion, which verify first."
        raise ConfigError(argument, "verified", "nothing was verified before", fix, part)


@component
class Expand(Expansion):
    """Re-ranker: search again with expanded queries; settings as in `Expansion`, and these.

    Args:
        source: images that a query takes: top, those that rank first; verified, those with inliers, most of them first,
            after a `Verify`. A query without any stays as it is.
        augmented: neighbours by which each image of the database is expanded as well; 0: none.
    """

    source: Literal["top", "verified"] = "top"
    augmented: Annotated[int, Ge(0)] = 0

    def over(self, searched: Searched) -> Reranker:
        """Query expansion of global descriptors."""
        if searched.by_region:
            why, fix = "it expands global descriptors, and regions are searched", "Use search.against=whole."
            raise ConfigError("neighbours", self.neighbours, why, fix, self)
        descriptors = searched.descriptors
        if self.augmented:
            descriptors = Augmented(descriptors, Expansion(self.augmented, self.alpha))

        def expand(ranking: Ranking) -> Ranking:
            queries = torch.cat([F.normalize(one.mean(dim=0, keepdim=True), dim=1) for one in ranking.vectors])
            similarity = search(descriptors, queries, by_region=False).scores
            if self.source == "verified":
                _require_verified(ranking, "source", self)
                taken = verified_first(ranking)
            else:
                taken = [[image for image in row if image >= 0] for row in ranking.first(self.neighbours).tolist()]
            scores = self(queries, descriptors, similarity, taken)
            return replace(ranking, scores=scores.masked_fill(ranking.scores == -torch.inf, -torch.inf))

        return expand


def verified_first(ranking: Ranking) -> list[list[int]]:
    """Images of each query that have inliers, most inliers first, of equal ones as they rank."""
    if ranking.inliers is None:
        raise ValueError("nothing was verified")
    ranked = []
    for images, inliers in zip(ranking.first(ranking.scores.shape[1]).tolist(), ranking.inliers, strict=True):
        found = [image for image in images if image >= 0 and inliers[image] > 0]
        ranked.append(sorted(found, key=lambda image, count=inliers: -float(count[image])))  # type: ignore[misc]
    return ranked


@component
class Verify(SpatialMatching):
    """Re-ranker: verify the first images of a ranking spatially; settings as in `SpatialMatching`, and these.

    The first `top` images are ordered by the number of inliers, equals as they ranked before. A query of several
    examples is matched with each, and the most inliers count.

    Args:
        top: images that are verified.
        examples: of a query, most that are matched, its own first.
        pseudo: images of the ranking that stand in for the example of a query that has none, a text; 0: such queries
            keep their ranking.

    Reference:
        Siméoni et al., "Local Features and Visual Words Emerge in Activations", CVPR 2019, section 3.6 and 4.1.
    """

    top: Count = 100
    examples: Count = 10
    pseudo: Annotated[int, Ge(0)] = 1

    def over(self, searched: Searched) -> Reranker:
        """Spatial verification over the local features of a collection."""

        def verified(ranking: Ranking) -> Ranking:
            searched.matches.clear()
            inliers, order = torch.zeros_like(ranking.scores), []
            for query, images in enumerate(ranking.first(self.top)):
                images = images[images >= 0]
                inliers[query, images] = self._inliers(ranking, searched, query, images).to(inliers)
                order.append(images[inliers[query, images].argsort(descending=True, stable=True)])
            return replace(ranking.reordered(order), inliers=inliers)

        return verified

    def _inliers(
        self, ranking: Ranking, searched: Searched, query: int, images: Int[Tensor, " k"]
    ) -> Float[Tensor, " k"]:
        """The most inliers of each image with any example of a query."""
        examples: list[Example | None] = list(ranking.examples[query][: self.examples])
        shown = [searched.example(one) for one in examples if one is not None]
        if not shown:
            shown = [searched.features(image) for image in images[: self.pseudo].tolist()]
            examples = [None] * len(shown)
        candidates = [searched.features(image) for image in images.tolist()]
        found = torch.zeros(len(shown) or 1, len(images))
        for row, (example, features) in enumerate(zip(examples, shown, strict=True)):
            matches = verify_all(features, candidates, self, searched.threads)
            found[row] = torch.tensor([one.inliers for one in matches], dtype=torch.float32)
            for image, best, one in zip(images.tolist(), found.amax(dim=0).tolist(), matches, strict=True):
                known = searched.matches.get((query, image))
                if one.inliers == best > (0 if known is None else known.verified.inliers):
                    searched.matches[query, image] = Match(example, features, one)
        return found.amax(dim=0)


@component
class Diffuse(Diffusion):
    """Re-ranker: spread similarities over the graph of the collection; settings as in `Diffusion`, and these.

    Images that nothing reaches come last, in the order that they had.

    Args:
        start: neighbours, a query starts from the vectors most similar to its own; verified, from the images with the
            most inliers, after a `Verify`, or as before where no image has any.
        verified: images that start can take by their inliers.
        best: of these, those that start, by inliers times similarity; the released code takes 4.
        index: flat, neighbours of the graph are exact; ivf or hnsw, by an index of faiss, whose recall is told.

    Reference:
        As of `Diffusion`; the start from verified images: thesis, section 4.4.1.
    """

    start: Literal["neighbours", "verified"] = "neighbours"
    verified: Count = 10
    best: Count = 5
    index: Index = "flat"

    def over(self, searched: Searched) -> Reranker:
        """Diffusion over the graph of a collection."""
        if searched.by_region and self.start == "verified":
            why, fix = "verified images start global diffusion only", "Use search.against=whole."
            raise ConfigError("start", self.start, why, fix, self)
        known = Graph(self.neighbours, self.kind, self.power, self.clamp)

        def diffuse(ranking: Ranking) -> Ranking:
            weights = searched.weights(known, self.index)
            vectors, image = searched.vectors
            owner = torch.repeat_interleave(
                torch.arange(len(ranking.vectors)), torch.tensor([len(one) for one in ranking.vectors])
            )
            unreadable = ~searched.descriptors.readable[image]
            near = (torch.cat(ranking.vectors).float() @ vectors.T).masked_fill(unreadable, -torch.inf)
            queries = torch.stack([near[owner == query].amax(dim=0) for query in range(len(ranking.vectors))])
            spread = self.rank(normalised(weights), self._start(ranking, near, owner, queries), queries, weights)
            if searched.by_region:
                spread = of_images(spread, image, searched.descriptors.images, democratic(vectors, image))
            return replace(ranking, scores=behind(spread.T.float(), ranking.scores))

        return diffuse

    def _start(
        self, ranking: Ranking, near: Float[Tensor, "v r"], owner: Int[Tensor, " v"], queries: Float[Tensor, "q r"]
    ) -> Float[Tensor, "r q"]:
        """The start of every query."""
        count = len(ranking.vectors)
        nearest = start_from_neighbours(near, owner, count, self.neighbours, self.query_neighbours, self.power).to(near)
        if self.start == "neighbours":
            return nearest
        _require_verified(ranking, "start", self)
        inliers = torch.zeros_like(ranking.scores) if ranking.inliers is None else ranking.inliers
        verified = start_from_verified(queries, inliers, self.verified, self.best).to(near)
        return torch.where((verified > 0).any(dim=0), verified, nearest)


def behind(scores: Float[Tensor, "q n"], before: Float[Tensor, "q n"]) -> Float[Tensor, "q n"]:
    """New scores, where they are above 0; the other images behind these, in the order of their earlier scores.

    Example:
        >>> behind(torch.tensor([[0.0, 0.2, 0.0]]), torch.tensor([[0.5, 0.1, 0.9]]))
        tensor([[-1.4000,  0.2000, -1.0000]])
    """
    finite = before.masked_fill(before.isinf(), torch.nan)
    last = before - finite.nan_to_num(nan=-torch.inf).amax(dim=1, keepdim=True).nan_to_num(neginf=0.0) - 1
    return torch.where((scores > 0) & before.isfinite(), scores, last)


@dataclass(frozen=True)
class InTurn:
    """Re-ranker: one, then another over what it made, such as verification and then diffusion.

    Args:
        first: re-ranker of the first ranking.
        then: re-ranker of what the first made.
    """

    first: Any
    then: Any

    def over(self, searched: Searched) -> Reranker:
        """Both, over one collection."""
        first, then = self.first.over(searched), self.then.over(searched)
        return lambda ranking: then(first(ranking))


def try_out(source: RerankerSource, by_region: bool) -> None:
    """Let a choice rank three images in the small, where a fault costs nothing yet.

    Raises:
        ConfigError: as of the choice.
    """
    rows = torch.eye(3)
    descriptors = ArrayDescriptors(rows, rows, Regions(torch.tensor([WHOLE_IMAGE]), None))
    nothing = LocalFeatures.none(np.ones((1, 2), dtype=np.int64))
    searched = Searched(
        descriptors, by_region, lambda graph, _: graph.weights(rows), lambda _: nothing, lambda _: nothing
    )
    source.over(searched)(Ranking(rows[:1], (rows[:1],), ((Example(0),),)))


def steps(source: object) -> Sequence[object]:
    """The re-rankers that a choice holds, in turn."""
    return [*steps(source.first), *steps(source.then)] if isinstance(source, InTurn) else [source]
