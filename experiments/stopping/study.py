"""How far estimates of what remains err, how often their intervals hold, and what a rule costs in labels.

    python experiments/stopping/study.py play ROWS.csv NAME OVERRIDES... -- FAULTS... [-- FAULTS...]
    python experiments/stopping/study.py estimates ROWS.csv > TABLE.csv
    python experiments/stopping/study.py rules ROWS.csv > TABLE.csv

`play` plays searches with the overrides of `seekloop retrieve`, once for each kind of user (FAULTS such as
`user.missed=0.1`; `perfect` has none), and adds a row per search and round to ROWS.csv: what was found, what remains,
and every estimate of it. The other two make the tables of the page.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

import seekloop
from seekloop.commands.compose import build_loop, resolve
from seekloop.commands.parts import build
from seekloop.commands.simulated import simulation_of
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Query
from seekloop.loop.engine import ANSWER_CODE
from seekloop.loop.stopping import ESTIMATORS, RANDOM, Progress, Turn, criterion_name, progress_of, turn_of

DESCRIBED = ("collection", "backbone", "regions", "encoding", "pooling", "trainer", "store_dir", "grid")
CHECKS = (60, 120)
"""Images of the random sample that is drawn after a round, beside the search."""
SLOW, EVERY = ("isotonic", "chao", "chao_rivest"), 5
"""Estimates that take long, and the rounds between two of them."""
IN_A_ROW = (10, 20, 30, 50)
GOALS = (0.5, 0.8, 0.9)
SEARCH = ["data", "user", "class_name", "query"]


@dataclass(frozen=True)
class Told:
    """One search: the truth, and what its user would say of every image."""

    query: Query
    truth: Tensor
    told: Tensor


def play(path: Path, name: str, overrides: list[str], faults: list[str]) -> None:
    """Play the searches of one user."""
    store = seekloop.extract(*[one for one in overrides if one.split("=")[0].split(".")[0] in DESCRIBED])
    config = resolve("retrieve", [*overrides, *faults])
    asked, loop, known = simulation_of(config), build_loop(config, store), store.collection.annotations
    queries, _ = asked.draw(known, store.readable, ())
    user = build(config, "user", annotations=known, seed=asked.seed, draws_boxes=loop.representation.local.uses_boxes)
    truth = known.relevance(store.images)
    searches = [
        Told(
            query,
            truth[known.classes.index(query.class_name)],
            torch.tensor([ANSWER_CODE[user.answer(query, image, 0, False).answer] for image in range(store.images)]),
        )
        for query in queries
    ]
    rows, who = [], " ".join(faults) or "perfect"
    state = loop.start(queries, [0.0 for _ in queries])
    turns: list[tuple[Turn, ...]] = [() for _ in queries]
    for done, after in loop.rounds(state, user, rounds=asked.rounds, budget=asked.budget):
        for position, one in enumerate(searches):
            if done.number:
                turns[position] += (turn_of(done, position, criterion_name(loop.criterion)),)
            progress = progress_of(loop, after, position, turns[position])
            rows.append({"data": name, "user": who, "round": done.number, **measured(progress, one)})
    before = [pd.read_csv(path)] if path.exists() else []
    pd.concat([*before, pd.DataFrame(rows)]).to_csv(path, index=False)


def measured(progress: Progress, search: Told) -> dict[str, object]:
    """What was found, what remains (by the truth, and by what its user would say), and every estimate of that."""
    left, said = progress.candidate, torch.cat([torch.zeros(0), *(turn.answer for turn in progress.turns)])
    finds = (said == 1).nonzero()[:, 0]
    row: dict[str, object] = {
        "class_name": search.query.class_name,
        "query": search.query.number,
        "labels": int((progress.answers != 0).sum()),
        "found": progress.found,
        "right": int(((progress.answers == 1) & search.truth).sum()),
        "total": int(search.truth.sum()),
        "remain": int((left & (search.told == 1)).sum()),
        "remain_true": int((left & search.truth).sum()),
        "in_a_row": len(said) - 1 - int(finds[-1]) if len(finds) else len(said),
    }
    for name, key, known in checks(progress, search):
        if (one := ESTIMATORS[name](known, 0.95)) is not None:
            gained = known.found - progress.found  # by the check, which is no part of the search here
            row |= {
                f"{key}_low": one.low + gained,
                f"{key}_value": one.value + gained,
                f"{key}_high": one.high + gained,
            }
    return row


def checks(progress: Progress, search: Told) -> Iterator[tuple[str, str, Progress]]:
    """Estimators with the search that each looks at: random samples are drawn beside it."""
    for name in ESTIMATORS:
        if name != "sample" and (name not in SLOW or len(progress.turns) % EVERY == 0):
            yield name, name, progress
    left = progress.candidate.nonzero()[:, 0]
    rng = generator(0, "check", search.query.class_name, search.query.number, len(progress.turns))
    order = left[torch.randperm(len(left), generator=rng)]
    for size in CHECKS:
        image, answers, candidate = order[:size], progress.answers.clone(), progress.candidate.clone()
        answers[image], candidate[image] = search.told[image].to(answers), False
        turn = Turn(RANDOM, image, search.told[image], progress.scores[image])
        yield (
            "sample",
            f"sample_{size}",
            replace(progress, turns=(*progress.turns, turn), answers=answers, candidate=candidate),
        )


def estimates(rows: pd.DataFrame) -> pd.DataFrame:
    """Errors and intervals of every estimator; errors are shares of all relevant images, by what the user would say.

    Columns: median error and mean absolute error of the total; `holds`, how often the 95 % interval does; `not_above`,
    how often no more remain than its upper end; `holds_truth`, as `holds` by the annotations; the median upper end of
    the total as a multiple of it.
    """
    lines = []
    for (data, user, part), some in rows.groupby(["data", "user", "part"], sort=False):
        for name in [column.removesuffix("_value") for column in some if column.endswith("_value")]:
            known = some[some[f"{name}_value"].notna()]
            low, value, high = (known[f"{name}_{end}"] for end in ("low", "value", "high"))
            total = known["found"] + known["remain"]
            error = (value - known["remain"]) / total
            lines.append(
                {
                    "data": data,
                    "user": user,
                    "found": part,
                    "estimator": name,
                    "n": len(known),
                    "error": error.median(),
                    "absolute": error.abs().mean(),
                    "holds": known["remain"].between(low, high).mean(),
                    "not_above": (known["remain"] <= high).mean(),
                    "holds_truth": known["remain_true"].between(low, high).mean(),
                    "upper": ((known["found"] + high) / total).median(),
                }
            )
    return pd.DataFrame(lines).round(3)


def rules(rows: pd.DataFrame) -> pd.DataFrame:
    """Where rules stop, against an oracle that stops in the first round with the same goal (or with the same finds).

    Columns: searches that the rule stops, of all; mean labels and recall (by what the user would say) there; share of
    stopped searches that have reached the goal; the oracle's mean labels, for the same searches.
    """
    rows = rows.assign(recall=rows["found"] / (rows["found"] + rows["remain"]))
    lines = []
    for (data, user), some in rows.groupby(["data", "user"], sort=False):
        for name, goal, stops in candidates(some):
            searches = [one.sort_values("round") for _, one in some.assign(stops=stops).groupby(SEARCH)]
            ends = [(one, one[one["stops"]].iloc[0]) for one in searches if one["stops"].any()]
            oracle = [one[one["recall"] >= (min(goal, 1) if goal else end["recall"])] for one, end in ends]
            recall = pd.Series([end["recall"] for _, end in ends], dtype=float)
            lines.append(
                {
                    "data": data,
                    "user": user,
                    "rule": name,
                    "stopped": len(ends),
                    "of": len(searches),
                    "labels": pd.Series([end["labels"] for _, end in ends], dtype=float).mean(),
                    "recall": recall.mean(),
                    "reached": (recall >= goal).mean() if goal and ends else float("nan"),
                    "oracle": pd.Series([one["labels"].min() for one in oracle], dtype=float).mean(),
                }
            )
    return pd.DataFrame(lines).round(3)


def candidates(rows: pd.DataFrame) -> Iterator[tuple[str, float | None, pd.Series]]:
    """Rules, their goals, and the rows in which each says stop."""
    for answers in IN_A_ROW:
        yield f"{answers} in a row", None, rows["in_a_row"] >= answers
    for name in [column.removesuffix("_high") for column in rows if column.endswith("_high")]:
        for goal in GOALS:
            sure = rows["found"] / (rows["found"] + rows[f"{name}_high"])
            yield f"recall {goal} by {name}", goal, sure >= goal


def by_part(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of searches under way: all, then told apart by how much of the whole they have found."""
    share = rows["found"] / (rows["found"] + rows["remain"])
    part = pd.cut(share, [0, 0.5, 0.8, 1.0], labels=["to 50 %", "50 to 80 %", "over 80 %"]).astype(str)
    return pd.concat([rows.assign(part=one)[rows["round"] > 0] for one in ("all", part)])


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "estimates": lambda rows: estimates(by_part(rows)),
    "rules": rules,
}


def main() -> None:
    command, path, *words = sys.argv[1:]
    if command in TABLES:
        TABLES[command](pd.read_csv(path)).to_csv(sys.stdout, index=False)
        return
    parts = [list(part) for is_break, part in groupby(words[1:], lambda word: word == "--") if not is_break]
    for faults in parts[1:]:
        play(Path(path), words[0], parts[0], [] if faults == ["perfect"] else faults)


if __name__ == "__main__":
    main()
