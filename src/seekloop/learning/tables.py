"""Tables of a cycle, and summary of a run. Columns are named in docs/metrics.md."""

from collections.abc import Mapping

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from seekloop.contracts.learning import Dataset
from seekloop.learning.cycles import Cycle, Learnt
from seekloop.learning.measures import accuracy, class_accuracy, confusion, pseudo_label_measures
from seekloop.metrics.curves import area_under_curve


def tables_of(cycle: Cycle, dataset: Dataset, split: int, seconds: float) -> dict[str, pd.DataFrame]:
    """Make all tables of one cycle, by the names of their files.

    Args:
        cycle: that is over.
        dataset: with the truth.
        split: number of the initial set.
        seconds: that the cycle took.
    """
    matrix = confusion(dataset.test.labels, cycle.learnt.test.argmax(dim=1), len(dataset.classes))
    where = {"split": split, "cycle": cycle.number}
    row = {
        **where,
        "labels": int((cycle.labels >= 0).sum()),
        "accuracy": accuracy(matrix),
        "class_accuracy_mean": float(class_accuracy(matrix).nanmean()),
        "class_accuracy_low": _lowest(matrix),
        **_pseudo(cycle.learnt, dataset, cycle.labels),
        "epochs": len(cycle.learnt.epochs),
        "seconds": seconds,
    }
    return {
        "cycles": pd.DataFrame([row]),
        "epochs": pd.DataFrame([{**where, **epoch} for epoch in cycle.learnt.epochs]),
        "classes": _classes(matrix, cycle, dataset).assign(**where),
        "confusion": _confusion(matrix, dataset).assign(**where),
        "asked": _asked(cycle, dataset).assign(**where),
    }


def summarise(cycles: pd.DataFrame) -> dict[str, object]:
    """Summarise a run: area under accuracy against labels, over their range; accuracy at the end and at every cycle."""
    ordered = cycles.sort_values("cycle")
    values = torch.tensor(ordered["accuracy"].to_numpy(float))[None]
    area = float(area_under_curve(values)[0]) if len(ordered) > 1 else float(values[0, 0])
    at = {f"accuracy_{row['labels']:.0f}": float(row["accuracy"]) for _, row in ordered.iterrows()}
    last = ordered.iloc[-1]
    pseudo = {} if pd.isna(last["pseudo_accuracy"]) else {"pseudo_accuracy": float(last["pseudo_accuracy"])}
    return {
        "accuracy_auc": area,
        "accuracy_final": float(last["accuracy"]),
        **at,
        **pseudo,
        "labels_final": int(last["labels"]),
        "cycles": len(ordered),
    }


def per_class(classes: pd.DataFrame) -> pd.DataFrame:
    """List each class at the end: its accuracy, and how many of its images have a label."""
    last = classes[classes["cycle"] == classes["cycle"].max()]
    return last[["class_name", "accuracy", "labels", "images"]].reset_index(drop=True)


def _pseudo(learnt: Learnt, dataset: Dataset, labels: Int[Tensor, " n"]) -> Mapping[str, float]:
    if learnt.pseudo is None:
        return dict.fromkeys(("pseudo_share", "pseudo_accuracy", "pseudo_accuracy_weighted"), float("nan"))
    measures = pseudo_label_measures(learnt.pseudo, dataset.train.labels, labels)
    return {name: value for name, value in measures.items() if name.startswith("pseudo")}


def _lowest(matrix: Int[Tensor, "c c"]) -> float:
    values = class_accuracy(matrix)
    return float(values[~values.isnan()].min())


def _classes(matrix: Int[Tensor, "c c"], cycle: Cycle, dataset: Dataset) -> pd.DataFrame:
    known = cycle.labels[cycle.labels >= 0]
    asked = dataset.train.labels[cycle.asked]
    counts = {name: torch.bincount(t, minlength=len(matrix)) for name, t in (("labels", known), ("asked", asked))}
    columns = {"class_name": dataset.classes, "accuracy": class_accuracy(matrix), "images": matrix.sum(dim=1), **counts}
    return pd.DataFrame(
        {name: list(dataset.classes) if name == "class_name" else values for name, values in columns.items()}
    )


def _confusion(matrix: Int[Tensor, "c c"], dataset: Dataset) -> pd.DataFrame:
    cells = [(dataset.classes[i], dataset.classes[j], int(matrix[i, j])) for i, j in matrix.nonzero().tolist()]
    return pd.DataFrame(cells, columns=["class_name", "predicted", "images"])


def _asked(cycle: Cycle, dataset: Dataset) -> pd.DataFrame:
    """One row per image asked about after this cycle, with the network's prediction."""
    columns = ["order", "image", "class_name", "predicted", "probability", "margin"]
    if cycle.view is None:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    likely = cycle.learnt.train.probabilities[cycle.asked].max(dim=1)
    rows = zip(cycle.asked.tolist(), likely.indices.tolist(), likely.values.tolist(), strict=True)
    names, margins = dataset.classes, cycle.view.scores[0].cpu()
    table = [
        (order, image, names[int(dataset.train.labels[image])], names[guess], probability, float(margins[image]))
        for order, (image, guess, probability) in enumerate(rows)
    ]
    return pd.DataFrame(table, columns=columns)
