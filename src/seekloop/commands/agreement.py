"""`seekloop agreement`: do two criteria ask about other images, and do their networks believe other things?"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from hydra.utils import instantiate
from jaxtyping import Int
from torch import Tensor

from seekloop.artifacts.files import make_folder, write_bytes
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Evaluation, Propagation
from seekloop.contracts.randomness import generator
from seekloop.learning.agreement import agreement as compare_labels
from seekloop.learning.agreement import ranks, spearman
from seekloop.learning.cycles import view_of
from seekloop.learning.kind import LEARNING
from seekloop.logs.drawing import draw_all
from seekloop.logs.finished import look_up
from seekloop.logs.run_folder import RunFolder
from seekloop.logs.tables import print_table


def agreement(arguments: Sequence[str]) -> None:
    """Compare runs with the first one; a table, `agreement.csv` and a plot of ranks, beside the runs.

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
            runs.append(RunFolder(word, LEARNING))
    if len(runs) < 2:
        raise ConfigError("run", list(arguments), "two or more runs are compared", "Name their folders.")
    table, ranked = compared(runs, numbers["cycle"], numbers["ranks"])
    folder = runs[0].path.parent / "agreement"
    make_folder(folder, "runs_dir")
    write_bytes(folder / "agreement.csv", table.to_csv(index=False).encode(), "runs_dir")
    from seekloop.logs.figures import rank_against_rank

    draw_all(folder, {"ranks": lambda: rank_against_rank(ranked)}, print)
    print_table(table, f"cycle {numbers['cycle']}, against {runs[0].path.name}")
    print(f"shares of weight; the table and the ranks: {folder}")


def compared(runs: Sequence[RunFolder], cycle: int, count: int) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    """One row per run but the first; and the ranks by each run's criterion, the first one's first."""
    views = [run.view(cycle) for run in runs]
    config: Mapping[str, Any] = runs[0].config
    dataset = rebuilt(config["dataset"]).load()
    propagation: Propagation = rebuilt(config["propagation"])
    pseudo = [propagation(view["features"], view["labels"], len(dataset.classes)) for view in views]
    ranked = {run.path.name: _ranked(run.config, views[0], cycle, count) for run in runs}
    first, rows = ranked[runs[0].path.name], []
    for run, view, labels in zip(runs[1:], views[1:], pseudo[1:], strict=True):
        unknown = (views[0]["labels"] < 0) & (view["labels"] < 0)
        same = compare_labels(pseudo[0], labels, dataset.train.labels, unknown)
        other = ranked[run.path.name]
        either = (first < count) | (other < count)
        both = int(((first < count) & (other < count)).sum())
        correlation = {"asked_by_both": both / count, "rank_correlation": spearman(first[either], other[either])}
        criterion = look_up(run.config, "criterion")
        rows.append({"criterion": criterion, "run": run.path.name, **asdict(same), **correlation})
    return pd.DataFrame(rows), ranked


def _ranked(config: Mapping[str, Any], view: Mapping[str, Tensor], cycle: int, count: int) -> Int[Tensor, " n"]:
    seen = view_of(Evaluation(view["features"], view["probabilities"]), view["labels"], cycle)
    words = [int(str(config[name])) for name in ("seed", "split")]
    return ranks(rebuilt(config["criterion"]), seen, count, generator(words[0], words[1], cycle, "criterion"))


def rebuilt(node: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the run's config names
    """Build a part as a run recorded it; a class of ours is found where it has moved to within its folder.

    Example:
        >>> rebuilt({"_target_": "seekloop.criteria.entropy.Entropy"})  # since moved to criteria.probabilities
        Entropy()
    """
    module, _, name = str(node["_target_"]).rpartition(".")
    folder = ".".join(module.split(".")[:2])
    if folder.startswith("seekloop.") and importlib.util.find_spec(module) is None:
        modules = [one.name for one in pkgutil.iter_modules(importlib.import_module(folder).__path__)]
        homes = [one for one in modules if hasattr(importlib.import_module(f"{folder}.{one}"), name)]
        module = f"{folder}.{homes[0]}" if homes else module
    return instantiate({**node, "_target_": f"{module}.{name}"})
