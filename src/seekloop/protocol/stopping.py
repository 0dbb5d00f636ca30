"""Where a rule stops each search of a simulation. Searches are independent: none is asked anything else for it."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Query
from seekloop.loop.engine import Loop
from seekloop.loop.state import Round, State
from seekloop.loop.stopping import Rule, Turn, criterion_name, progress_of, turn_of


class Stops:
    """Asks a rule after every round, of each search that it has not stopped.

    Args:
        rule: None: nothing stops.
        loop: of the searches.
        relevant: images that show what each search is for, by the annotations; the rule does not see them.
    """

    def __init__(self, rule: Rule | None, loop: Loop, relevant: Bool[Tensor, "q n"]) -> None:
        self.rule, self.loop, self.relevant = rule, loop, relevant
        self.criterion = criterion_name(loop.criterion)
        self.stopped = torch.zeros(len(relevant), dtype=torch.bool)
        self._recall = torch.zeros(len(relevant), dtype=torch.float64)
        self._turns: list[tuple[Turn, ...]] = [() for _ in relevant]

    @property
    def over(self) -> bool:
        """Whether the rule has stopped all searches."""
        return self.rule is not None and bool(self.stopped.all())

    def resume(self, queries: Sequence[Query], rounds: pd.DataFrame, asked: pd.DataFrame) -> None:
        """Take up the rounds of a run that was interrupted, from its tables.

        Args:
            queries: the searches.
            rounds: table of rounds.
            asked: table of questions.
        """
        if self.rule is None:
            return
        named = {(query.class_name, query.number): position for position, query in enumerate(queries)}
        last = rounds[rounds["round"] == rounds["round"].max()]
        for name, number, stopped in zip(last["class_name"], last["query"], last["stopped"], strict=True):
            self.stopped[named[name, number]] = bool(stopped)
        for _, rows in asked.groupby(["class_name", "query", "round"], sort=True):
            name, number = rows["class_name"].iloc[0], rows["query"].iloc[0]
            told = [0 if pd.isna(one) else 1 if one else -1 for one in rows["relevant"]]
            turn = Turn(
                self.criterion,
                torch.tensor(rows["image"].tolist()),
                torch.tensor(told),
                torch.tensor(rows["score"].tolist(), dtype=self.loop.engine.dtype),
            )
            self._turns[named[name, number]] += (turn,)

    def until(self, rounds: Iterable[tuple[Round, State]]) -> Iterator[tuple[Round, State]]:
        """The rounds until all searches have stopped."""
        if self.over:
            return
        for done, after in rounds:
            self._judge(done, after)
            yield done, after
            if self.over:
                return

    def columns(self) -> dict[str, list[float]]:
        """Columns of the last round's rows: share of the relevant images that are found, and 1 once stopped."""
        if self.rule is None:
            return {}
        return {"recall": self._recall.tolist(), "stopped": self.stopped.double().tolist()}

    def _judge(self, done: Round, after: State) -> None:
        if self.rule is None:
            return
        self._recall = ((after.answers == 1) & self.relevant).sum(dim=1) / self.relevant.sum(dim=1).double()
        for position in range(len(self.stopped)):
            if done.number:
                self._turns[position] += (turn_of(done, position, self.criterion),)
            if not self.stopped[position]:
                progress = progress_of(self.loop, after, position, self._turns[position])
                self.stopped[position] = self.rule(progress).stop


def check_rule(rule: Rule, criterion: str) -> None:
    """Refuse a rule that could never say stop where this criterion asks.

    Raises:
        ConfigError: saying what goes together.
    """
    if not rule.works_with(criterion):
        why = f"it never says stop where criterion={criterion} asks all questions"
        fix = "An estimator=sample needs criterion=random, without_find and the other estimators any other criterion."
        raise ConfigError("loop.stop", type(rule).__name__, why, fix)
