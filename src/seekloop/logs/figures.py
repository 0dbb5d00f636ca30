"""Pictures of a run: curves, classes side by side, and the images that were asked about."""

import hashlib
import io
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image, ImageDraw, ImageOps

from seekloop.artifacts.files import make_folder, write_bytes
from seekloop.logs import curves
from seekloop.logs.intervals import half_width
from seekloop.logs.run_folder import RunFolder

Box = tuple[float, float, float, float]
Read = Callable[[int], Image.Image]
RegionBox = Callable[[int, int], Box]
Draw = Callable[[], Figure]
Say = Callable[[str], None]
Style = Literal["-", "--", ":", "-."]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#444444")
"""Told apart by colour-blind readers too (after Okabe and Ito)."""
LINES: tuple[Style, ...] = ("-", "--", ":", "-.")
RIGHT, WRONG, UNSURE, QUERY = "#1a9850", "#d73027", "#8c8c8c", "#e69f00"
NAMES = {
    "ap": "MAP",
    "coverage": "coverage",
    "round": "round",
    "labels": "labelled images",
    "seconds": "user's time (s)",
    "map_auc": "area under MAP",
    "coverage_auc": "area under coverage",
    "accuracy": "accuracy",
    "accuracy_auc": "area under accuracy",
    "accuracy_final": "accuracy at the end",
    "map_50": "mAP-50",
    "map_100": "mAP-100",
    "map_all": "mAP, whole ranking",
    "miou_all": "mIoU of the returned box",
    "corloc": "CorLoc",
    "recall_50": "recall at IoU 0.5",
    "recall_75": "recall at IoU 0.75",
    "ap_small": "small objects",
    "ap_medium": "medium objects",
    "ap_large": "large objects",
}
METRICS = ("ap", "coverage")
AXES = ("round", "labels", "seconds")
BARS = (
    *("map_auc", "coverage_auc", "accuracy_auc", "accuracy_final"),
    *("map_50", "map_100", "map_all", "miou_all", "corloc", "recall_50", "recall_75"),
)
EXAMPLES = 4  # classes whose first query is shown with what it asked
TILE, FRAME, GAP, BELOW, LEFT = 104, 4, 4, 22, 24  # pixels of a contact sheet: thumbnail, its frame, margins
DPI = 110
MANY = 24  # curves in one picture: more could not be told apart
LONGEST = 44  # characters of a label
NAME_BYTES = 200  # of a file's name: most file systems take 255, and W&B adds a step and a hash


def curves_of_run(rounds: pd.DataFrame) -> Figure:
    """MAP and coverage against rounds, labels and the user's time; the band is one deviation over classes."""
    means, band = curves.curve(rounds), curves.spread(rounds)
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    panels = figure.subplots(len(METRICS), len(AXES), sharey="row")
    for row, metric in enumerate(METRICS):
        for column, axis in enumerate(AXES):
            axes = panels[row, column]
            x = means.index if axis == "round" else means[axis]
            line(axes, x, means[metric], band[metric], COLOURS[row], "-", None)
            tidy(axes, NAMES[axis] if row == len(METRICS) - 1 else "", NAMES[metric] if column == 0 else "")
    classes = rounds["class_name"].nunique()
    figure.suptitle(f"Mean over {_count(classes, 'class', 'classes')}, {_count(_queries(rounds), 'query', 'queries')}")
    return figure


def sizes_of_run(rounds: pd.DataFrame) -> Figure:
    """MAP against rounds for images whose objects are small, medium and large."""
    means = curves.curve(rounds)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, colour in zip(("ap_small", "ap_medium", "ap_large"), COLOURS, strict=False):
        if means[name].notna().any():
            line(axes, means.index, means[name], None, colour, "-", NAMES[name])
    tidy(axes, NAMES["round"], NAMES["ap"])
    legend(axes)
    return figure


def compare(runs: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """MAP and coverage against rounds, one line per label; of very many labels, those that end with the highest areas.

    Args:
        runs: the rounds tables of a label's runs (its seeds); the band is the 95 % interval of their mean, if several.
    """
    by_label = {label: _over_runs(tables) for label, tables in runs.items()}
    best = sorted(by_label, key=lambda label: -by_label[label][0]["ap"].mean())[:MANY]
    shown = [label for label in by_label if label in best]
    figure = Figure(figsize=(12, max(4.8, 0.8 + 0.21 * len(shown))), layout="constrained")
    panels = figure.subplots(1, len(METRICS))
    for number, label in enumerate(shown):
        colour, style = COLOURS[number % len(COLOURS)], LINES[number // len(COLOURS) % len(LINES)]
        means, band = by_label[label]
        for axes, metric in zip(panels, METRICS, strict=True):
            line(axes, means.index, means[metric], band[metric], colour, style, None)
    for axes, metric in zip(panels, METRICS, strict=True):
        tidy(axes, NAMES["round"], NAMES[metric])
        axes.set_ylim(max(axes.get_ylim()[0], -0.02), min(axes.get_ylim()[1], 1.02))
    figure.legend(handles=keys_of([short(label) for label in shown]), loc="outside right upper", frameon=False)
    several = any(len(tables) > 1 for tables in runs.values())
    said = ["band: 95 % interval of the mean over runs"] if several else []
    said += [f"the {MANY} with the highest MAP of {len(runs)}"] if len(runs) > MANY else []
    figure.suptitle("; ".join(said), fontsize=9)
    return figure


def _over_runs(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean curves of runs, and half of the 95 % interval of that mean; index round."""
    stacked = pd.concat([curves.curve(table) for table in tables], keys=range(len(tables)), names=["run", "round"])
    rounds = stacked[list(METRICS)].groupby("round")
    return rounds.mean(), rounds.agg(half_width)


def bars_of_classes(classes: pd.DataFrame) -> Figure:
    """Areas under the curves of every class, the best found first; columns class_name, map_auc, coverage_auc."""
    table = classes.sort_values("map_auc", ascending=True)
    figure = Figure(figsize=(10, 1.4 + 0.26 * len(table)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, metric, colour in zip(panels, ("map_auc", "coverage_auc"), COLOURS, strict=False):
        bars(axes, [short(str(name)) for name in table["class_name"]], table[metric], None, colour)
        tidy(axes, NAMES[metric], "")
    return figure


def bars_of_groups(table: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Areas under the curves of groups; whiskers are 95 % intervals of the mean over runs, diamonds the paper's own."""
    figure = Figure(figsize=(12, 1.6 + 0.36 * len(table)), layout="constrained")
    metrics = [name for name in BARS if f"{name}_mean" in table]
    panels = figure.subplots(1, max(len(metrics), 1), sharey=True, squeeze=False)[0]
    backwards, names = table.iloc[::-1], [short(label) for label in labels[::-1]]
    for axes, metric, colour in zip(panels, metrics, COLOURS, strict=False):
        places = bars(axes, names, backwards[f"{metric}_mean"], backwards.get(f"{metric}_ci95"), colour)
        if f"paper_{metric}" in table:
            paper = backwards[f"paper_{metric}"].astype(float)
            axes.plot(paper, places, "D", color="black", markersize=6, linestyle="none", label=_papers(table))
        tidy(axes, NAMES[metric], "")
    if "paper_setup" in table:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", frameon=False)
    return figure


def _papers(table: pd.DataFrame) -> str:
    """What the paper's marks stand for: its own measurement, on what it used."""
    setups = list(dict.fromkeys(table["paper_setup"].dropna()))
    return "the paper's own" + (f" ({setups[0]})" if len(setups) == 1 else "")


def short(label: str) -> str:
    """A label that leaves room for the curves: the middle of a long one is left out; every character can be drawn."""
    half = LONGEST // 2
    cut = label if len(label) <= LONGEST else f"{label[:half]}…{label[-half:]}"
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in cut)
    return shown.replace("$", r"\$")  # no formula


def asked_of_query(asked: pd.DataFrame, query: pd.Series, read: Read, region_box: RegionBox | None) -> Figure:
    """What one query asked about: a row per round, the query image with its box on top.

    Green frames are right, red wrong, grey unsure. Over the image lies the user's box, else the region that scored
    highest; under it the score.

    Args:
        asked: this query's rows of the asked table.
        query: its row of the queries table: class_name, query, image, x0, y0, x1, y1.
        read: gives an image by its position.
        region_box: (image, region) to the region's box; None to draw none.
    """
    sheet = Sheet(rows=1 + asked["round"].nunique(), columns=max([4, *asked.groupby("round").size()]))
    sheet.put(
        0, 0, read(int(query["image"])), _box(query), QUERY, f"{short(str(query['class_name']))} {query['query']}"
    )
    for column, (word, colour) in enumerate({"right": RIGHT, "wrong": WRONG, "unsure": UNSURE}.items(), start=1):
        sheet.explain(column, word, colour)
    for row, (number, questions) in enumerate(asked.groupby("round", sort=True), start=1):
        sheet.name(row, f"round {number}")
        for column, (_, question) in enumerate(questions.iterrows()):
            relevant = question["relevant"]
            colour = UNSURE if pd.isna(relevant) else RIGHT if relevant else WRONG
            box = shown_box(question, region_box)
            sheet.put(row, column, read(int(question["image"])), box, colour, f"{question['score']:+.2f}")
    return sheet.figure()


class Sheet:
    """A contact sheet: thumbnails in rows, painted as one picture, because a hundred axes take a minute to lay out."""

    def __init__(self, rows: int, columns: int) -> None:
        self.canvas = Image.new("RGB", (LEFT + columns * (TILE + GAP), rows * (TILE + BELOW)), "white")
        self.paint = ImageDraw.Draw(self.canvas)
        self.words: list[tuple[float, float, str, str, int]] = []

    def put(self, row: int, column: int, image: Image.Image, box: Box | None, colour: str, caption: str) -> None:
        """Paint one image with its frame and box, the caption under it."""
        left, top = LEFT + column * (TILE + GAP), row * (TILE + BELOW) + GAP
        inner = TILE - 2 * FRAME
        small = ImageOps.contain(image.convert("RGB"), (inner, inner))
        x, y = left + (TILE - small.width) // 2, top + (TILE - small.height) // 2
        self.paint.rectangle((left, top, left + TILE - 1, top + TILE - 1), "#f2f2f2", colour, FRAME)
        self.canvas.paste(small, (x, y))
        if box is not None:
            sides = [
                x + box[0] * small.width,
                y + box[1] * small.height,
                x + box[2] * small.width,
                y + box[3] * small.height,
            ]
            self._outline(sides, colour)
        self.words.append((left + TILE / 2, top + TILE + 9, caption, colour, 0))

    def name(self, row: int, word: str) -> None:
        """Write a row's name at its left."""
        self.words.append((LEFT / 2 - 2, row * (TILE + BELOW) + GAP + TILE / 2, word, "black", 90))

    def explain(self, column: int, word: str, colour: str) -> None:
        """Say in the first row what a colour means."""
        left, top = LEFT + column * (TILE + GAP) + TILE / 4, GAP + TILE / 3
        self.paint.rectangle((left, top, left + TILE / 2, top + TILE / 3), "white", colour, FRAME)
        self.words.append((left + TILE / 4, top + TILE / 6, word, colour, 0))

    def figure(self) -> Figure:
        """The sheet, a pixel of the figure for each of its own."""
        width, height = self.canvas.size
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.imshow(np.asarray(self.canvas), extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
        for x, y, word, colour, angle in self.words:
            axes.text(x, y, word, color=colour, fontsize=7, rotation=angle, ha="center", va="center")
        return figure

    def _outline(self, sides: Sequence[float], colour: str) -> None:
        x0, y0, x1, y1 = (round(side) for side in sides)
        self.paint.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline="white", width=4)
        self.paint.rectangle((x0 + 1, y0 + 1, max(x1 - 2, x0 + 1), max(y1 - 2, y0 + 1)), outline=colour, width=2)


def write_figures(
    folder: RunFolder, classes: pd.DataFrame, read: Read, region_box: RegionBox | None, say: Say = print
) -> list[Path]:
    """Write a run's figures as PNG into `figures/`: curves, classes, and what the first query of some classes asked.

    Args:
        folder: of the run.
        classes: one row per class, with the areas under its curves.
        read: gives an image by its position.
        region_box: (image, region) to the region's box.
        say: is told which figures are missing.
    """
    rounds, asked, queries = folder.rounds(), folder.asked(), folder.queries()
    drawn: dict[str, Draw] = {
        "curves": lambda: curves_of_run(rounds),
        "classes": lambda: bars_of_classes(classes),
    }
    if rounds[["ap_small", "ap_medium", "ap_large"]].notna().any(axis=None):
        drawn["sizes"] = lambda: sizes_of_run(rounds)
    first = queries.drop_duplicates("class_name").head(EXAMPLES)
    for name, (_, query) in zip(file_names("asked_", first["class_name"], ".png"), first.iterrows(), strict=True):
        mine = asked[asked["class_name"].eq(query["class_name"]) & asked["query"].eq(query["query"])]
        drawn[name] = partial(asked_of_query, mine, query, read, region_box)
    return draw_all(folder.path / "figures", drawn, say)


def draw_all(place: Path, drawn: Mapping[str, Draw], say: Say) -> list[Path]:
    """Draw figures and write each as PNG; one that cannot be drawn or written is told, as the numbers are whole.

    Args:
        place: folder of the figures.
        drawn: what draws each figure, by the name of its file without `.png`.
        say: is told which figures are missing, and why.

    Returns:
        The files that were written.
    """
    written = []
    for name, draw in drawn.items():
        path = place / f"{name}.png"
        try:
            make_folder(place, "runs_dir")
            written.append(save(draw(), path))
        except Exception as error:  # whatever it is: the run's numbers are worth more than a picture of them
            say(f"figure {path} is missing: {reason(error)}. The numbers are whole without it")
    return written


def reason(error: Exception) -> str:
    """Why something could not be drawn or written, in a line."""
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return os.strerror(error.errno)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def file_names(before: str, names: Iterable[object], after: str) -> list[str]:
    """Names of files for things with any names, between `before` and `after`, without the latter.

    Different names give different files, also where upper and lower case are the same. What no file name can have is
    quoted (`%2F`); one of more than `NAME_BYTES` bytes with all it takes is cut between two characters, and ends in a
    plus, which is quoted otherwise, and a hash.

    Example:
        >>> file_names("asked_", ["a/b", "cup"], ".png")
        ['asked_a%2Fb', 'asked_cup']
    """
    room, taken, found = NAME_BYTES - len(before) - len(after), set[str](), []
    for name in map(str, names):
        parts = [quote(letter, safe=" ", errors="surrogatepass") for letter in name]
        whole = "".join(parts)
        if len(whole) > room or whole.lower() in taken:
            ending = "+" + hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
            ends = itertools.accumulate(map(len, parts))
            whole = "".join(parts[: sum(end <= room - len(ending) for end in ends)]) + ending
        taken.add(whole.lower())
        found.append(before + whole)
    return found


def save(figure: Figure, path: Path, key: str = "runs_dir") -> Path:
    """Write a figure as PNG, whole or not at all, below the folder that `key` of the config names."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # letters of other alphabets are drawn as boxes
        figure.savefig(buffer, format="png", dpi=DPI, pil_kwargs={"compress_level": 3})
    write_bytes(path, buffer.getvalue(), key)
    return path


def shown_box(question: pd.Series, region_box: RegionBox | None) -> Box | None:
    """The user's box, else the region that scored highest, else none (the whole image)."""
    box = _box(question)
    if box is None and region_box is not None and question["region"] >= 0:
        return region_box(int(question["image"]), int(question["region"]))
    return box


def _box(row: pd.Series) -> Box | None:
    sides = [row[name] for name in ("x0", "y0", "x1", "y1")]
    if any(pd.isna(side) for side in sides):
        return None
    x0, y0, x1, y1 = (float(side) for side in sides)
    return (x0, y0, x1, y1)


def line(
    axes: Axes,
    x: "pd.Series | pd.Index",
    y: pd.Series,
    band: pd.Series | None,
    colour: str,
    style: Style,
    label: str | None,
) -> None:
    """A curve with its band."""
    axes.plot(x, y, color=colour, linestyle=style, linewidth=1.9, label=label, marker="o" if len(y) < 2 else None)
    if band is not None and band.notna().any():
        axes.fill_between(x, y - band, y + band, color=colour, alpha=0.14, linewidth=0)


def bars(axes: Axes, names: Sequence[str], values: pd.Series, errors: pd.Series | None, colour: str) -> list[int]:
    """Horizontal bars with their values written on them; the height of each."""
    places = list(range(len(names)))
    known = None if errors is None or errors.isna().all() else errors.fillna(0)
    axes.barh(places, values, xerr=known, color=colour, height=0.68, error_kw={"elinewidth": 1, "capsize": 2})
    axes.set_yticks(places, list(names))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", length=0)
    for place, value in zip(places, values, strict=True):
        x, ink = (0.01, "white") if value > 0.12 else (value + 0.01, "black")
        axes.text(x, place, f"{value:.3f}", va="center", fontsize=8, color=ink, fontweight="bold")
    return places


def tidy(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Names of the axes, a light grid."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def legend(axes: Axes) -> None:
    """A legend, where there is something to explain."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)


def keys_of(labels: Sequence[str]) -> list[Line2D]:
    """A legend's entries for curves drawn in `COLOURS` and `LINES`."""
    return [
        Line2D([], [], color=COLOURS[n % len(COLOURS)], linestyle=LINES[n // len(COLOURS) % len(LINES)], label=label)
        for n, label in enumerate(labels)
    ]


def _queries(rounds: pd.DataFrame) -> int:
    return len(rounds[["class_name", "query"]].drop_duplicates())


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
