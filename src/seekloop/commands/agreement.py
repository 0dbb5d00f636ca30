"""`seekloop agreement`: do two criteria choose other images, and do other pseudo-labels follow?"""

import importlib
import importlib.util
import itertools
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hydra.utils import instantiate

from seekloop.artifacts.files import make_folder, write_bytes
from seekloop.commands.python import build
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Evaluation, PseudoLabels
from seekloop.contracts.protocols import Criterion
from seekloop.contracts.randomness import generator
from seekloop.graphs.propagation import certainty
from seekloop.learning.agreement import agreement as compare_labels
from seekloop.learning.agreement import ranks, spearman
from seekloop.learning.cycles import view_of
from seekloop.learning.kind import LEARNING
from seekloop.learning.splits import revealed
from seekloop.logs.drawing import draw_all
from seekloop.logs.finished import look_up
from seekloop.logs.run_folder import RunFolder
from seekloop.logs.tables import print_table


def agreement(arguments: Sequence[str]) -> None:
    """Compare criteria by their choices from one network, or trained networks of several runs (thesis, section 3.6).

    One run and `criterion=`: of the run's network after a cycle, each criterion chooses as many images as the run asks
    for; labels are propagated over the network's features from the labelled images and either choice. All pairs of
    criteria are compared in `agreement.csv`, their ranks of all unlabelled images in `ranks.csv` and `ranks.png`.

    Several runs: what their networks predict after the cycle is compared in place of propagated labels.

    Arguments: the runs; `criterion=<name>,<name>,...`; `cycle=<number>`; `shown=<share of the images that are drawn>`.

    Raises:
        ConfigError: if the words are of another form, or runs cannot be compared.
        ValueError: if a run kept no views.
    """
    options = {"criterion": "", "cycle": "1", "shown": "0.05"}
    given = {name: value for name, equals, value in (word.partition("=") for word in arguments) if name in options}
    runs = [RunFolder(word, LEARNING) for word in arguments if word.partition("=")[0] not in options]
    options |= given
    names = list(dict.fromkeys(name for name in options["criterion"].split(",") if name))
    if not options["cycle"].isdigit():
        raise ConfigError("cycle", options["cycle"], "it is no whole number", "Write it in digits, such as 1.")
    cycle, shown = int(options["cycle"]), _share(options["shown"])
    if not runs or (len(runs) == 1 and len(names) < 2):
        fix = "Name a run and two criteria or more (criterion=entropy,random), or two runs or more."
        raise ConfigError("criterion", options["criterion"], "there is nothing to compare", fix)
    if len(runs) > 1 and given.keys() & {"criterion", "shown"}:
        why, fix = "several runs are compared by what their networks predict", "Name one run with criterion=."
        raise ConfigError("criterion" if "criterion" in given else "shown", given, why, fix)
    folder = runs[0].path.parent / "agreement" / f"{runs[0].path.name}_cycle_{cycle}"
    if len(runs) > 1:
        _write(folder, "trained", trained(runs, cycle))
        return
    table, ranked = propagated(runs[0], names, cycle)
    _write(folder, "agreement", table)
    write_bytes(folder / "ranks.csv", ranked.to_csv(index=False).encode(), "runs_dir")
    from seekloop.logs.figures import rank_against_rank

    draw_all(folder, {"ranks": lambda: rank_against_rank(ranked, shown)}, print)


def propagated(run: RunFolder, names: Sequence[str], cycle: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare criteria by their choices from a run's network: one row per pair; and the ranks, one row per image."""
    config: Mapping[str, Any] = run.config
    view = run.view(cycle)
    dataset, propagation = rebuilt(config["dataset"]).load(), rebuilt(config["propagation"])
    truth, labels, classes = dataset.train.labels, view["labels"], len(dataset.classes)
    seen = view_of(Evaluation(view["features"], view["probabilities"]), labels, cycle)
    budget = int(str(look_up(config, "learning.budget")))
    words = (int(str(config["seed"])), int(str(config["split"])), cycle, "criterion")  # as in the run itself
    answers, pseudo, ranked = {}, {}, {}
    for name in names:
        criterion = _criterion(config, name)
        known = revealed(truth, criterion(seen, budget, [generator(*words)])[0].cpu())
        answers[name] = torch.where(labels >= 0, labels, known)
        pseudo[name] = propagation(view["features"], answers[name], classes)
        ranked[name] = ranks(criterion, seen, generator(*words))
    unlabelled = labels < 0
    rows = []
    for one, other in itertools.combinations(names, 2):
        told = [answers[name] >= 0 for name in (one, other)]
        both = told[0] & told[1] & unlabelled
        rows.append(
            {
                **{"one": one, "other": other, "chosen_by_both": int(both.sum()) / budget},
                "rank_correlation": spearman(ranked[one][unlabelled], ranked[other][unlabelled]),
                **asdict(compare_labels(pseudo[one], pseudo[other], truth, ~(told[0] | told[1]))),
            }
        )
    positions = {"image": unlabelled.nonzero()[:, 0], **{name: rank[unlabelled] for name, rank in ranked.items()}}
    return pd.DataFrame(rows), pd.DataFrame({name: values.numpy() for name, values in positions.items()})


def trained(runs: Sequence[RunFolder], cycle: int) -> pd.DataFrame:
    """Compare what the networks of runs predict on images that neither has a label for: one row per pair of runs.

    Raises:
        ConfigError: if the runs have not begun alike, or are compared before they can differ.
    """
    for key in ("dataset", "seed", "split", "learning.initial"):
        if any(look_up(run.config, key) != look_up(runs[0].config, key) for run in runs):
            raise ConfigError(key, "(differs)", "the runs have not begun alike", "Name runs that differ in criterion.")
    if cycle < 1:
        why = "all networks of cycle 0 have the same labels, whatever the criterion"
        raise ConfigError("cycle", cycle, why, "Use cycle=1 or later.")
    config: Mapping[str, Any] = runs[0].config
    truth = rebuilt(config["dataset"]).load().train.labels
    rows = []
    for pair in itertools.combinations(runs, 2):
        one, other = (run.view(cycle) for run in pair)
        first, second = (PseudoLabels(*certainty(view["probabilities"])) for view in (one, other))
        found = compare_labels(first, second, truth, (one["labels"] < 0) & (other["labels"] < 0))
        rows.append({"one": pair[0].path.name, "other": pair[1].path.name, **asdict(found)})
    return pd.DataFrame(rows)


def _criterion(config: Mapping[str, Any], name: str) -> Criterion:
    """The run's own criterion as it has it, any other with its defaults."""
    own = look_up(config, "criterion") == name
    criterion: Criterion = rebuilt(config["criterion"]) if own else build(f"criterion={name}")
    return criterion


def _share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ConfigError("shown", word, "it is no share above 0 and up to 1", "Use 0.05, or 1 for all images.")
    return share


def _write(folder: Path, name: str, table: pd.DataFrame) -> None:
    make_folder(folder, "runs_dir")
    write_bytes(folder / f"{name}.csv", table.to_csv(index=False).encode(), "runs_dir")
    print_table(table, folder.name)
    print(folder)


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
