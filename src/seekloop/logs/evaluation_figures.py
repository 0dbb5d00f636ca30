"""Pictures of instance searches and of detectors: results with boxes, hierarchies of regions, recall curves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from seekloop.logs.figures import (
    COLOURS,
    DPI,
    LINES,
    QUERY,
    RIGHT,
    WRONG,
    Box,
    Read,
    Sheet,
    keys_of,
    line,
    short,
    tidy,
)
from seekloop.logs.intervals import half_width

SHOWN = 9  # results of a query
SIDE = 300  # pixels, longer side of a picture of regions
LEVELS = 6  # panels of a hierarchy: what it has, then its first levels
OPACITY = 0.45


def results_of_queries(
    ranking: pd.DataFrame, queries: Sequence[tuple[int, str, Image.Image, Sequence[Box]]], read: Read
) -> Figure:
    """A row per query: its image with its box, then the first results, each with the region that answered it.

    Args:
        ranking: as in `SearchFolder`.
        queries: number, name, picture and boxes of each one shown.
        read: gives an image of the database.
    """
    sheet = Sheet(rows=len(queries), columns=1 + SHOWN)
    for row, (number, name, picture, boxes) in enumerate(queries):
        sheet.put(row, 0, picture, boxes[0] if boxes else None, QUERY, short(name))
        for column, (_, found) in enumerate(ranking[ranking["query"] == number].head(SHOWN).iterrows(), start=1):
            box = tuple(float(found[side]) for side in ("x0", "y0", "x1", "y1"))
            colour = RIGHT if found["relevant"] else WRONG
            shown = None if any(np.isnan(box)) else (box[0], box[1], box[2], box[3])
            sheet.put(row, column, read(int(found["image"])), shown, colour, f"{found['score']:.3f}")
    return sheet.figure()


@dataclass(frozen=True)
class RegionsOfImage:
    """What is drawn of one image: its picture, its regions, and the boxes that are known to be there."""

    picture: Image.Image
    masks: Bool[np.ndarray, "m h w"]
    boxes: Float[np.ndarray, "m 4"]
    level: Int[np.ndarray, " m"]
    truth: Float[np.ndarray, "t 4"]


def hierarchy(images: Sequence[RegionsOfImage]) -> Figure:
    """A row per image: the picture with its annotated boxes, then the regions of each level, one colour each."""
    rows = [[_annotated(one), *_levels(one)] for one in images]
    columns = max(len(row) for row in rows)
    sides = [max(panel.height for panel, _ in row) for row in rows]
    figure = Figure(figsize=(columns * SIDE / DPI, sum(side + 24 for side in sides) / DPI), layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": sides})
    for places, row in zip(panels, rows, strict=True):
        for axes in places:
            axes.set_axis_off()
        for axes, (panel, title) in zip(places, row, strict=False):
            axes.imshow(np.asarray(panel))
            axes.set_title(title, fontsize=8)
    return figure


def recall_of_run(recall: pd.DataFrame) -> Figure:
    """Share of the annotated objects that some region covers, against the overlap asked for; all, and by size."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    names = {"recall": "all", "recall_small": "small", "recall_medium": "medium", "recall_large": "large"}
    for (column, label), colour in zip(names.items(), COLOURS, strict=False):
        if recall[column].notna().any():
            line(axes, recall["iou"], recall[column], None, colour, "-" if column == "recall" else "--", label)
    tidy(axes, "overlap (IoU) asked for", "recall of annotated objects")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    return figure


def compare_recalls(runs: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Recall against overlap, one line per label; the band is the 95 % interval of the mean over its runs."""
    return _compared(
        runs, "iou", "recall", "overlap (IoU) asked for", "recall of annotated objects", lambda table: table
    )


def compare_searches(runs: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Mean average precision against the cut-off, one line per label, over all setups."""
    return _compared(runs, "cutoff", "ap", "cut-off of the ranking", "mAP", _by_cutoff)


def _by_cutoff(results: pd.DataFrame) -> pd.DataFrame:
    return results.groupby("cutoff", sort=False)["ap"].mean().reset_index()


def _compared(
    runs: Mapping[str, Sequence[pd.DataFrame]],
    across: str,
    up: str,
    xlabel: str,
    ylabel: str,
    reduced: Callable[[pd.DataFrame], pd.DataFrame],
) -> Figure:
    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, tables in enumerate(runs.values()):
        stacked = pd.concat([reduced(table) for table in tables]).groupby(across, sort=False)[up]
        mean, band = stacked.mean(), stacked.agg(half_width)
        style = LINES[number // len(COLOURS) % len(LINES)]
        line(axes, mean.index, mean, band, COLOURS[number % len(COLOURS)], style, None)
    tidy(axes, xlabel, ylabel)
    axes.set_ylim(0, 1)
    figure.legend(handles=keys_of([short(label) for label in runs]), loc="outside right upper", frameon=False)
    return figure


def _annotated(one: RegionsOfImage) -> tuple[Image.Image, str]:
    panel = _small(one.picture)
    paint = ImageDraw.Draw(panel)
    for box in one.truth:
        paint.rectangle(_sides(box, panel), outline=QUERY, width=3)
    return panel, f"{len(one.boxes)} regions"


def _levels(one: RegionsOfImage) -> list[tuple[Image.Image, str]]:
    panels = []
    for level in np.unique(one.level)[: LEVELS - 1]:
        here = one.level == level
        panels.append((_painted(one.picture, one.masks[here], one.boxes[here]), f"level {level}: {int(here.sum())}"))
    return panels


def _painted(picture: Image.Image, masks: Bool[np.ndarray, "m h w"], boxes: Float[np.ndarray, "m 4"]) -> Image.Image:
    """Masks in colours over the picture, and their boxes."""
    panel = _small(picture)
    pixels = np.asarray(panel).astype(np.float32)
    colours = [tuple(int(COLOURS[n % len(COLOURS)][i : i + 2], 16) for i in (1, 3, 5)) for n in range(len(masks))]
    for mask, colour in zip(masks, colours, strict=True):
        there = (
            np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(panel.size, Image.Resampling.NEAREST)) > 0
        )
        pixels[there] = (1 - OPACITY) * pixels[there] + OPACITY * np.array(colour, dtype=np.float32)
    painted = Image.fromarray(pixels.astype(np.uint8))
    paint = ImageDraw.Draw(painted)
    for box, colour in zip(boxes, colours, strict=True):
        paint.rectangle(_sides(box, painted), outline=colour, width=2)
    return painted


def _small(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    return small


def _sides(box: Float[np.ndarray, " 4"], panel: Image.Image) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(side) for side in box)
    return x0 * panel.width, y0 * panel.height, max(x1 * panel.width - 1, 1), max(y1 * panel.height - 1, 1)
