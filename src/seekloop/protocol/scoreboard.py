"""Metrics of every search in every round, as rows of the two result tables."""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seekloop.contracts.records import Annotations, Answer, Query
from seekloop.loop.state import Comparison, Round, State
from seekloop.metrics.average_precision import average_precision, stratified_average_precision
from seekloop.metrics.coverage import cluster_positives, coverage
from seekloop.metrics.strata import STRATA, strata


class Scoreboard:
    """Measures rounds against the annotations, which the loop itself never sees.

    Args:
        annotations: of readable images.
        queries: the searches.
        global_: global descriptors, on which coverage clusters each class.
        paths: of the images, for the table of questions.
        clusters: k of coverage.
        clusterings: independent k-means runs.
        seed: of the clusterings.
    """

    def __init__(
        self,
        annotations: Annotations,
        queries: Sequence[Query],
        global_: Float[Tensor, "n d"],
        paths: Sequence[str],
        *,
        clusters: int,
        clusterings: int,
        seed: int,
    ) -> None:
        self.queries = queries
        self.paths = paths
        labels = torch.tensor([annotations.classes.index(query.class_name) for query in queries])
        self.relevant = annotations.relevance(len(global_))[labels]
        self.strata = strata(annotations, len(global_))[labels]
        self._positives = {
            query.class_name: row.nonzero()[:, 0] for query, row in zip(queries, self.relevant, strict=True)
        }
        self._clusters = {
            name: cluster_positives(global_[images], clusters, clusterings, seed, name)
            for name, images in self._positives.items()
        }

    def rounds(self, round_: Round, state: State) -> pd.DataFrame:
        """One row per search: positives, time spent, and quality of its ranking."""
        found = (state.answers == 1) & self.relevant
        relevant_answers = [sum(f.answer is Answer.RELEVANT for f in feedback) for feedback in round_.feedback]
        asked = round_.asked.shape[1]
        precision = stratified_average_precision(round_.scores, self.strata.to(round_.scores.device), len(STRATA)).cpu()
        against_exact = {} if round_.comparison is None else self._against_exact(round_.comparison)
        return pd.DataFrame(
            {
                "class_name": [query.class_name for query in self.queries],
                "query": [query.number for query in self.queries],
                "round": round_.number,
                "labels": (state.answers != 0).sum(dim=1).tolist(),
                "positives": (state.answers == 1).sum(dim=1).tolist(),
                "seconds": state.seconds.tolist(),
                "ap": precision[:, 0].tolist(),
                "coverage": self._coverage(found),
                "precision": [count / asked if asked else float("nan") for count in relevant_answers],
                **{f"ap_{size}": precision[:, level].tolist() for level, size in enumerate(STRATA, 1)},
                **against_exact,
            }
        )

    def _against_exact(self, comparison: Comparison) -> dict[str, list[float]]:
        """Measures of the index, and of the difference that an exact scan of the same round would have made."""
        search, scores = comparison.search, comparison.exact
        exact = average_precision(scores, self.relevant.to(scores.device), None).cpu()
        own = average_precision(search.scores, self.relevant, None)
        same = (search.picks[:, :, None] == comparison.exact_picks[:, None]).any(dim=1).double()
        return {
            "certified": search.certified.double().tolist(),
            "scanned": search.scanned.double().tolist(),
            "shortlist": search.length.double().tolist(),
            "search_seconds": search.seconds.tolist(),
            "pick_recall": same.mean(dim=1).tolist(),
            "ap_exact": exact.tolist(),
            "ap_change": (own - exact).tolist(),
        }

    def asked(self, round_: Round) -> pd.DataFrame:
        """One row per question of the round, with the user's answer."""
        question, corners = round_.question, ("x0", "y0", "x1", "y1")
        columns = ["class_name", "query", "round", "image", "path", "region", "score", "relevant", *corners]
        rows = [
            (
                query.class_name,
                query.number,
                round_.number,
                feedback.image,
                self.paths[feedback.image],
                int(question.region[position, rank]),
                float(question.score[position, rank]),
                None if feedback.answer is Answer.UNSURE else feedback.answer is Answer.RELEVANT,
                *([None] * 4 if feedback.box is None else feedback.box.tolist()),
            )
            for position, (query, answers) in enumerate(zip(self.queries, round_.feedback, strict=True))
            for rank, feedback in enumerate(answers)
        ]
        return pd.DataFrame(rows, columns=columns)

    def _coverage(self, found: Bool[Tensor, "q n"]) -> list[float]:
        shares = [
            coverage(self._clusters[query.class_name], row[self._positives[query.class_name]][None])
            for query, row in zip(self.queries, found, strict=True)
        ]
        return torch.cat(shares).tolist()
