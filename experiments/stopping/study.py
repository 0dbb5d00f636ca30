"""How far estimates of what remains err, how often their intervals hold, and what a rule costs in labels.

    python experiments/stopping/study.py play ROWS.csv NAME OVERRIDES... -- FAULTS... [-- FAULTS...]
    python experiments/stopping/study.py table ROWS.csv [ROWS.csv ...]

`play` plays searches with the overrides of `seekloop retrieve`, once for each of the user's faults (such as
`user.missed=0.1`; `-` is a perfect user), and adds a row per search and round: what was found, what remains, and every
estimate of it. `table` prints the tables of the page.
"""

import sys
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch

import seekloop
from seekloop.commands.compose import build_loop, resolve
from seekloop.commands.parts import build
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Answer, Query
from seekloop.loop.stopping import (
    ESTIMATORS,
    RANDOM,
    Progress,
    Turn,
    WithoutFind,
    criterion_name,
    progress_of,
    turn_of,
)
from seekloop.protocol.simulation import Simulation

CODE = {Answer.RELEVANT: 1, Answer.IRRELEVANT: -1, Answer.UNSURE: 0}
DESCRIBED = ("collection", "backbone", "regions", "encoding", "pooling", "trainer", "store_dir", "grid")
CHECKS = (60, 120)
"""Images of the random sample that is drawn after each round, beside the search."""
ROWS = (10, 20, 30, 50)
GOALS = (0.7, 0.8, 0.9)


def play(path: Path, name: str, overrides: list[str], faults: list[str]) -> None:
    """Play the searches of one user."""
    store = seekloop.extract(*[one for one in overrides if one.split("=")[0].split(".")[0] in DESCRIBED])
    config = resolve("retrieve", [*overrides, *faults])
    asked = Simulation(**{key: config.loop[key] for key in ("queries", "negatives", "rounds", "budget", "classes")})
    loop, known = build_loop(config, store), store.collection.annotations
    queries, _ = asked.draw(known, store.readable, ())
    user = build(config, "user", annotations=known, seed=config.seed, draws_boxes=loop.representation.local.uses_boxes)
    truth = known.relevance(store.images)
    truth = torch.stack([truth[known.classes.index(query.class_name)] for query in queries])
    told = torch.tensor(
        [[CODE[user.answer(query, image, 0, False).answer] for image in range(store.images)] for query in queries]
    )
    criterion, turns, rows = criterion_name(loop.criterion), [[] for _ in queries], []
    state = loop.start(queries, [0.0 for _ in queries])
    for done, after in loop.rounds(state, user, rounds=asked.rounds, budget=asked.budget):
        for position, query in enumerate(queries):
            if done.number:
                turns[position].append(turn_of(done, position, criterion))
            progress = progress_of(loop, after, position, tuple(turns[position]))
            row = {"data": name, "faults": " ".join(faults), "class_name": query.class_name, "query": query.number}
            left = progress.candidate
            row |= {
                "round": done.number,
                "labels": int((progress.answers != 0).sum()),
                "found": progress.found,
                "right": int(((progress.answers == 1) & truth[position]).sum()),
                "shown": int((left & truth[position]).sum()),
                "told": int((left & (told[position] == 1)).sum()),
                "total": int(truth[position].sum()),
                "row": int(WithoutFind(answers=1)(progress).why.split()[0]),
            }
            rows.append(row | estimates(progress, told[position], query, done.number))
    table = pd.DataFrame(rows)
    table.to_csv(path, mode="a", header=not path.exists(), index=False)


def estimates(progress: Progress, told: torch.Tensor, query: Query, number: int) -> dict[str, float]:
    """Every estimate, with the ends of its 95 % interval."""
    found = {}
    for name, estimator in ESTIMATORS.items():
        for sample in CHECKS if name == "sample" else (0,):
            known = checked(progress, told, sample, query, number) if sample else progress
            if (one := estimator(known, 0.95)) is not None:
                gained = known.found - progress.found
                key = f"{name}{sample or ''}"
                found |= {f"{key}_low": one.low + gained, f"{key}_value": one.value + gained}
                found |= {f"{key}_high": one.high + gained}
    return found


def checked(progress: Progress, told: torch.Tensor, sample: int, query: Query, number: int) -> Progress:
    """The search after a check of the rest."""
    left = progress.candidate.nonzero()[:, 0]
    rng = generator(0, "check", query.class_name, query.number, number)
    image = left[torch.randperm(len(left), generator=rng)[:sample]]
    answers, candidate = progress.answers.clone(), progress.candidate.clone()
    answers[image], candidate[image] = told[image].to(answers), False
    turn = Turn(RANDOM, image, told[image], progress.scores[image])
    return Progress((*progress.turns, turn), progress.scores, answers, candidate)


def main() -> None:
    _, path, *words = sys.argv[1:]
    parts = [list(part) for is_break, part in groupby(words[1:], lambda word: word == "--") if not is_break]
    for faults in parts[1:]:
        play(Path(path), words[0], parts[0], [] if faults == ["-"] else faults)


if __name__ == "__main__":
    main()
