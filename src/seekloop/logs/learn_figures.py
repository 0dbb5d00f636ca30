"""Pictures of a run of `seekloop learn`, and of several side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from seekloop.logs.figures import (
    COLOURS,
    LINES,
    RIGHT,
    WRONG,
    Draw,
    Read,
    Say,
    Sheet,
    bars,
    draw_all,
    keys_of,
    legend,
    line,
    short,
    tidy,
)
from seekloop.logs.learn_folder import LearnFolder

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 20  # images of a cycle that a picture has room for
NAMED = 20  # classes whose names fit beside a matrix


def compare(runs: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Accuracy against labels, one line per label; the band is one deviation over its runs (splits, seeds).

    Args:
        runs: the cycles tables of a label's runs.
    """
    figure = Figure(figsize=(10, max(4.8, 0.8 + 0.21 * len(runs))), layout="constrained")
    axes = figure.subplots()
    for number, tables in enumerate(runs.values()):
        by_labels = pd.concat(tables).groupby("labels")["accuracy"]
        style = LINES[number // len(COLOURS) % len(LINES)]
        means = by_labels.mean()
        line(axes, means.index, means, by_labels.std(ddof=1), COLOURS[number % len(COLOURS)], style, None)
    tidy(axes, "labelled images", "accuracy")
    figure.legend(handles=keys_of([short(label) for label in runs]), loc="outside right upper", frameon=False)
    if any(len(tables) > 1 for tables in runs.values()):
        figure.suptitle("band: one standard deviation over runs", fontsize=9)
    return figure


def curve_of_run(cycles: pd.DataFrame) -> Figure:
    """Accuracy against labels: over all test images, the mean over classes, and the worst class."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    names = {"accuracy": "all images", "class_accuracy_mean": "mean over classes", "class_accuracy_low": "worst class"}
    for (column, label), colour, style in zip(names.items(), COLOURS, LINES, strict=False):
        line(axes, cycles["labels"], cycles[column], None, colour, style, label)
    tidy(axes, "labelled images", "accuracy")
    legend(axes)
    return figure


def epochs_of_run(epochs: pd.DataFrame) -> Figure:
    """Loss, and accuracy and weights of pseudo-labels, over the epochs of all cycles one after the other."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    x = pd.Series(range(1, len(epochs) + 1))
    line(panels[0], x, epochs["loss"], None, COLOURS[0], "-", None)
    for column, label, colour in (
        ("pseudo_accuracy", "all alike", COLOURS[0]),
        ("pseudo_accuracy_weighted", "by weight", COLOURS[1]),
    ):
        line(panels[1], x, epochs[column], None, colour, "-", label)
    for column, label, style in (
        ("weight_mean", "mean", "-"),
        ("weight_low", "10 %", ":"),
        ("weight_high", "90 %", ":"),
    ):
        line(panels[2], x, epochs[column], None, COLOURS[2], style, label)  # type: ignore[arg-type]
    for axes, name in zip(panels, ("loss", "accuracy of pseudo-labels", "weight of pseudo-labels"), strict=True):
        tidy(axes, "epoch", name)
        legend(axes)
    return figure


def classes_of_run(classes: pd.DataFrame) -> Figure:
    """Accuracy of every class at the end; columns class_name, accuracy, labels."""
    table = classes.sort_values("accuracy", ascending=True)
    figure = Figure(figsize=(7, 1.4 + 0.26 * len(table)), layout="constrained")
    axes = figure.subplots()
    names = [
        f"{short(str(name))} ({labels})" for name, labels in zip(table["class_name"], table["labels"], strict=True)
    ]
    bars(axes, names, table["accuracy"], None, COLOURS[0])
    tidy(axes, "accuracy (labels of the class)", "")
    return figure


def confusion_of_run(confusion: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """The last cycle's confusion: rows the truth, columns what it was taken for, as shares of a row."""
    last = confusion[confusion["cycle"] == confusion["cycle"].max()]
    counts = last.pivot(index="class_name", columns="predicted", values="images")
    counts = counts.reindex(index=list(classes), columns=list(classes)).fillna(0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    side = 2.2 + 0.34 * min(len(classes), NAMED)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    figure.colorbar(axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), ax=axes, shrink=0.8)
    if len(classes) <= NAMED:
        names = [short(str(name)) for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(classes)), names, fontsize=8)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    return figure


def asked_of_run(asked: pd.DataFrame, read: Read) -> Figure:
    """The images asked about, a row per cycle; green where the network had the class right, red where wrong."""
    shown = asked[asked["order"] < SHOWN]
    sheet = Sheet(rows=shown["cycle"].nunique(), columns=max(4, int(shown.groupby("cycle").size().max())))
    for row, (number, questions) in enumerate(shown.groupby("cycle", sort=True)):
        sheet.name(row, f"cycle {number}")
        for column, (_, question) in enumerate(questions.iterrows()):
            right = question["class_name"] == question["predicted"]
            caption = f"{short(str(question['predicted']))} {question['probability']:.2f}"
            sheet.put(row, column, read(int(question["image"])), None, RIGHT if right else WRONG, caption)
    return sheet.figure()


def rank_against_rank(ranked: "Mapping[str, Tensor]") -> Figure:
    """Ranks by each criterion against those by the first, from 0; what one would not rank is on its edge.

    Args:
        ranked: ranks of all images by the name of the run.
    """
    (reference, first), *others = ranked.items()
    figure = Figure(figsize=(1 + 3.4 * len(others), 3.8), layout="constrained")
    panels = figure.subplots(1, len(others), squeeze=False)[0]
    for axes, (name, ranks), colour in zip(panels, others, COLOURS * len(others), strict=False):
        shown = (first < first.max()) | (ranks < ranks.max())
        axes.plot(first[shown].numpy(), ranks[shown].numpy(), ".", color=colour, markersize=4)
        tidy(axes, short(reference), short(name))
    return figure


def write_figures(folder: LearnFolder, classes: pd.DataFrame, read: Read, say: Say = print) -> list[Path]:
    """Write a run's figures as PNG into `figures/`.

    Args:
        folder: of the run.
        classes: one row per class, at the end.
        read: gives an image of the pool by its position.
        say: is told which figures are missing.
    """
    drawn: dict[str, Draw] = {
        "accuracy": lambda: curve_of_run(folder.table("cycles")),
        "epochs": lambda: epochs_of_run(folder.table("epochs")),
        "classes": lambda: classes_of_run(classes),
        "confusion": lambda: confusion_of_run(folder.table("confusion"), list(classes["class_name"])),
    }
    asked = folder.asked()
    if len(asked):
        drawn["asked"] = lambda: asked_of_run(asked, read)
    return draw_all(folder.path / "figures", drawn, say)
