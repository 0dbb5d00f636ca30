"""Evaluation of relevance feedback: Recall@k before and after, over the number of images judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.classifiers.nearest_filter import NearestFilter
from seekloop.classifiers.rocchio import Rocchio
from seekloop.classifiers.svm_anchored import SvmAnchored
from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.protocols import Classifier, Descriptors
from seekloop.matching.feedback import JudgedImages, refined
from seekloop.matching.instance_search import Found
from seekloop.metrics.ranked import recall_at
from seekloop.metrics.ranks import ranks_of_positives
from seekloop.protocol.summary import left_out, number

CUTOFFS = (1, 5, 10)
ANCHORED = (Rocchio, SvmAnchored)


@component
class FeedbackProtocol:
    """Numbers of an evaluation of relevance feedback.

    Args:
        classifier: learns from the images judged, and ranks all images again.
        sizes: how many images of the first ranking are judged, each of these numbers by itself.
        with_query: whether the query's own image is one of those liked.
        anchor: vector of the query that `rocchio` moves and `svm_anchored` is pulled to: of its image, or of the
            words for what is wanted. The first ranking is by the image.
        source: folder of a finished run, whose feedback is used in place of new one. None: these images are judged.

    Raises:
        ConfigError: if the classifier has no use for the anchor, or learns from more than labelled rows.
    """

    classifier: Classifier = field(default_factory=NearestFilter)
    sizes: tuple[Count, ...] = (1, 5, 10, 20, 50)
    with_query: bool = False
    anchor: Literal["image", "text"] = "image"
    source: Path | str | None = None

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ConfigError("sizes", [], "nothing would be judged", "Give one number or more: sizes=[10].", self)
        name = type(self.classifier).__name__
        if getattr(self.classifier, "transductive", False):
            why, fix = "it learns from the images of one collection, too", "Take one that learns from labelled rows."
            raise ConfigError("classifier", name, why, fix, self)
        if self.anchor == "text" and not isinstance(self.classifier, ANCHORED):
            fix = "Take rocchio or svm_anchored (classifier@feedback.classifier=...), or anchor=image."
            raise ConfigError("anchor", self.anchor, f"{name} has no anchor", fix, self)

    def check(self, instances: InstanceSearch) -> None:
        """Refuse queries as liked images where these show what is not wanted.

        Raises:
            ConfigError: about `with_query`.
        """
        if self.with_query and not instances.shows_wanted:
            why = "a query's image shows the property that is to be changed, and is not what its user wants"
            raise ConfigError("with_query", True, why, "Use with_query=false.", self)


@dataclass(frozen=True)
class FeedbackMeasures:
    """Measures what feedback changes.

    Attributes:
        protocol: numbers of the evaluation.
        instances: queries, database and truth.
        kept: the queries that are asked: those with a readable image, and feedback.
        found: the first ranking's scores of all images for these.
        images: descriptors of their images.
        anchors: vectors of these queries for the classifier.
        judged: the feedback of these.
        same: whether the judged images are some of those that are ranked.
        store: descriptors of the database.
    """

    protocol: FeedbackProtocol
    instances: InstanceSearch
    kept: Int[Tensor, " q"]
    found: Found
    images: Float[Tensor, "q d"]
    anchors: Float[Tensor, "q d"]
    judged: JudgedImages
    same: bool
    store: Descriptors

    @property
    def main(self) -> str:
        """Way of counting the judged images that numbers without a prefix are of."""
        return "left_out" if self.same else "elsewhere"

    def results(self) -> pd.DataFrame:
        """One row per number of images judged, way of counting those, and query."""
        first = self.found.scores.argsort(dim=1, descending=True, stable=True)
        tables = []
        for size in self.protocol.sizes:
            part = self.judged.first(size)
            own = self.images if self.protocol.with_query else None
            after = refined(self.protocol.classifier, part, self.anchors, self.found.scores, self.store, own)
            likes, dislikes = part.counts()
            for way in ("left_out", "kept") if self.same else ("elsewhere",):
                measured = self._recall(first, part, way, "first") | self._recall(after, part, way, "recall")
                table = pd.DataFrame({key: values.numpy() for key, values in measured.items()})
                table.insert(0, "query", self.kept.numpy())
                table["name"] = [self.instances.names[query] for query in self.kept.tolist()]
                table["size"], table["judged"] = size, way
                table["likes"], table["dislikes"] = likes.numpy(), dislikes.numpy()
                tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def _recall(self, order: Int[Tensor, "q n"], part: JudgedImages, way: str, name: str) -> dict[str, Tensor]:
        """Recall of rankings; NaN for a query that has nothing left to be found."""
        setup = next(iter(self.instances.setups))
        ignored = self.instances.ignored(setup)[self.kept] | ~self.store.readable
        if way == "left_out":
            ignored = ignored | part.among(self.instances.database.paths)
        relevant = self.instances.relevant(setup)[self.kept] & ~ignored
        place = torch.arange(order.shape[1], 0, -1, dtype=torch.float64).expand(order.shape)
        ranks = ranks_of_positives(torch.zeros_like(place).scatter(1, order, place), relevant, ignored)
        return {f"{name}_{k}": recall_at(ranks, k) for k in CUTOFFS}

    def feedback(self) -> pd.DataFrame:
        """One row per query and image judged."""
        query, column = (self.judged.index >= 0).nonzero(as_tuple=True)
        rows = self.judged.index[query, column].tolist()
        table = pd.DataFrame({"query": self.kept[query].numpy(), "rank": (column + 1).numpy()})
        table["path"] = [self.judged.paths[row] for row in rows]
        table["liked"] = self.judged.liked[query, column].numpy()
        return table

    def summary(self, results: pd.DataFrame) -> dict[str, Any]:
        """Means over queries of the largest number of images judged; of each number, Recall@1."""
        main, largest = self.main, max(self.protocol.sizes)
        columns = [f"{name}_{k}" for k in CUTOFFS for name in ("recall", "first")]
        means = results.groupby(["judged", "size"], sort=False)[columns].mean().reset_index()
        summary: dict[str, Any] = {}
        for row in means.to_dict("records"):
            if (row["judged"], row["size"]) == (main, largest):
                summary = {name: number(row[name]) for name in columns} | summary
            before = "" if row["judged"] == main else f"{row['judged']}_"
            summary |= {f"{before}{name}_{row['size']}": number(row[name]) for name in ("recall_1", "first_1")}
        of_largest = results[(results["size"] == largest) & (results["judged"] == main)]
        problems = [*self.instances.database.problems, *self.instances.queries.problems]
        return {
            **summary,
            "unchanged": int(self._unchanged(of_largest).sum()),
            "nothing_left": int(of_largest["recall_1"].isna().sum()),
            "queries": len(of_largest),
            "images": int(self.store.readable.sum()),
            "left_out": left_out(problems, self.store.readable),
        }

    def _unchanged(self, rows: pd.DataFrame) -> "pd.Series[bool]":
        """Queries whose feedback says nothing, for all of it is of one kind."""
        likes = rows["likes"] + int(self.protocol.with_query)
        return (likes == 0) | (rows["dislikes"] == 0)


def said(summary: Mapping[str, Any], size: int) -> str:
    """Sentence about the queries that feedback could not help."""
    told = f"{summary['unchanged']} of {summary['queries']} queries have no likes or no dislikes among {size} judged"
    return f"{told}: their rankings stay as they are"
