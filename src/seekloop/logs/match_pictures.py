"""Pictures of spatial matching: features that agree, channels over several views, and numbers of inliers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from PIL import Image

from seekloop.logs.drawing import DPI, RIGHT, WRONG, short

HEIGHT = 320  # pixels of each picture
GAP = 8  # pixels between two pictures
SIGMAS = 2.0  # an ellipse of even density ends at two standard deviations
OPACITY = 0.6  # of activations over a picture
MOST_BINS = 40


@dataclass(frozen=True)
class Ellipses:
    """Features on a picture.

    Attributes:
        mean: centre (x, y) of each, in pixels.
        covariance: in pixels; drawn is the ellipse of two standard deviations.
        channel: by which it is coloured.
    """

    mean: Float[np.ndarray, "f 2"]
    covariance: Float[np.ndarray, "f 2 2"]
    channel: Int[np.ndarray, " f"]

    def scaled(self, factor: float, shift: float) -> "Ellipses":
        """The same on a picture that is so much larger, and lies so far to the right."""
        return Ellipses(self.mean * factor + np.array([shift, 0.0]), self.covariance * factor**2, self.channel)


@dataclass(frozen=True)
class View:
    """A picture with the activations of one channel, and the features found there.

    Attributes:
        picture: of any size.
        activations: the channel's map.
        ellipses: its features; None: they are not drawn.
    """

    picture: Image.Image
    activations: Float[np.ndarray, "h w"]
    ellipses: Ellipses | None = None


def matches(first: tuple[Image.Image, Ellipses], second: tuple[Image.Image, Ellipses], title: str = "") -> Figure:
    """Two pictures side by side, feature i of one joined to feature i of the other, coloured by channel.

    Raises:
        ValueError: if there are not as many features on both.
    """
    if len(first[1].channel) != len(second[1].channel):
        raise ValueError(f"{len(first[1].channel)} features cannot be joined to {len(second[1].channel)}")
    shown = [_at_height(picture) for picture, _ in (first, second)]
    left = shown[0].width + GAP
    canvas = Image.new("RGB", (left + shown[1].width, HEIGHT), "white")
    canvas.paste(shown[0], (0, 0))
    canvas.paste(shown[1], (left, 0))
    figure, axes = _panel(canvas, short(title) if title else "")
    colours = _colours(first[1].channel)
    one = first[1].scaled(HEIGHT / first[0].height, 0)
    other = second[1].scaled(HEIGHT / second[0].height, left)
    for ellipses in (one, other):
        _draw(axes, ellipses, colours)
    lines = np.stack([one.mean, other.mean], axis=1)
    axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=0.7, alpha=0.8))
    return figure


def views_of_channel(views: Sequence[View], title: str = "") -> Figure:
    """Some views of an object, the activations of one channel laid over each, with its features where they are given.

    All views share one scale of colours, from 0 to the highest activation.

    Raises:
        ValueError: without views.
    """
    if not views:
        raise ValueError("there is no view to draw")
    shown = [_at_height(view.picture) for view in views]
    widths = [picture.width for picture in shown]
    figure = Figure(figsize=(sum(widths) / DPI, (HEIGHT + 24) / DPI), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(views), squeeze=False, gridspec_kw={"width_ratios": widths})[0]
    highest = max(float(view.activations.max(initial=0)) for view in views)
    for axes, view, picture in zip(panels, views, shown, strict=True):
        axes.imshow(np.asarray(picture.convert("L")), cmap="gray", vmin=0, vmax=255)
        extent = (0, picture.width, picture.height, 0)
        axes.imshow(view.activations, "inferno", vmin=0, vmax=highest or 1, alpha=OPACITY, extent=extent)
        axes.set_axis_off()
        if view.ellipses is not None:
            _draw(axes, view.ellipses.scaled(HEIGHT / view.picture.height, 0), ["#56b4e9"] * len(view.ellipses.channel))
    if title:
        figure.suptitle(short(title), fontsize=9)
    return figure


def inlier_histogram(positive: Sequence[int], negative: Sequence[int]) -> Figure:
    """Shares of the images with so many inliers: those that show what a query shows, against those that do not."""
    top = max([*positive, *negative, 1])
    edges = np.linspace(-0.5, top + 0.5, min(top + 1, MOST_BINS) + 1)
    figure = Figure(figsize=(5, 3), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    groups = {f"{len(counts):,} {name} images": counts for name, counts in (("right", positive), ("wrong", negative))}
    axes.hist(
        list(groups.values()),
        edges.tolist(),
        weights=[np.full(len(counts), 1 / max(1, len(counts))) for counts in groups.values()],
        color=[RIGHT, WRONG],
        label=list(groups),
    )
    axes.set_xlabel("inliers")
    axes.set_ylabel("share of images")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _at_height(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB").resize((max(1, round(picture.width * HEIGHT / picture.height)), HEIGHT))


def _panel(canvas: Image.Image, title: str) -> tuple[Figure, Axes]:
    """A figure with a pixel for each of the canvas's, and room for a title."""
    figure = Figure(figsize=(canvas.width / DPI, (canvas.height + 24) / DPI), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.asarray(canvas), extent=(0, canvas.width, canvas.height, 0))
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)
    return figure, axes


def _colours(channel: Int[np.ndarray, " f"]) -> list[tuple[float, ...]]:
    """A colour for each channel that occurs."""
    names, place = np.unique(channel, return_inverse=True)
    spread = colormaps["hsv"](np.linspace(0, 0.92, max(1, len(names))))
    return [tuple(spread[at]) for at in place]


def _draw(axes: Axes, ellipses: Ellipses, colours: Sequence[object]) -> None:
    if not len(ellipses.channel):
        return
    spread, axis = np.linalg.eigh(ellipses.covariance)
    sides = 2 * SIGMAS * np.sqrt(np.maximum(spread, 0))
    angle = np.degrees(np.arctan2(axis[:, 1, 1], axis[:, 0, 1]))  # of the longer axis
    axes.add_collection(
        EllipseCollection(
            sides[:, 1],
            sides[:, 0],
            angle,
            units="xy",
            offsets=ellipses.mean,
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=colours,
            linewidths=1.2,
        )
    )
