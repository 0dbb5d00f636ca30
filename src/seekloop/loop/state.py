"""Where each search of an experiment stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import Query
from seekloop.contracts.scorers import pack_scorer, unpack_scorer


@dataclass(frozen=True)
class LabelledRows:
    """Training rows of one search, by reference: image, region (or WHOLE, PROTOTYPE) and label of each."""

    image: Int[Tensor, " r"]
    region: Int[Tensor, " r"]
    label: Float[Tensor, " r"]

    @staticmethod
    def none() -> "LabelledRows":
        """No rows yet."""
        return LabelledRows(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), torch.empty(0))

    def add(self, image: Int[Tensor, " k"], region: Int[Tensor, " k"], label: Float[Tensor, " k"]) -> "LabelledRows":
        """These rows and, behind them, some more."""
        return LabelledRows(
            torch.cat([self.image, image]), torch.cat([self.region, region]), torch.cat([self.label, label])
        )


@dataclass
class State:
    """All searches of an experiment, side by side, after `round` rounds.

    Attributes:
        queries: one per search.
        answers: +1 relevant, -1 irrelevant, 0 not answered or unsure.
        candidate: which images may still be asked about.
        rows: training rows of each search, in the order they were labelled.
        seconds: user time spent on each search.
        scorer: the classifier fitted last; None before the first fit.
        round: number of the round that `scorer` belongs to; -1 before the first fit.
    """

    queries: tuple[Query, ...]
    answers: Int[Tensor, "q n"]
    candidate: Bool[Tensor, "q n"]
    rows: list[LabelledRows]
    seconds: Float[Tensor, " q"]
    scorer: Scorer | None
    round: int

    def pack(self) -> dict[str, Any]:
        """What a checkpoint keeps; the tables over all images only where they are not the default."""
        answered = self.answers.nonzero()
        return {
            "answered": answered,
            "answers": self.answers[answered[:, 0], answered[:, 1]],
            "left_pool": (~self.candidate).nonzero(),
            "rows": [(r.image, r.region, r.label) for r in self.rows],
            "seconds": self.seconds,
            "scorer": pack_scorer(self.scorer),
            "round": self.round,
        }

    @staticmethod
    def unpack(packed: Mapping[str, Any], queries: tuple[Query, ...], images: int) -> "State":
        """The state that `pack` was called on."""
        answers = torch.zeros(len(queries), images, dtype=torch.int8)
        answers[packed["answered"][:, 0], packed["answered"][:, 1]] = packed["answers"]
        candidate = torch.ones(len(queries), images, dtype=torch.bool)
        candidate[packed["left_pool"][:, 0], packed["left_pool"][:, 1]] = False
        rows = [LabelledRows(*row) for row in packed["rows"]]
        scorer = unpack_scorer(packed["scorer"])
        return State(queries, answers, candidate, rows, packed["seconds"], scorer, packed["round"])
