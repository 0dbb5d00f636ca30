"""Figures of a run, and of several side by side, drawn from what its kind declares."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seekloop.logs.curves import curve
from seekloop.logs.drawing import COLOURS, DASHES, MARKERS, Draw, Say, draw_all, file_names, short
from seekloop.logs.intervals import interval
from seekloop.logs.kind import Curve, Lines, Matrix, RunKind
from seekloop.logs.pictures import Read, RegionBox, asked_of_query, asked_of_run
from seekloop.logs.run_folder import RunFolder

Counts = Mapping[str, Mapping[str, float]]
EXAMPLES = 4  # classes whose first query is shown with what it asked
MANY = 24  # curves in one picture: more could not be told apart
PLURALS = (("class", "query"), ("classes", "queries"))
NAMED = 20  # classes whose names fit beside a matrix


def lines_of_run(kind: RunKind, lines: Lines, table: pd.DataFrame, counted: Counts | None = None) -> Figure:
    """Curves of a run, a panel for each axis and each group of columns with values; the band is one deviation.

    Where no group has values, all panels are drawn, and are empty.

    Args:
        kind: of the run.
        lines: what is drawn.
        table: rows of the curves.
        counted: of how many `images` each column is, and the level of `chance`, a thin line.
    """
    of, counted = lines.curve, counted or {}
    means = curve(of, table)
    if of is kind.inner:
        means = means.set_axis(pd.RangeIndex(1, len(means) + 1))  # epochs of all steps, one after the other
    band = curve(of, table, spread=True) if lines.band else None
    groups = {name: list(columns) for name, columns in lines.panels.items()}
    filled = {name: columns for name, columns in groups.items() if means[columns].notna().any(axis=None)} or groups
    several = len(lines.axes) > 1
    rows, width = (len(filled), len(lines.axes)) if several else (1, len(filled))
    size = (4 * width, max(3.6, 3.2 * rows)) if rows * width > 1 else (6, 4)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, width, squeeze=False, sharey="row" if several else False)
    for number, (name, columns) in enumerate(filled.items()):
        for column, axis in enumerate(lines.axes):
            axes = panels[number, column] if several else panels[0, number]
            x = means.index if axis not in means else pd.Index(means[axis])
            colours = COLOURS[number:] if several else COLOURS
            shown = means.set_axis(x)[[one for one in columns if means[one].notna().any()]]
            in_words = {name: lines.labels.get(name, kind.label(name)) for name in columns}
            _draw_lines(axes, shown.rename(columns=in_words | _with_counts(in_words, counted)), colours)
            _draw_chance(axes, shown.columns.astype(str), colours, counted)
            if band is not None:
                low, high = (means[columns[0]] + sign * band[columns[0]] for sign in (-1, 1))
                axes.fill_between(x, low, high, color=colours[0], alpha=0.14, linewidth=0)
            outer = not several or number == rows - 1
            tidy(axes, kind.label(axis) if outer else "", name if not several or column == 0 else "")
    if lines.band:
        counts = [len(table[[*of.over[::-1]][:depth]].drop_duplicates()) for depth in (1, 2)]
        names = [f"{count} {one if count == 1 else many}" for count, one, many in zip(counts, *PLURALS, strict=True)]
        figure.suptitle(f"Mean over {', '.join(names)}")
    return figure


def _with_counts(labels: Mapping[str, str], counted: Counts) -> dict[str, str]:
    """Labels that say of how many images a curve is, where that is known."""
    return {name: f"{labels[name]}: {counts['images']:,} images" for name, counts in counted.items() if name in labels}


def _draw_chance(axes: Axes, names: Iterable[str], colours: Sequence[str], counted: Counts) -> None:
    """A thin line at each column's level of chance."""
    for name, colour in zip(names, colours, strict=False):
        if name in counted:
            axes.axhline(counted[name]["chance"], color=colour, linewidth=0.8)
    if not counted.keys().isdisjoint(names):
        axes.set_title("thin: chance, a ranking that tells no images apart", fontsize=8)


def _draw_lines(axes: Axes, table: pd.DataFrame, colours: Sequence[str]) -> None:
    """A line per column against the index, with a legend where there are several."""
    wide = len(table.columns)
    if not wide:
        return
    marker = "o" if len(table) < 2 else None
    sns.lineplot(
        table, ax=axes, palette=list(colours[:wide]), dashes=list(DASHES[:1] + DASHES[1:] * wide)[:wide],
        errorbar=None, legend=wide > 1, linewidth=1.9, marker=marker,
    )  # fmt: skip
    if wide > 1:
        axes.legend(frameon=False)


def compare(kind: RunKind, runs: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Curves of several settings, one line per label; of very many labels, those with the highest areas.

    Args:
        kind: of the runs.
        runs: the first tables of a label's runs (its seeds); the band is the 95 % interval of their mean, if several.
    """
    if kind.curve is None:
        raise ValueError(f"runs of `{kind.command}` have no curves")
    values = list(kind.compared)
    curves = {label: [_without_setups(kind.curve, table)[values] for table in tables] for label, tables in runs.items()}
    best = sorted(curves, key=lambda label: -pd.concat(curves[label])[values[0]].mean())[:MANY]
    shown = [label for label in curves if label in best]
    frame = pd.concat({label: pd.concat(curves[label]) for label in shown}, names=["label"]).reset_index()
    figure = Figure(figsize=(3 + 4.5 * len(values), max(4.8, 0.8 + 0.21 * len(shown))), layout="constrained")
    panels = figure.subplots(1, len(values), squeeze=False)[0]
    styles = {label: DASHES[(n + n // len(COLOURS)) % len(DASHES)] for n, label in enumerate(shown)}
    colours, markers = ({label: of[n % len(of)] for n, label in enumerate(shown)} for of in (COLOURS, MARKERS))
    steps = frame[kind.curve.axis].nunique()
    for axes, value in zip(panels, values, strict=True):
        band = partial(interval, share=not (frame[value] > 1).any())
        sns.lineplot(
            frame, x=kind.curve.axis, y=value, hue="label", hue_order=shown, palette=colours, style="label",
            style_order=shown, dashes=styles, markers=markers, markevery=max(1, steps // 8), markersize=6,
            errorbar=band, err_kws={"alpha": 0.14, "linewidth": 0}, linewidth=1.7, ax=axes,
        )  # fmt: skip
        tidy(axes, kind.label(kind.curve.axis), kind.label(value))
        _fit(axes)
        handles, _ = axes.get_legend_handles_labels()
        axes.get_legend().remove()
    figure.legend(handles, [short(label) for label in shown], loc="outside right upper", frameon=False)
    several = any(len(tables) > 1 for tables in runs.values())
    notes = ["band: 95 % interval of the mean over runs"] if several else []
    notes += [f"the {MANY} with the highest {kind.label(values[0])} of {len(runs)}"] if len(runs) > MANY else []
    figure.suptitle("; ".join(notes), fontsize=9)
    return figure


def _without_setups(of: Curve, table: pd.DataFrame) -> pd.DataFrame:
    """Means against the axis alone."""
    means = curve(of, table)
    return means.groupby(level=of.axis, sort=False).mean() if of.apart else means


def _fit(axes: Axes) -> None:
    """Limits that the curves fill; of a wider band, what lies within half their range beside them. Shares end at 1."""
    heights = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    low, high = (float(of(heights)) for of in (np.nanmin, np.nanmax))
    room = max((high - low) / 2, 0.02)
    most = 1.02 if high <= 1 else np.inf
    axes.set_ylim(max(axes.get_ylim()[0], low - room, -0.02), min(axes.get_ylim()[1], high + room, most))


def bars_of_classes(kind: RunKind, classes: pd.DataFrame) -> Figure:
    """Numbers of every class, the best first."""
    table = classes.sort_values(kind.bars[0], ascending=True)
    names = [short(name) for name in table["class_name"]]
    if kind.bar_count:
        names = [f"{name} ({count})" for name, count in zip(names, table[kind.bar_count], strict=True)]
    figure = Figure(figsize=(4 + 3 * len(kind.bars), 1.4 + 0.26 * len(table)), layout="constrained")
    panels = figure.subplots(1, len(kind.bars), sharey=True, squeeze=False)[0]
    for axes, value, colour in zip(panels, kind.bars, COLOURS, strict=False):
        draw_bars(axes, names, table[value], None, colour)
        tidy(axes, kind.label(value) + (f" ({kind.bar_count} of the class)" if kind.bar_count else ""), "")
    return figure


def bars_of_groups(kind: RunKind, table: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Main numbers of groups; whiskers are 95 % intervals of the mean over runs, diamonds the paper's own."""
    figure = Figure(figsize=(12, 1.6 + 0.36 * len(table)), layout="constrained")
    means = {name: table[f"{name}_mean"] for name in kind.numbers if f"{name}_mean" in table}
    shares = [name for name, values in means.items() if not (values > 1).any()]
    panels = figure.subplots(1, max(len(shares), 1), sharey=True, squeeze=False)[0]
    backwards, names = table.iloc[::-1], [short(label) for label in labels[::-1]]
    for axes, name, colour in zip(panels, shares, COLOURS, strict=False):
        heights = backwards[f"{name}_mean"]
        ends = [backwards.get(f"{name}_{end}", heights).fillna(heights) for end in ("low", "high")]
        draw_bars(axes, names, heights, pd.DataFrame({"low": heights - ends[0], "high": ends[1] - heights}), colour)
        if f"paper_{name}" in table:
            setups = list(dict.fromkeys(table["paper_setup"].dropna()))
            label = "the paper's own" + (f" ({setups[0]})" if len(setups) == 1 else "")
            paper = backwards[f"paper_{name}"].astype(float)
            axes.plot(paper, range(len(paper)), "D", color="black", markersize=6, linestyle="none", label=label)
            axes.set_xlim(0, min(1.0, max(axes.get_xlim()[1], 1.06 * paper.max())))
        tidy(axes, kind.label(name), "")
    if "paper_setup" in table:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", frameon=False)
    return figure


def matrix_of_run(matrix: Matrix, table: pd.DataFrame, step: str, names: Sequence[str]) -> Figure:
    """Counts of the last step as shares of a row, such as a confusion matrix: rows the truth, columns the guess."""
    last = table[table[step] == table[step].max()]
    counts = last.pivot(index=matrix.rows, columns=matrix.columns, values=matrix.counts)
    counts = counts.reindex(index=list(names), columns=list(names)).fillna(0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy(float)
    few = len(names) <= NAMED
    shown: Any = [short(name) for name in names] if few else False
    side = 2.2 + 0.34 * min(len(names), NAMED)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    sns.heatmap(
        shares, cmap="Blues", vmin=0, vmax=1, square=True, ax=axes,
        xticklabels=shown, yticklabels=shown, cbar_kws={"shrink": 0.8},
    )  # fmt: skip
    axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel(matrix.columns)
    axes.set_ylabel("class")
    return figure


def rank_against_rank(ranked: pd.DataFrame, share: float) -> Figure:
    """Ranks by one criterion against those by another, a panel per pair.

    Args:
        ranked: `image`, and a column of ranks for each criterion.
        share: of the images that are drawn, at random.
    """
    drawn = ranked.sample(frac=share, random_state=0)
    pairs = list(itertools.combinations(drawn.columns.drop("image"), 2))
    across = min(len(pairs), 3)
    down = -(-len(pairs) // across)
    figure = Figure(figsize=(1 + 3.4 * across, 3.8 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, (one, other) in zip(panels, pairs, strict=False):
        axes.plot(drawn[one], drawn[other], ".", color=COLOURS[0], markersize=4)
        tidy(axes, short(one), short(other))
    for axes in panels[len(pairs) :]:
        axes.set_visible(False)
    return figure


def write_figures(
    folder: RunFolder,
    classes: pd.DataFrame,
    read: Read | None,
    region_box: RegionBox | None,
    say: Say = print,
    more: Mapping[str, Draw] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the figures of a run as PNG into `figures/`.

    Args:
        folder: of the run.
        classes: one row per class, with the numbers that its kind draws as bars.
        read: returns the image at a position; None leaves out the figures that show images.
        region_box: returns the box of a region, given image and region.
        say: is told which figures are missing.
        more: further figures, by their names.
        summary: of the run.
    """
    drawn = {
        **_plots(folder, classes, summary or {}),
        **(_asked(folder, read, region_box) if read else {}),
        **(more or {}),
    }
    return draw_all(folder.path / "figures", drawn, say)


def _plots(folder: RunFolder, classes: pd.DataFrame, summary: Mapping[str, Any]) -> dict[str, Draw]:
    kind, drawn = folder.kind, dict[str, Draw]()
    for name, lines in kind.lines.items():
        table = folder.table(lines.curve.table)
        columns = [column for panel in lines.panels.values() for column in panel]
        if table[columns].notna().any(axis=None):
            drawn[name] = partial(lines_of_run, kind, lines, table, summary.get(lines.counted or ""))
    if kind.bars:
        drawn["classes"] = lambda: bars_of_classes(kind, classes)
    for name, matrix in kind.matrix.items():
        table, names = folder.table(matrix.table), list(classes["class_name"])
        drawn[name] = partial(matrix_of_run, matrix, table, kind.step, names)
    return drawn


def _asked(folder: RunFolder, read: Read, region_box: RegionBox | None) -> dict[str, Draw]:
    """Pictures of the images asked about: by the first query of some classes, or by the only one."""
    kind = folder.kind
    if kind.asked is None:
        return {}
    asked = folder.table("asked")
    if not kind.asked.query:
        return {"asked": lambda: asked_of_run(kind, asked, read)} if len(asked) else {}
    first = folder.queries().drop_duplicates("class_name").head(EXAMPLES)
    names = file_names("asked_", first["class_name"], ".png")
    rows = zip(names, (query for _, query in first.iterrows()), strict=True)
    return {name: partial(asked_of_query, kind, asked, query, read, region_box) for name, query in rows}


def draw_bars(axes: Axes, names: Sequence[str], values: pd.Series, errors: pd.DataFrame | None, colour: str) -> None:
    """Horizontal bars of shares from 0 on with their values written on them, the first at the bottom.

    Args:
        axes: to draw on.
        names: of the bars.
        values: their lengths.
        errors: whiskers, `low` and `high` from the value on; 0 where there is none.
        colour: of the bars.
    """
    known = None if errors is None or not errors.to_numpy().any() else errors[["low", "high"]].to_numpy().T
    heights = range(len(names))
    axes.barh(heights, values, xerr=known, color=colour, height=0.68, error_kw={"elinewidth": 1, "capsize": 2})
    ends = values if errors is None else np.minimum(values + errors["high"], 1.5 * values.max())
    longest = min(1.0, 1.06 * float(ends.max())) if values.max() > 0 else 1.0
    axes.set_yticks(heights, list(names))
    axes.set(xlim=(0, longest), ylim=(-0.6, len(names) - 0.4))
    axes.tick_params(axis="y", length=0)
    for height, value in zip(heights, values, strict=True):
        x, ink = (0.01 * longest, "white") if value > 0.12 * longest else (value + 0.01 * longest, "black")
        axes.text(x, height, f"{value:.3f}", va="center", fontsize=8, color=ink, fontweight="bold")


def tidy(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Names of the axes, a light grid; whole numbers on an axis that counts."""
    if xlabel == "round":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
