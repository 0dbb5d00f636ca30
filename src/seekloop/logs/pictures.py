"""Pictures of a run: images that were asked about, results of queries, regions, and collections with their boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageColor, ImageDraw, ImageOps

from seekloop.logs.drawing import COLOURS, DPI, QUERY, RIGHT, UNSURE, WRONG, escaped, short
from seekloop.logs.kind import RunKind

Box = tuple[float, float, float, float]
Read = Callable[[int], Image.Image]
RegionBox = Callable[[int, int], Box]

TILE, FRAME, GAP, BELOW, LEFT = 104, 4, 4, 22, 24  # pixels of a contact sheet: thumbnail, its frame, margins
RESULTS = 9  # results of a query
SIDE = 300  # pixels, longer side of a picture of regions
LEVELS = 6  # panels of a hierarchy: what it has, then its first levels
OPACITY = 0.45
SHEET_COLUMNS, THUMBNAIL = 6, 320
LONGEST_PATH = 34  # characters of a path


def box_of(row: pd.Series) -> Box | None:
    """The box in the columns x0, y0, x1, y1; None where they are empty."""
    x0, y0, x1, y1 = (float(row[name]) for name in ("x0", "y0", "x1", "y1"))
    return None if np.isnan([x0, y0, x1, y1]).any() else (x0, y0, x1, y1)


def shown_box(question: pd.Series, region_box: RegionBox | None) -> Box | None:
    """The user's box, else the region that scored highest, else none (the whole image)."""
    box = box_of(question)
    if box is None and region_box is not None and question["region"] >= 0:
        return region_box(int(question["image"]), int(question["region"]))
    return box


def sides_of(box: Sequence[float], picture: Image.Image) -> tuple[float, float, float, float]:
    """A box in pixels of a picture."""
    return box[0] * picture.width, box[1] * picture.height, box[2] * picture.width, box[3] * picture.height


def asked_of_query(
    kind: RunKind, asked: pd.DataFrame, query: pd.Series, read: Read, region_box: RegionBox | None
) -> Figure:
    """Images that one query asked about: a row per step, the query on top: its image with its box, its words, or both.

    Green frames are right, red wrong, grey unsure. Over the image lies the user's box, else the region that scored
    highest; under it the score.

    Args:
        kind: of the run.
        asked: the table of questions.
        query: its row of the queries table: class_name, query, image, x0, y0, x1, y1; with words also words and shown.
        read: gives an image by its position.
        region_box: (image, region) to the region's box; None to draw none.
    """
    own = asked[asked["class_name"].eq(query["class_name"]) & asked["query"].eq(query["query"])]
    sheet = Sheet(1 + own[kind.step].nunique(), max([4, *own.groupby(kind.step).size()]))
    name, words = f"{short(query['class_name'])} {query['query']}", query.get("words")
    if query.get("shown", True):
        named = name if words is None else f"{name}: {short(words)}"
        sheet.put(0, 0, read(int(query["image"])), box_of(query), QUERY, named)
    else:
        sheet.explain(0, short(str(words)), QUERY)
    for column, (word, colour) in enumerate({"right": RIGHT, "wrong": WRONG, "unsure": UNSURE}.items(), start=1):
        sheet.explain(column, word, colour)
    _put_steps(sheet, kind, own, read, lambda question: shown_box(question, region_box), 1)
    return sheet.figure()


def asked_of_run(kind: RunKind, asked: pd.DataFrame, read: Read) -> Figure:
    """Images asked about, a row per step; green where the network had the class right, red where wrong."""
    shown = asked.groupby(kind.step, sort=False).head(kind.asked.most if kind.asked else 0)
    sheet = Sheet(shown[kind.step].nunique(), max(4, int(shown.groupby(kind.step).size().max())))
    _put_steps(sheet, kind, shown, read, lambda _: None, 0)
    return sheet.figure()


def _put_steps(
    sheet: "Sheet", kind: RunKind, asked: pd.DataFrame, read: Read, box: Callable[[pd.Series], Box | None], first: int
) -> None:
    """Put a row of images for each step on a sheet, from its row `first` on."""
    if kind.asked is None:
        raise ValueError(f"runs of `{kind.command}` ask about no images")
    colours = {True: RIGHT, False: WRONG, None: UNSURE}
    for row, (number, questions) in enumerate(asked.groupby(kind.step, sort=True), start=first):
        sheet.name(row, f"{kind.step} {number}")
        for column, (_, question) in enumerate(questions.iterrows()):
            image, colour = read(int(question["image"])), colours[kind.asked.right(question)]
            sheet.put(row, column, image, box(question), colour, short(kind.asked.caption(question)))


def results_of_queries(
    ranking: pd.DataFrame, queries: Sequence[tuple[int, str, Image.Image, Sequence[Box]]], read: Read
) -> Figure:
    """A row per query: its image with its box, then the first results, each with the region that answered it.

    Args:
        ranking: query, rank, image, score, relevant and box of each result; its inliers, if it was verified.
        queries: number, name, picture and boxes of each one shown.
        read: gives an image of the database.
    """
    sheet = Sheet(rows=len(queries), columns=1 + RESULTS)
    for row, (number, name, picture, boxes) in enumerate(queries):
        sheet.put(row, 0, picture, boxes[0] if boxes else None, QUERY, short(name))
        for column, (_, one) in enumerate(ranking[ranking["query"] == number].head(RESULTS).iterrows(), start=1):
            colour = RIGHT if one["relevant"] else WRONG
            words = f"{one['score']:.3g}" + (f", {one['inliers']:.0f} inliers" if "inliers" in one else "")
            sheet.put(row, column, read(int(one["image"])), box_of(one), colour, words)
    return sheet.figure()


def answers_of_words(
    ranking: pd.DataFrame, read: Read, mask_of: Callable[[int, int], np.ndarray | None], rows: int
) -> Figure:
    """The first images of a ranking, row by row, each with the region that answered: its cells, or its box.

    Frames are grey: nobody has judged these images.

    Args:
        ranking: image, region, score and box of each result, best first.
        read: gives an image of the collection.
        mask_of: (image, region) to the cells of the region; None where it is a box.
        rows: most rows of images.
    """
    shown = ranking.head(rows * RESULTS)
    sheet = Sheet(rows=max(1, -(-len(shown) // RESULTS)), columns=RESULTS)
    for number, (_, one) in enumerate(shown.iterrows()):
        picture, box = read(int(one["image"])), None if int(one["region"]) < 0 else box_of(one)
        mask = mask_of(int(one["image"]), int(one["region"]))
        if mask is not None:
            picture, box = _painted(picture, mask[None], np.zeros((0, 4)), (QUERY,), 1), None
        sheet.put(*divmod(number, RESULTS), picture, box, UNSURE, f"{one['score']:.3g}")
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
            x0, y0, x1, y1 = (
                round(start + side) for start, side in zip((x, y, x, y), sides_of(box, small), strict=True)
            )
            self.paint.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline="white", width=4)
            self.paint.rectangle((x0 + 1, y0 + 1, max(x1 - 2, x0 + 1), max(y1 - 2, y0 + 1)), outline=colour, width=2)
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


@dataclass(frozen=True)
class RegionsOfImage:
    """An image to be drawn: its picture, its regions, and the boxes that are known to be there."""

    picture: Image.Image
    masks: Bool[np.ndarray, "m h w"]
    boxes: Float[np.ndarray, "m 4"]
    level: Int[np.ndarray, " m"]
    truth: Float[np.ndarray, "t 4"]


def hierarchy(images: Sequence[RegionsOfImage]) -> Figure:
    """A row per image: the picture with its annotated boxes, then the regions of each level, one colour each."""
    rows = []
    for one in images:
        nothing = np.zeros((0, 1, 1), dtype=bool)
        panels = [
            (_painted(one.picture, nothing, one.truth, (QUERY,) * len(one.truth), 3), f"{len(one.boxes)} regions")
        ]
        for level in np.unique(one.level)[: LEVELS - 1]:
            here = one.level == level
            colours = [COLOURS[n % len(COLOURS)] for n in range(int(here.sum()))]
            panel = _painted(one.picture, one.masks[here], one.boxes[here], colours, 2)
            panels.append((panel, f"level {level}: {len(colours)}"))
        rows.append(panels)
    columns = max(len(row) for row in rows)
    sides = [max(panel.height for panel, _ in row) for row in rows]
    figure = Figure(figsize=(columns * SIDE / DPI, sum(side + 24 for side in sides) / DPI), layout="constrained")
    panels_of_rows = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": sides})
    for axes in panels_of_rows.flat:
        axes.set_axis_off()
    for line, row in zip(panels_of_rows, rows, strict=True):
        for axes, (panel, title) in zip(line, row, strict=False):
            axes.imshow(np.asarray(panel))
            axes.set_title(title, fontsize=8)
    return figure


def _painted(
    picture: Image.Image,
    masks: Bool[np.ndarray, "m h w"],
    boxes: Float[np.ndarray, "t 4"],
    colours: Sequence[str],
    width: int,
) -> Image.Image:
    """Masks in colours over a small picture, and boxes in the same colours."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    pixels = np.asarray(small).astype(np.float32)
    for mask, colour in zip(masks, colours, strict=False):
        there = np.asarray(Image.fromarray(mask).resize(small.size, Image.Resampling.NEAREST))
        pixels[there] = (1 - OPACITY) * pixels[there] + OPACITY * np.array(ImageColor.getrgb(colour), dtype=np.float32)
    small = Image.fromarray(pixels.astype(np.uint8))
    paint = ImageDraw.Draw(small)
    for box, colour in zip(boxes.tolist(), colours, strict=False):
        x0, y0, x1, y1 = sides_of(box, small)
        paint.rectangle((x0, y0, max(x1 - 1, 1), max(y1 - 1, 1)), outline=colour, width=width)
    return small


@dataclass(frozen=True)
class BoxedPicture:
    """A picture, its path, and its boxes: class, position of the class, (x0, y0, x1, y1) in [0, 1]."""

    picture: Image.Image
    path: str
    boxes: Sequence[tuple[str, int, Box]]


def contact_sheet(pictures: Sequence[BoxedPicture]) -> Figure:
    """Draw pictures in rows, each box in the colour of its class with the class's name."""
    columns = max(1, min(SHEET_COLUMNS, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    figure = Figure(figsize=(columns * 2.6, rows * 2.8), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, one in zip(panels.flat, pictures, strict=False):
        small = ImageOps.contain(one.picture, (THUMBNAIL, THUMBNAIL))
        axes.imshow(small)
        path = one.path if len(one.path) <= LONGEST_PATH else f"…{one.path[1 - LONGEST_PATH :]}"
        axes.set_title(escaped(path), fontsize=6.5)
        for name, label, box in one.boxes:
            colour = COLOURS[label % len(COLOURS)]
            x, y = box[0] * small.width, box[1] * small.height
            size = (box[2] - box[0]) * small.width, (box[3] - box[1]) * small.height
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), *size, fill=False, edgecolor=colour, linewidth=1.4))
            words = {"fontsize": 5.5, "color": "white", "va": "top", "clip_on": True}
            axes.text(x, y, escaped(name[:24]), bbox={"facecolor": colour, "pad": 0.8, "linewidth": 0}, **words)
    return figure
