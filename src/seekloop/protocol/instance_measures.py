"""Measures of an instance search: of each query, of all, and the first images of each ranking with their boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from torch import Tensor

from seekloop.contracts.instances import InstanceSearch
from seekloop.matching.instance_search import Against, Found, boxes_of_known
from seekloop.metrics.localisation import mean_best_iou
from seekloop.metrics.ranked import finite_sum_average_precision, precision_at, trapezoid_average_precision
from seekloop.metrics.ranks import ranks_of_positives
from seekloop.protocol.summary import left_out, number
from seekloop.store.reader import Store

MEANS = {
    "ap": "map",
    "ap_trapezoid": "map_trapezoid",
    "precision": "mp",
    "miou": "miou",
}  # columns, names of their means
OVER_ALL = 1000  # images down to which precision is measured where the whole ranking is


@dataclass(frozen=True)
class SearchMeasures:
    """Measures a finished search.

    Attributes:
        instances: queries, database and truth.
        kept: the queries whose image could be read.
        search: the scores of all images for these.
        store: descriptors of the database.
        against: which of them were compared.
    """

    instances: InstanceSearch
    kept: Int[Tensor, " q"]
    search: Found
    store: Store
    against: Against = "regions"

    def results(self, cutoffs: Sequence[int]) -> pd.DataFrame:
        """One row per setup, cut-off (the whole ranking last) and query."""
        known = [self.instances.boxes[query] for query in self.kept.tolist()]
        rows = []
        for name in self.instances.setups:
            relevant = self.instances.relevant(name)[self.kept]
            ignored = self.instances.ignored(name)[self.kept] | ~self.store.readable
            ranks = ranks_of_positives(self.search.scores, relevant & self.store.readable, ignored)
            truth = tuple(
                {image: boxes for image, boxes in one.items() if right[image]}
                for one, right in zip(known, relevant, strict=True)
            )
            for cutoff in [*cutoffs, None]:
                if cutoff is None:
                    images, boxes = boxes_of_known(self.search, self.store, truth)
                else:
                    images = self.search.ranking(ignored, cutoff)
                    boxes = self.search.boxes(self.store, images)
                measured = {
                    "ap": finite_sum_average_precision(ranks, cutoff),
                    "ap_trapezoid": trapezoid_average_precision(ranks, cutoff),
                    "precision": precision_at(ranks, cutoff or OVER_ALL),
                    "miou": mean_best_iou(images, boxes, truth),
                }
                table = pd.DataFrame({key: values.double().numpy() for key, values in measured.items()})
                table.insert(0, "query", self.kept.numpy())
                table["name"] = [self.instances.names[query] for query in self.kept.tolist()]
                table["setup"], table["cutoff"] = name, "all" if cutoff is None else str(cutoff)
                table["positives"] = ranks.positives.numpy()
                rows.append(table)
        return pd.concat(rows, ignore_index=True)

    def ranking(self, most: int) -> pd.DataFrame:
        """The first images of every query with their boxes, by the first setup."""
        instances, search, setup = self.instances, self.search, next(iter(self.instances.setups))
        images = search.ranking(instances.ignored(setup)[self.kept] | ~self.store.readable, most)
        boxes, relevant = search.boxes(self.store, images), instances.relevant(setup)[self.kept]
        row, column = (images >= 0).nonzero(as_tuple=True)
        image = images[row, column]
        table = pd.DataFrame({"query": self.kept[row].numpy(), "rank": (column + 1).numpy(), "image": image.numpy()})
        table["path"] = [instances.database.paths[position] for position in image.tolist()]
        table["score"] = search.scores[row, image].double().numpy()
        table["relevant"] = relevant[row, image].numpy()
        table[["x0", "y0", "x1", "y1"]] = boxes[row, column].double().numpy()
        return table

    def summary(self, results: pd.DataFrame) -> dict[str, Any]:
        """Means over queries; several setups each have their own, before their mean, or that of `all` among them."""
        summary: dict[str, Any] = {}
        for column, name in MEANS.items():
            means = results.groupby(["setup", "cutoff"], sort=False)[column].mean()
            for cutoff in results["cutoff"].unique():
                each = means.xs(cutoff, level="cutoff")
                summary[f"{name}_{cutoff}"] = number(each["all"] if "all" in each else each.mean())
                if len(each) > 1:
                    summary |= {f"{setup}_{name}_{cutoff}": number(value) for setup, value in each.items()}
        store, problems = self.store, [*self.instances.database.problems, *self.instances.queries.problems]
        regions = len(store.regions.boxes) / (1 if store.regions.offsets is None else store.images)
        vectors = {"regions": float(regions), "whole": 1.0, "both": regions + 1.0}[self.against]
        return {
            **summary,
            "queries": int(results["query"].nunique()),
            "images": int(store.readable.sum()),
            "regions_per_image": 1.0 if self.against == "whole" else float(regions),
            "bytes_per_image": vectors * store.dim * np.dtype(store.manifest.dtype).itemsize,
            "left_out": left_out(problems, store.readable),
        }
