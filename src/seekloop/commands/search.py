"""`seekloop search`: search of query boxes, or of words, over a collection, from images to rankings with boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pandas as pd
import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from seekloop.commands.compose import choices
from seekloop.commands.extract import described, prepare, report_collection, report_problems
from seekloop.commands.parts import build
from seekloop.commands.recipes import instance_search
from seekloop.commands.reranking import Reranked, reranking_of
from seekloop.commands.task import Outcome, Run, Task, refuse, section
from seekloop.commands.texts import check_space, encoder_of
from seekloop.commands.whitening import refuse_whitening, whitening_of
from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.protocols import Collection, Descriptors
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import Example
from seekloop.descriptors.encoding import FromCrops
from seekloop.descriptors.pooling import Mean
from seekloop.descriptors.roi import FromRegions
from seekloop.descriptors.whitening import Whitened
from seekloop.extraction.describe import ensure
from seekloop.extraction.plan import Extraction
from seekloop.extraction.texts import recipe_of_texts, text_vectors
from seekloop.images.crops import Crops
from seekloop.images.joined import join_queries
from seekloop.matching.cross_matching import cross_match
from seekloop.matching.instance_search import GLOBAL, Against, Found, compare
from seekloop.protocol.instance_measures import SearchMeasures
from seekloop.protocol.kinds import INSTANCES
from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.store.reader import open_store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from seekloop.logs.pictures import Box

MATCHES = 4  # pairs of images that are drawn with the features that agree


@component
class Settings:
    """Numbers of an instance search, or of a search by words.

    Args:
        words: text query in place of the queries of `instances`: words, and paths of images, with weights. `query`,
            `join` and `cutoffs` are not read then.
        query: source of the query's one vector: its box on the map of its whole image (the code released with
            CLAID); the box cut out and described alone (CLAID's text); all of the image; or the regions of the box
            cut out, each of which looks for its best counterpart among an image's regions (R-Match).
        against: an image scores as its best region, by its global descriptor, or as the best of both. Queries cut
            out, and whole images, are pooled over their whole map as those are that they are searched against.
        join: whether all queries of one instance are joined into one, whose vector is the mean of theirs.
        cutoffs: mAP is measured within the first so many images, and over the whole ranking. With feedback this,
            `kept` and `shown` are not read.
        kept: images of each query's ranking that are kept.
        shown: instances in the picture of results; of words, rows of images.

    Raises:
        ConfigError: if an argument is out of its range.
    """

    words: str | None = None
    query: Literal["region", "crop", "image", "regions"] = "region"
    against: Against = "regions"
    join: bool = False
    cutoffs: tuple[Count, ...] = (50, 100)
    kept: Count = 100
    shown: Annotated[int, Ge(0)] = 8

    def __post_init__(self) -> None:
        if self.query == "regions" and (self.against != "regions" or self.join):
            why = "regions of a query are compared with regions, and not joined"
            raise ConfigError("query", self.query, why, "Use search.against=regions search.join=false.", self)


def search(config: DictConfig) -> float:
    """Search for every query of a benchmark, or find that it was done; returns mAP within the first cut-off, if any.

    With `search.words` rank a collection by them; returns the highest score. With `feedback` rank again what a user has
    judged; returns Recall@1.
    """
    refuse(config)
    chosen = section(config, "search", Settings)
    if chosen.words is not None:
        refuse_whitening(config, "words are compared with descriptors as they are")
        if OmegaConf.select(config, "feedback._target_") is not None:
            why, fix = "its queries are images", "Use feedback=none, or search.words=null."
            raise ConfigError("feedback", choices().get("feedback"), why, fix)
        from seekloop.commands.words import by_words

        return by_words(config, chosen.against, chosen.kept, chosen.shown)
    if (protocol := build(config, "feedback")) is not None:
        from seekloop.commands.feedback import with_feedback

        return with_feedback(config, chosen, protocol)
    return of_benchmark(config, chosen)


def of_benchmark(config: DictConfig, chosen: Settings) -> float:
    """Search for every query of a benchmark; returns mAP within the first cut-off."""
    instances: InstanceSearch = build(config, "instances")
    extraction = prepare(config, instances.database)
    asking = of_texts(config, instances, extraction) or of_images(extraction, instances, chosen)
    plan, whitening = extraction.plan, whitening_of(config, extraction, chosen.against != "whole")
    shown_by = None if instances.texts is not None else instances.queries
    reranking = reranking_of(config, extraction, chosen.against != "whole", shown_by)

    def find(run: Run) -> Outcome:
        report_collection(instances.database, run.console)
        report_problems(instances.queries.problems, run.console)
        store = described(extraction, config.grid, run.console.say)
        kept, vectors = asking.vectors(run)
        each = len(vectors) // len(kept)  # of a query
        searched: Descriptors = store
        if whitening is not None:
            learnt = whitening.ensure(run.console.say)
            searched, vectors = Whitened(store, learnt), learnt.unit(vectors)
        asked, queries = instances, kept
        if chosen.join:
            asked, vectors = join_queries(instances, kept, vectors)
            kept = torch.arange(len(vectors))
        if chosen.query == "regions":
            found = cross_matched(searched, vectors, len(kept))
        else:
            found = compare(searched, vectors, chosen.against)
        drawn: dict[str, Callable[[], Figure]] = {}
        inliers: Tensor | None = None
        if reranking is not None:
            examples = examples_of(instances, queries, asked.names if chosen.join else None)
            again = reranking.found(found, searched, in_groups(vectors, each), examples, run.console.say)
            found, inliers = again.found, again.after.inliers
            if again.verification is not None:
                run.folder.write_beside("verified", again.pairs(kept.tolist(), instances.database.paths))
            drawn = pictures_of_matches(again, asked, kept, instances.queries, chosen.shown)
        measures = SearchMeasures(asked, kept, found, store, chosen.against)
        results, ranking = measures.results(chosen.cutoffs), measures.ranking(chosen.kept)
        ranking = with_inliers(ranking, kept, inliers)
        run.folder.add_once({"results": results, "ranking": ranking})
        first = {asked.names[query]: query for query in reversed(kept.tolist())}
        shown = sorted(first.values())[: chosen.shown]

        def draw() -> "Figure":
            from seekloop.logs.pictures import results_of_queries

            queries = [(query, asked.names[query], *picture_of(asked, query)) for query in shown]
            return results_of_queries(ranking, queries, instances.database.read)

        return Outcome(measures.summary(results), drawn | ({"results": draw} if shown else {}))

    return Task(
        config,
        INSTANCES,
        [
            *(instances.database.name, choices().get("regions"), chosen.against),
            None if whitening is None else choices().get("whitening"),
            None if reranking is None else choices().get("reranker"),
        ],
        instance_search(
            config,
            instances,
            plan,
            None if whitening is None else whitening.recipe,
            asking.recipe,
            None if reranking is None else reranking.recipe,
        ),
        overview=lambda folder: folder.table("results").query("cutoff == 'all'").drop(columns="cutoff"),
        problems=[*instances.database.problems, *instances.queries.problems],
        artifacts=(
            plan.folder,
            *asking.folders,
            *(() if whitening is None else whitening.folders),
            *(() if reranking is None else reranking.folders),
        ),
        returned=f"map_{[*chosen.cutoffs, 'all'][0]}",
    ).run(find)


def with_inliers(ranking: pd.DataFrame, kept: Int[Tensor, " q"], inliers: Float[Tensor, "q n"] | None) -> pd.DataFrame:
    """A table of rankings with the inliers of each image, where any were verified."""
    if inliers is None:
        return ranking
    row = {query: place for place, query in enumerate(kept.tolist())}
    pairs = zip(ranking["query"], ranking["image"], strict=True)
    return ranking.assign(inliers=[int(inliers[row[query], image]) for query, image in pairs])


def in_groups(vectors: Float[Tensor, "r d"], each: int) -> list[Float[Tensor, "m d"]]:
    """Vectors of each query, which has so many."""
    return [vectors[first : first + each] for first in range(0, len(vectors), each)]


def cross_matched(descriptors: Descriptors, vectors: Float[Tensor, "r d"], queries: int) -> Found:
    """Regions of each query against those of each image."""
    owner = torch.arange(queries).repeat_interleave(len(vectors) // queries)
    scores = cross_match(descriptors, vectors, owner, queries)
    return Found(scores, torch.full(scores.shape, GLOBAL, dtype=torch.int32))


def pictures_of_matches(
    again: Reranked, instances: InstanceSearch, kept: Int[Tensor, " q"], queries: Collection, shown: int
) -> "dict[str, Callable[[], Figure]]":
    """Of a search that was verified: inliers of right and wrong images, and the features that agree of some pairs."""
    if again.after.inliers is None or instances.texts is not None:
        return {}
    from seekloop.logs import match_pictures

    def right(setup: str) -> tuple[Tensor, Tensor]:
        return instances.relevant(setup)[kept], instances.ignored(setup)[kept]

    setup = next((one for one in ("all", "medium") if one in instances.setups), next(iter(instances.setups)))
    drawn: dict[str, Callable[[], Figure]] = {}
    drawn["inliers"] = lambda: match_pictures.inlier_histogram(*again.counted(*right(setup)))
    inliers = again.after.inliers.masked_fill(right(setup)[1], 0)
    best = inliers.amax(dim=1).argsort(descending=True, stable=True)[: min(shown, MATCHES)]
    for number, query in enumerate(best.tolist(), start=1):
        image = int(inliers[query].argmax())
        if inliers[query, image]:
            drawn[f"matches_{number}"] = partial(
                picture_of_pair, again, instances, int(kept[query]), queries, query, image
            )
    return drawn


def picture_of_pair(
    again: Reranked, instances: InstanceSearch, query: int, queries: Collection, row: int, image: int
) -> "Figure":
    """A query's picture and an image, with the features that agree."""
    from seekloop.logs.match_pictures import Ellipses, matches

    example = again.searched.matches[row, image].example
    pictures = queries.read(query if example is None else example.image), instances.database.read(image)
    agreeing = again.agreeing(row, image)
    sides = [
        (picture, Ellipses(*features.on_picture(*picture.size), features.channel))
        for picture, features in zip(pictures, agreeing, strict=True)
    ]
    return matches(sides[0], sides[1], f"{instances.names[query]}: {len(agreeing[0])} inliers")


def examples_of(
    instances: InstanceSearch, kept: Int[Tensor, " q"], names: Sequence[str] | None
) -> list[tuple[Example, ...]]:
    """Pictures with the box of each query, or of all queries of each of these instances; none of texts."""
    if instances.texts is not None:
        return [()] * len(kept if names is None else names)
    shown = {query: instances.query_boxes(query) for query in kept.tolist()}
    single = {query: Example(query, boxes[0] if len(boxes) else None) for query, boxes in shown.items()}
    if names is None:
        return [(one,) for one in single.values()]
    return [tuple(one for query, one in single.items() if instances.names[query] == name) for name in names]


@dataclass(frozen=True)
class Asking:
    """The queries of a benchmark, on their way to vectors.

    Attributes:
        vectors: gives the queries that could be read, and the vector of each, in a run.
        folders: of the descriptors that it reads.
        recipe: of the texts; None where queries are images.
    """

    vectors: "Callable[[Run], tuple[Tensor, Tensor]]"
    folders: tuple[Path, ...] = ()
    recipe: Recipe | None = None


def of_texts(config: DictConfig, instances: InstanceSearch, extraction: Extraction) -> Asking | None:
    """Queries that are texts; None where they are images.

    Raises:
        ConfigError: if descriptors and texts cannot be compared, or the encoder does not know a text.
    """
    if instances.texts is None:
        return None
    refuse_whitening(config, "texts are compared with descriptors as they are")
    encoder, texts = encoder_of(config), instances.texts
    check_space(encoder, extraction.plan.manifest)

    def vectors(run: Run) -> tuple[Tensor, Tensor]:
        return torch.arange(len(texts)), text_vectors(encoder, texts, config.store_dir, run.console.say)

    return Asking(vectors, recipe=recipe_of_texts(encoder, texts))


def of_images(extraction: Extraction, instances: InstanceSearch, chosen: Settings) -> Asking:
    """Queries that are images with boxes, described as the database is."""
    asking = extraction_of_queries(extraction, instances, chosen)
    if chosen.query == "regions" and extraction.plan.manifest.grids is None:
        why, fix = "every query has as many regions only where these are the cells of a grid", "Use regions=grid."
        raise ConfigError("query", chosen.query, why, fix, chosen)

    def vectors(run: Run) -> tuple[Tensor, Tensor]:
        asked = open_store(ensure(asking, run.console.say), None)
        kept = asked.readable.nonzero()[:, 0]
        if not len(kept):
            why, fix = "no query image could be read", "Check the files named above."
            raise ConfigError("instances", instances.queries.name, why, fix)
        block = asked.read(kept, local=chosen.query != "image")
        return kept, block.global_ if block.local is None else block.local

    return Asking(vectors, (asking.plan.folder,))


def picture_of(instances: InstanceSearch, query: int) -> "tuple[Image.Image, Sequence[Box]]":
    """Picture of a query and its boxes; a blank one for a text, under which its name is written."""
    if instances.texts is not None:
        from PIL import Image

        return Image.new("RGB", (8, 8), "white"), ()
    boxes = [(x0, y0, x1, y1) for x0, y0, x1, y1 in instances.query_boxes(query).tolist()]
    return instances.queries.read(query), boxes


def extraction_of_queries(extraction: Extraction, instances: InstanceSearch, chosen: Settings) -> Extraction:
    """The stage that describes the queries as what they are searched against is described."""
    encoding, pooling = extraction.encoding, extraction.pooling
    if chosen.query == "regions":
        return replace(extraction, collection=Crops(instances.queries))
    if isinstance(encoding, FromRegions):
        encoding = replace(encoding, inside="box")  # a query's box is a region like any other, but it has no mask
    if chosen.query != "region" and chosen.against != "whole":
        pooling = encoding if isinstance(encoding, FromRegions) else Mean() if encoding.poolable else pooling
    if chosen.query == "crop":
        encoding = FromCrops()
    regions = AnnotatedBoxes()
    return replace(extraction, collection=instances.queries, regions=regions, encoding=encoding, pooling=pooling)
