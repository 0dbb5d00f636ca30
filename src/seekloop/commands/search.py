"""`seekloop search`: instance search of query boxes over a collection, from images to rankings with boxes."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from jaxtyping import Int
from matplotlib.figure import Figure
from omegaconf import DictConfig
from torch import Tensor

from seekloop.commands.compose import choices, plain
from seekloop.commands.evaluation import Evaluated, Evaluation
from seekloop.commands.extract import left_out, prepare, report_collection, report_problems
from seekloop.commands.parts import build
from seekloop.commands.recipes import instance_search
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.descriptors.encoding import FromCrops
from seekloop.descriptors.roi import FromRegions
from seekloop.extraction.describe import ensure
from seekloop.extraction.plan import Extraction
from seekloop.logs.console import Console
from seekloop.logs.evaluation_figures import results_of_queries
from seekloop.logs.evaluation_folder import SearchFolder
from seekloop.logs.figures import Box
from seekloop.logs.wandb_evaluation import SearchLog
from seekloop.matching.instance_search import WHOLE, Found, QueryVectors, boxes_of_known
from seekloop.matching.instance_search import search as search_instances
from seekloop.metrics.localisation import mean_best_iou
from seekloop.metrics.ranked import finite_sum_average_precision, precision_at, trapezoid_average_precision
from seekloop.metrics.ranks import ranks_of_positives
from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.store.reader import Store, open_store

QUERIES = ("region", "crop", "image")
AGAINST = ("regions", "whole")
OVER_ALL = 1000  # images down to which precision is measured where the whole ranking is


def search(config: DictConfig) -> float:
    """Search for every query of a benchmark, or find that it was done; returns mAP within the first cut-off, if any."""
    check(config)
    instances: InstanceSearch = build(config, "instances")
    extraction = prepare(config, instances.database)
    ahead = extraction.plan
    evaluation = Evaluation(
        "search",
        config,
        SearchFolder,
        SearchLog,
        [str(word) for word in (instances.database.name, choices().get("regions"), config.search.against) if word],
        instance_search(config, instances, ahead),
        f"map_{[*config.search.cutoffs, 'all'][0]}",
    )

    def report(console: Console) -> None:
        report_problems([*instances.database.problems, *instances.queries.problems], console)

    def evaluate(console: Console) -> Evaluated:
        report_collection(instances.database, console)
        report_problems(instances.queries.problems, console)
        folder = ensure(extraction, console.say)
        store = open_store(folder, config.grid if ahead.manifest.grids is not None else None)
        vectors, kept = query_vectors(extraction, instances, config.search.query, console)
        if not len(kept):
            raise ConfigError(
                "instances", instances.queries.name, "no query image could be read", "Check the files named above."
            )
        found = search_instances(store, vectors, by_region=config.search.against == "regions")
        return evaluated(config, instances, kept, found, store)

    return evaluation.run(report, evaluate)


def check(config: DictConfig) -> None:
    """Refuse settings that cannot work.

    Raises:
        ConfigError: naming the key.
    """
    chosen = config.search
    for key, valid in (("query", QUERIES), ("against", AGAINST)):
        if chosen[key] not in valid:
            raise ConfigError(f"search.{key}", chosen[key], "it is unknown", f"Valid: {', '.join(valid)}.")
    for key in ("cutoffs", "kept", "shown"):
        numbers = list(chosen[key]) if key == "cutoffs" else [chosen[key]]
        if any(not isinstance(number, int) or number < (0 if key == "shown" else 1) for number in numbers):
            raise ConfigError(f"search.{key}", plain(chosen)[key], "these are no counts", "Usual: 50, 100.")


def query_vectors(
    extraction: Extraction, instances: InstanceSearch, how: str, console: Console
) -> tuple[QueryVectors, Int[Tensor, " q"]]:
    """Descriptors of what is searched for, and the queries whose image could be read.

    They are kept in a store of their own: a query's box is a region like any other, but that it has no mask.
    """
    encoding = FromCrops() if how == "crop" else extraction.encoding
    if isinstance(encoding, FromRegions):
        encoding = replace(encoding, inside="box")
    asked = replace(extraction, collection=instances.queries, regions=AnnotatedBoxes(), encoding=encoding)
    store = open_store(ensure(asked, console.say), None)
    kept = store.readable.nonzero()[:, 0]
    block = store.read(kept, local=how != "image")
    if block.local is None or block.offsets is None:
        return QueryVectors(block.whole, torch.arange(len(kept))), kept
    return QueryVectors(block.local, torch.repeat_interleave(torch.arange(len(kept)), block.offsets.diff())), kept


def evaluated(
    config: DictConfig, instances: InstanceSearch, kept: Int[Tensor, " q"], found: Found, store: Store
) -> Evaluated:
    """Measures, rankings and pictures of a finished search."""
    cutoffs: list[int | None] = [*config.search.cutoffs, None]
    truth = tuple(instances.boxes[query] for query in kept.tolist())
    rows = []
    for name in instances.setups:
        relevant, ignored = instances.relevant(name)[kept], instances.ignored(name)[kept] | ~store.readable
        ranks = ranks_of_positives(found.scores, relevant & store.readable, ignored)
        for cutoff in cutoffs:
            if cutoff is None:
                images, boxes = boxes_of_known(found, store, truth)
            else:
                images = found.ranking(ignored, cutoff)
                boxes = found.boxes(store, images)
            measured = {
                "ap": finite_sum_average_precision(ranks, cutoff),
                "ap_trapezoid": trapezoid_average_precision(ranks, cutoff),
                "precision": precision_at(ranks, cutoff or OVER_ALL),
                "miou": mean_best_iou(images, boxes, truth),
            }
            table = pd.DataFrame({key: values.double().numpy() for key, values in measured.items()})
            table.insert(0, "query", kept.numpy())
            table["name"] = [instances.names[query] for query in kept.tolist()]
            table["setup"], table["cutoff"] = name, "all" if cutoff is None else str(cutoff)
            table["positives"] = ranks.positives.numpy()
            rows.append(table)
    results = pd.concat(rows, ignore_index=True)
    ranking = ranking_table(config.search.kept, instances, kept, found, store)
    summary = summarise(results, found, store)
    summary["left_out"] = left_out([*instances.database.problems, *instances.queries.problems], store.readable)

    first = {instances.names[query]: query for query in reversed(kept.tolist())}
    shown = sorted(first.values())[: config.search.shown]

    def draw() -> Figure:
        queries = [(q, instances.names[q], instances.queries.read(q), _boxes(instances, q)) for q in shown]
        return results_of_queries(ranking, queries, instances.database.read)

    drawn = {"results": draw} if shown else {}
    per_query = results[results["cutoff"] == "all"].drop(columns="cutoff")
    return Evaluated({"results": results, "ranking": ranking}, per_query, summary, drawn)


def ranking_table(
    top: int, instances: InstanceSearch, kept: Int[Tensor, " q"], found: Found, store: Store
) -> pd.DataFrame:
    """The first images of every query with their boxes, by the first setup."""
    setup = next(iter(instances.setups))
    ignored = instances.ignored(setup)[kept] | ~store.readable
    images = found.ranking(ignored, top)
    boxes, relevant = found.boxes(store, images), instances.relevant(setup)[kept]
    place = (images >= 0).nonzero()
    row, column = place[:, 0], place[:, 1]
    image = images[row, column]
    table = pd.DataFrame({"query": kept[row].numpy(), "rank": (column + 1).numpy(), "image": image.numpy()})
    table["path"] = [instances.database.paths[i] for i in image.tolist()]
    table["score"] = found.scores[row, image].double().numpy()
    table["relevant"] = relevant[row, image].numpy()
    table[["x0", "y0", "x1", "y1"]] = boxes[row, column].double().numpy()
    return table


def summarise(results: pd.DataFrame, found: Found, store: Store) -> dict[str, Any]:
    """Means over queries; several setups each have their own, before their mean."""
    summary: dict[str, Any] = {}
    names = {"ap": "map", "ap_trapezoid": "map_trapezoid", "miou": "miou"}
    for column, name in names.items():
        means = results.groupby(["setup", "cutoff"], sort=False)[column].mean()
        for cutoff in results["cutoff"].unique():
            each = means.xs(cutoff, level="cutoff")
            summary[f"{name}_{cutoff}"] = _number(each.mean())
            if len(each) > 1:
                summary |= {f"{setup}_{name}_{cutoff}": _number(value) for setup, value in each.items()}
    counts = {"queries": int(results["query"].nunique()), "images": int(store.readable.sum())}
    by_region = bool((found.region != WHOLE).any())
    regions = len(store.regions.boxes) / (1 if store.regions.offsets is None else store.images)
    return summary | counts | {"regions_per_image": float(regions) if by_region else 1.0}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _boxes(instances: InstanceSearch, query: int) -> list[Box]:
    return [(row[0], row[1], row[2], row[3]) for row in instances.query_boxes(query).tolist()]
