"""What a round was worth: the metrics of every search, as rows of the two result tables."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seekloop.contracts.records import Annotations, Answer, Feedback, Query, Round
from seekloop.loop.state import State
from seekloop.metrics.average_precision import average_precision, stratified_average_precision
from seekloop.metrics.coverage import cluster_positives, coverage
from seekloop.metrics.curves import area_under_curve, first_reached
from seekloop.metrics.strata import STRATA, strata

GOAL = 10  # "time to the 10th positive"


class Scoreboard:
    """Measures rounds against the annotations, which the loop itself never sees.

    Args:
        annotations: of readable images.
        queries: the searches.
        whole: global descriptors, on which coverage clusters each class; the same whatever is compared.
        paths: of the images, for the table of questions.
        clusters: k of coverage.
        clusterings: independent k-means runs.
        seed: of the clusterings.
    """

    def __init__(
        self,
        annotations: Annotations,
        queries: Sequence[Query],
        whole: Float[Tensor, "n d"],
        paths: Sequence[str],
        *,
        clusters: int,
        clusterings: int,
        seed: int,
    ) -> None:
        self.queries = queries
        self.paths = paths
        labels = torch.tensor([annotations.classes.index(query.class_name) for query in queries])
        self.relevant = annotations.relevance(len(whole))[labels]
        self.strata = strata(annotations, len(whole))[labels]
        self._positives = {
            query.class_name: row.nonzero()[:, 0] for query, row in zip(queries, self.relevant, strict=True)
        }
        self._clusters = {
            name: cluster_positives(whole[images], clusters, clusterings, seed, name)
            for name, images in self._positives.items()
        }

    def rounds(self, round_: Round, state: State) -> pd.DataFrame:
        """One row per search: what it has found, what it has cost, how well it ranks."""
        found = (state.answers == 1) & self.relevant
        relevant_answers = [sum(f.answer is Answer.RELEVANT for f in feedback) for feedback in round_.feedback]
        asked = round_.asked.shape[1]
        sizes = stratified_average_precision(round_.scores, self.strata, len(STRATA))
        return pd.DataFrame(
            {
                "class_name": [query.class_name for query in self.queries],
                "query": [query.number for query in self.queries],
                "round": round_.number,
                "labels": (state.answers != 0).sum(dim=1).tolist(),
                "positives": (state.answers == 1).sum(dim=1).tolist(),
                "seconds": state.seconds.tolist(),
                "ap": average_precision(round_.scores, self.relevant, None).tolist(),
                "coverage": self._coverage(found),
                "precision": [count / asked if asked else float("nan") for count in relevant_answers],
                **{f"ap_{size}": sizes[:, level].tolist() for level, size in enumerate(STRATA)},
            }
        )

    def asked(self, round_: Round) -> pd.DataFrame:
        """One row per question of the round, with the user's answer."""
        rows = [
            self._question(position, place, feedback, round_)
            for position, answers in enumerate(round_.feedback)
            for place, feedback in enumerate(answers)
        ]
        columns = ["class_name", "query", "round", "image", "path", "region", "score", "relevant"]
        return pd.DataFrame(rows, columns=[*columns, "x0", "y0", "x1", "y1"])

    def _question(self, position: int, place: int, feedback: Feedback, round_: Round) -> dict[str, Any]:
        query = self.queries[position]
        box = [None] * 4 if feedback.box is None else feedback.box.tolist()
        return {
            "class_name": query.class_name,
            "query": query.number,
            "round": round_.number,
            "image": feedback.image,
            "path": self.paths[feedback.image],
            "region": int(round_.region[position, place]),
            "score": float(round_.asked_score[position, place]),
            "relevant": None if feedback.answer is Answer.UNSURE else feedback.answer is Answer.RELEVANT,
            **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
        }

    def _coverage(self, found: Bool[Tensor, "q n"]) -> list[float]:
        shares = [
            coverage(self._clusters[query.class_name], row[self._positives[query.class_name]][None])
            for query, row in zip(self.queries, found, strict=True)
        ]
        return torch.cat(shares).tolist()


def summarise(rounds: pd.DataFrame) -> dict[str, float | int | None]:
    """The run in a few numbers: per class first, then over classes.

    map_auc and coverage_auc are areas under the curves over rounds divided by the number of rounds; map_final and
    coverage_final their last values; seconds_to_10 the user's time to the 10th positive, over the searches that get
    there (share_to_10 of them), None where none does.
    """
    ordered = rounds.sort_values(["class_name", "query", "round"])
    searches = ordered[["class_name", "query"]].drop_duplicates()
    table = {
        column: torch.tensor(ordered[column].to_numpy().reshape(len(searches), -1))
        for column in ("ap", "coverage", "positives", "seconds")
    }
    reached = first_reached(table["positives"], table["seconds"], GOAL)
    values = {
        "map_auc": _area(table["ap"]),
        "coverage_auc": _area(table["coverage"]),
        "map_final": table["ap"][:, -1],
        "coverage_final": table["coverage"][:, -1],
    }
    names = searches["class_name"].tolist()
    return {
        **{name: _class_mean(value, names) for name, value in values.items()},
        "seconds_to_10": float(reached.nanmean()) if reached.isfinite().any() else None,
        "share_to_10": float(reached.isfinite().double().mean()),
        "classes": len(set(names)),
        "queries": len(searches),
        "rounds": int(ordered["round"].max()),
    }


def _area(values: Float[Tensor, "q t"]) -> Float[Tensor, " q"]:
    """Area under the curve; the value itself where there is only round 0."""
    return values[:, 0] if values.shape[1] == 1 else area_under_curve(values)


def _class_mean(values: Float[Tensor, " q"], names: Sequence[str]) -> float:
    per_class = [[v for v, n in zip(values.tolist(), names, strict=True) if n == name] for name in sorted(set(names))]
    return sum(sum(v) / len(v) for v in per_class) / len(per_class)
