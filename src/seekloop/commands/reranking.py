"""The choice `reranker=`: a ranking's last step, with the artifacts that it looks at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Bool, Float
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from seekloop.commands.compose import choices
from seekloop.commands.parts import build
from seekloop.contracts.cache import Cache
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.local_features import LocalFeatures
from seekloop.contracts.protocols import Collection, Descriptors
from seekloop.contracts.ranking import Ranking, Reranker
from seekloop.contracts.recipe import Recipe, settings
from seekloop.contracts.records import Example
from seekloop.extraction.features import LocalFeatureExtraction
from seekloop.extraction.graph import GraphStage
from seekloop.extraction.plan import Extraction
from seekloop.graphs.affinity import Affinity, Graph
from seekloop.graphs.neighbours import Index
from seekloop.loop.vectors import recipe_of
from seekloop.matching.instance_search import Found
from seekloop.matching.reranking import RerankerSource, Searched, Verify, steps, try_out
from seekloop.store.features import FeatureStore

Say = Callable[[str], None]


@dataclass(frozen=True)
class Reranked:
    """A search, ranked again.

    Attributes:
        found: the results.
        before: ranking of the search.
        after: ranking of the re-ranker.
        searched: the collection as it was seen.
        verification: the step that verified; None where nothing was verified.
    """

    found: Found
    before: Ranking
    after: Ranking
    searched: Searched
    verification: Verify | None

    def counted(self, relevant: Bool[Tensor, "q n"], ignored: Bool[Tensor, "q n"]) -> tuple[list[int], list[int]]:
        """Inliers of the verified images that are right, and of those that are wrong."""
        looked = torch.zeros_like(relevant)
        if self.verification is not None and self.after.inliers is not None:
            for query, images in enumerate(self.before.first(self.verification.top)):
                looked[query, images[images >= 0]] = True
        counts = torch.zeros_like(self.before.scores) if self.after.inliers is None else self.after.inliers
        right, wrong = (counts[looked & ~ignored & which].int().tolist() for which in (relevant, ~relevant))
        return right, wrong

    def agreeing(self, query: int, image: int) -> tuple[LocalFeatures, LocalFeatures]:
        """The features of an example of a query and of an image that agree, pair by pair."""
        match = self.searched.matches[query, image]
        pairs = match.verified.pairs
        return match.features.only(pairs[:, 0]), self.searched.features(image).only(pairs[:, 1])

    def pairs(self, queries: Sequence[int], paths: Sequence[str]) -> pd.DataFrame:
        """Verified pairs: a row per query and image with inliers, with the affine map in fractions of both pictures.

        Args:
            queries: number of each query in the benchmark.
            paths: of the images.
        """
        rows = []
        for (query, image), match in sorted(self.searched.matches.items()):
            one = match.verified
            map = one.between((1, 1), (1, 1))
            numbers = [float("nan")] * 6 if map is None else map.flatten().tolist()
            shown = queries[query] if match.example is None else match.example.image
            rows.append([queries[query], shown, image, paths[image], one.inliers, *one.scales, *numbers])
        names = [f"m{row}{column}" for row in range(2) for column in range(3)]
        return pd.DataFrame(
            rows, columns=["query", "example", "image", "path", "inliers", "scale_query", "scale_image", *names]
        )


@dataclass(frozen=True)
class Reranking:
    """A re-ranker that a config chooses, not yet over a collection.

    Attributes:
        source: the choice.
        extraction: of the descriptors that are searched.
        by_region: whether their regions are.
        detection: of the local features of the collection; None where nothing is verified.
        detection_of_queries: of those of a benchmark's queries; None where examples are images of the collection.
    """

    source: RerankerSource
    extraction: Extraction
    by_region: bool
    detection: LocalFeatureExtraction | None
    detection_of_queries: LocalFeatureExtraction | None

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the re-ranking: its settings, and the local features."""
        return Recipe("reranker", {"reranker": settings(self.source)}, tuple(one.recipe for one in self._detections))

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of the local features."""
        return tuple(one.folder for one in self._detections)

    @property
    def _detections(self) -> list[LocalFeatureExtraction]:
        return [one for one in (self.detection, self.detection_of_queries) if one is not None]

    def found(
        self,
        found: Found,
        descriptors: Descriptors,
        vectors: Sequence[Float[Tensor, "_ d"]],
        examples: Sequence[tuple[Example, ...]],
        say: Say,
    ) -> "Reranked":
        """The results of a search, ranked again; the regions that answered stay.

        Args:
            found: by the search.
            descriptors: that were searched.
            vectors: of each query, one or more.
            examples: pictures with the box of each query.
            say: where messages for people go.
        """
        searched = self._searched(descriptors, say)
        before = Ranking(found.scores, tuple(vectors), tuple(examples))
        after = self.source.over(searched)(before)
        return Reranked(replace(found, scores=after.scores), before, after, searched, self.verification)

    def over(self, descriptors: Descriptors, say: Say) -> Reranker:
        """The re-ranker over described images; local features that are missing are detected first.

        Args:
            descriptors: that are searched.
            say: where messages for people go.

        Raises:
            ConfigError: if it cannot rank this collection.
        """
        return self.source.over(self._searched(descriptors, say))

    @property
    def verification(self) -> Verify | None:
        """The step that verifies; None without."""
        return next((one for one in steps(self.source) if isinstance(one, Verify)), None)

    def _searched(self, descriptors: Descriptors, say: Say) -> Searched:
        """The collection, with its local features and its graph."""
        features = None if self.detection is None else self.detection.ensure(say)
        asked = None if self.detection_of_queries is None else self.detection_of_queries.ensure(say)

        def of(image: int) -> LocalFeatures:
            if features is None:
                raise ValueError("no local features were asked for")
            return features.of(image)

        example = partial(_inside, of if asked is None else asked.of)
        weights = partial(self._weights, descriptors, say)
        return Searched(descriptors, self.by_region, weights, of, example, torch.get_num_threads())

    def _weights(self, descriptors: Descriptors, say: Say, graph: Graph, index: Index) -> Affinity:
        """Weights of the graph of the descriptors, an artifact."""
        name = self.extraction.collection.name
        recipe = recipe_of(descriptors, self.extraction.plan.recipe(self.by_region))
        stage = GraphStage(
            descriptors, recipe, graph, self.extraction.store_dir, self.by_region, index=index, name=name
        )
        return stage.ensure(say).weights


def reranking_of(
    config: DictConfig, extraction: Extraction, by_region: bool, queries: Collection | None = None
) -> Reranking | None:
    """The re-ranking of a config; None for `reranker=none`.

    Args:
        config: of a search.
        extraction: of the descriptors that are searched.
        by_region: whether their regions are.
        queries: images with the examples of a benchmark; None where examples are images of the collection.

    Raises:
        ConfigError: if the choice cannot work.
    """
    source: RerankerSource | None = build(config, "reranker")
    if source is None:
        return None
    try_out(source, by_region)
    if not any(isinstance(one, Verify) for one in steps(source)):
        return Reranking(source, extraction, by_region, None, None)
    detect = partial(
        build(config, "features"),
        backbone=extraction.backbone,
        store_dir=extraction.store_dir,
        trainer=extraction.trainer,
    )
    database = detect(collection=extraction.collection)
    asked = None if queries is None else detect(collection=queries, role="query", measured_on=extraction.collection)
    return Reranking(source, extraction, by_region, database, asked)


def refuse_reranker(config: DictConfig, why: str) -> None:
    """Refuse a re-ranker where nothing would read it.

    Raises:
        ConfigError: unless `reranker=none`.
    """
    if OmegaConf.select(config, "reranker._target_") is not None:
        raise ConfigError("reranker", choices().get("reranker"), why, "Use reranker=none.")


def reranker_over(config: DictConfig, descriptors: Descriptors, say: Say) -> Reranker | None:
    """The re-ranker of a config over descriptors that are there already; None for `reranker=none`.

    Its graph is kept in memory. Local features are those of the images, if whoever opened the descriptors knows them.

    Raises:
        ConfigError: if the choice cannot work, or features are asked for and the images are not known.
    """
    source: RerankerSource | None = build(config, "reranker")
    if source is None:
        return None
    try_out(source, by_region=False)
    collection: Collection | None = getattr(descriptors, "collection", None)
    features: FeatureStore | None = None
    if any(isinstance(one, Verify) for one in steps(source)):
        if collection is None:
            why = "local features are detected in images, and these descriptors know none"
            raise ConfigError("reranker", "spatial", why, "Describe the images with seekloop.describe first.")
        network, trainer = build(config, "backbone"), build(config, "trainer")
        known = {"collection": collection, "backbone": network, "store_dir": config.store_dir, "trainer": trainer}
        features = build(config, "features")(**known).ensure(say)

    def of(image: int) -> LocalFeatures:
        if features is None:
            raise ValueError("no local features were asked for")
        return features.of(image)

    def weights(graph: Graph, index: Index) -> Affinity:
        del index  # of descriptors in memory the neighbours are exact
        key = graph.neighbours, graph.kind, graph.power, graph.clamp
        return cache.once(key, lambda: graph.weights(read_global(descriptors)))

    cache = Cache()
    example = partial(_inside, of)
    return source.over(Searched(descriptors, False, weights, of, example, torch.get_num_threads()))


def read_global(descriptors: Descriptors) -> Float[Tensor, "n d"]:
    """Global descriptors of all images."""
    return descriptors.read(torch.arange(descriptors.images), local=False).global_


def _inside(of: Callable[[int], LocalFeatures], one: Example) -> LocalFeatures:
    """Local features of an example, inside its box."""
    found = of(one.image)
    return found if one.box is None else found.inside(one.box.double().numpy())
