"""`seekloop search`: instance search of query boxes over a collection, from images to rankings with boxes."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge
from omegaconf import DictConfig

from seekloop.commands.compose import choices
from seekloop.commands.extract import described, prepare, report_collection, report_problems
from seekloop.commands.parts import build
from seekloop.commands.recipes import instance_search
from seekloop.commands.task import Outcome, Run, Task, refuse, section
from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.descriptors.encoding import FromCrops
from seekloop.descriptors.roi import FromRegions
from seekloop.extraction.describe import ensure
from seekloop.extraction.plan import Extraction
from seekloop.matching.instance_search import QueryVectors
from seekloop.matching.instance_search import search as search_instances
from seekloop.protocol.instance_measures import SearchMeasures
from seekloop.protocol.kinds import INSTANCES
from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.store.reader import open_store

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@component
class Settings:
    """Numbers of an instance search.

    Args:
        query: the query's box, pooled as regions are; cut out and described alone; or the whole image.
        against: an image scores as its best region, or by its global descriptor.
        cutoffs: mAP is measured within the first so many images, and over the whole ranking.
        kept: images of each query's ranking that are kept.
        shown: instances in the picture of results.
    """

    query: Literal["region", "crop", "image"] = "region"
    against: Literal["regions", "whole"] = "regions"
    cutoffs: tuple[Count, ...] = (50, 100)
    kept: Count = 100
    shown: Annotated[int, Ge(0)] = 8


def search(config: DictConfig) -> float:
    """Search for every query of a benchmark, or find that it was done; returns mAP within the first cut-off, if any."""
    refuse(config)
    chosen = section(config, "search", Settings)
    instances: InstanceSearch = build(config, "instances")
    extraction = prepare(config, instances.database)
    asking = extraction_of_queries(extraction, instances, chosen.query)
    plan = extraction.plan

    def find(run: Run) -> Outcome:
        report_collection(instances.database, run.console)
        report_problems(instances.queries.problems, run.console)
        store = described(extraction, config.grid, run.console.say)
        asked = open_store(ensure(asking, run.console.say), None)
        kept = asked.readable.nonzero()[:, 0]
        if not len(kept):
            why, fix = "no query image could be read", "Check the files named above."
            raise ConfigError("instances", instances.queries.name, why, fix)
        block = asked.read(kept, local=chosen.query != "image")
        vectors = QueryVectors(block.whole, torch.arange(len(kept)))
        if block.local is not None and block.offsets is not None:
            rows = torch.repeat_interleave(torch.arange(len(kept)), block.offsets.diff())
            vectors = QueryVectors(block.local, rows)
        scores = search_instances(store, vectors, by_region=chosen.against == "regions")
        measures = SearchMeasures(instances, kept, scores, store)
        results, ranking = measures.results(chosen.cutoffs), measures.ranking(chosen.kept)
        run.folder.add_once({"results": results, "ranking": ranking})
        first = {instances.names[query]: query for query in reversed(kept.tolist())}
        shown = sorted(first.values())[: chosen.shown]

        def draw() -> "Figure":
            from seekloop.logs.pictures import results_of_queries

            boxes = {query: [tuple(box) for box in instances.query_boxes(query).tolist()] for query in shown}
            queries = [(query, instances.names[query], instances.queries.read(query), boxes[query]) for query in shown]
            return results_of_queries(ranking, queries, instances.database.read)

        return Outcome(measures.summary(results), {"results": draw} if shown else {})

    return Task(
        config,
        INSTANCES,
        [instances.database.name, choices().get("regions"), chosen.against],
        instance_search(config, instances, plan),
        overview=lambda folder: folder.table("results").query("cutoff == 'all'").drop(columns="cutoff"),
        problems=[*instances.database.problems, *instances.queries.problems],
        artifacts=(plan.folder, asking.plan.folder),
        returned=f"map_{[*chosen.cutoffs, 'all'][0]}",
    ).run(find)


def extraction_of_queries(extraction: Extraction, instances: InstanceSearch, how: str) -> Extraction:
    """The stage that describes the queries: a query's box is a region like any other, but that it has no mask."""
    encoding = FromCrops() if how == "crop" else extraction.encoding
    if isinstance(encoding, FromRegions):
        encoding = replace(encoding, inside="box")
    return replace(extraction, collection=instances.queries, regions=AnnotatedBoxes(), encoding=encoding)
