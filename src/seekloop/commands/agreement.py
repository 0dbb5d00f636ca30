"""`seekloop agreement`: do two criteria ask about other images, and do their networks believe other things?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd
from hydra.utils import instantiate
from jaxtyping import Int
from torch import Tensor

from seekloop.artifacts.files import make_folder, write_bytes
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Evaluation, Propagation
from seekloop.contracts.randomness import generator
from seekloop.learning.agreement import agreement as held_against
from seekloop.learning.agreement import ranks, spearman
from seekloop.learning.cycles import view_of
from seekloop.logs.figures import draw_all
from seekloop.logs.finished import look_up
from seekloop.logs.learn_figures import rank_against_rank
from seekloop.logs.learn_folder import LearnFolder
from seekloop.logs.status import read_config
from seekloop.logs.tables import print_table

PLACE = "agreement"


def agreement(arguments: Sequence[str]) -> None:
    """Hold runs against the first one; a table, `agreement.csv` and a plot of ranks, beside the runs.

    Pseudo-labels are propagated over each run's own features and labels, as the first run's config has it. Ranks are
    those that each run's criterion gives to the images of the first run's view.

    Arguments: the runs, the first of them the reference; `cycle=<number>`; `ranks=<how many images are ranked>`.

    Raises:
        ConfigError: if the words are of another form.
        ValueError: if a run kept no views.
    """
    numbers = {"cycle": 1, "ranks": 100}
    runs = []
    for word in arguments:
        name, equals, value = word.partition("=")
        if equals and name in numbers:
            if not value.isdigit():
                raise ConfigError(name, value, "it is no whole number", "Write it in digits, such as 1.")
            numbers[name] = int(value)
        else:
            runs.append(LearnFolder(word))
    if len(runs) < 2:
        raise ConfigError("run", list(arguments), "two or more runs are compared", "Name their folders.")
    table, ranked = compared(runs, numbers["cycle"], numbers["ranks"])
    place = runs[0].path.parent / PLACE
    make_folder(place, "runs_dir")
    write_bytes(place / "agreement.csv", table.to_csv(index=False).encode(), "runs_dir")
    draw_all(place, {"ranks": lambda: rank_against_rank(ranked)}, print)
    print_table(table, f"cycle {numbers['cycle']}, against {runs[0].path.name}")
    print(f"shares of weight; the table and the ranks: {place}")


def compared(runs: Sequence[LearnFolder], cycle: int, count: int) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    """One row per run but the first; and the ranks by each run's criterion, the first one's first."""
    configs = [read_config(run) for run in runs]
    views = [run.view(cycle) for run in runs]
    pool = instantiate(configs[0]["dataset"]).load()
    propagation: Propagation = instantiate(configs[0]["propagation"])
    classes = len(pool.classes)
    pseudo = [propagation(view["features"], view["labels"], classes) for view in views]
    ranked = {run.path.name: _ranked(config, views[0], cycle, count) for run, config in zip(runs, configs, strict=True)}
    first, rows = next(iter(ranked.values())), []
    for run, config, view, labels in list(zip(runs, configs, views, pseudo, strict=True))[1:]:
        untold = (views[0]["labels"] < 0) & (view["labels"] < 0)
        found = held_against(pseudo[0], labels, pool.train.labels, untold)
        mine = ranked[run.path.name]
        either = (first < count) | (mine < count)
        both = int(((first < count) & (mine < count)).sum())
        correlation = {"asked_by_both": both / count, "rank_correlation": spearman(first[either], mine[either])}
        rows.append({"criterion": look_up(config, "criterion"), "run": run.path.name, **asdict(found), **correlation})
    return pd.DataFrame(rows), ranked


def _ranked(config: Mapping[str, object], view: Mapping[str, Tensor], cycle: int, count: int) -> Int[Tensor, " n"]:
    seen = view_of(Evaluation(view["features"], view["probabilities"]), view["labels"], cycle)
    words = [int(str(config[name])) for name in ("seed", "split")]
    return ranks(instantiate(config["criterion"]), seen, count, generator(words[0], words[1], cycle, "criterion"))
