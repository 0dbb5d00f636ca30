"""Pictures of object discovery: saliency maps, regions as they form, the most central regions of a collection."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from PIL import Image, ImageOps

from seekloop.logs.drawing import COLOURS, DPI, QUERY, RIGHT, WRONG, escaped

SIDE, COLUMNS, PANEL = 320, 8, 2.2  # pixels of a picture's longer side, pieces in a row, inches of a panel
OPACITY, HEAT = 0.55, "inferno"


@dataclass(frozen=True)
class SaliencyPanel:
    """A saliency map over its picture.

    Attributes:
        title: in words.
        saliency: the map; None: the picture alone.
        boxes: regions found in it, in fractions of the image.
    """

    title: str
    saliency: Float[np.ndarray, "h w"] | None
    boxes: Float[np.ndarray, "m 4"]


@dataclass(frozen=True)
class SalientImage:
    """A picture with its annotated boxes and the maps to be laid over it."""

    picture: Image.Image
    truth: Float[np.ndarray, "t 4"]
    panels: Sequence[SaliencyPanel]


def saliency_maps(images: Sequence[SalientImage]) -> Figure:
    """A row per image: the picture with its annotated boxes, then every map over it with its regions in red."""
    figure, rows = _grid(len(images), 1 + max((len(one.panels) for one in images), default=0))
    for axes, one in zip(rows, images, strict=False):
        first = SaliencyPanel("", None, one.truth)
        for panel, place in zip((first, *one.panels), axes, strict=False):
            small = _shown(place, one.picture, panel.saliency)
            place.set_title(escaped(panel.title), fontsize=7)
            _draw_boxes(place, small, panel.boxes, QUERY if panel is first else WRONG)
    return figure


@dataclass(frozen=True)
class Step:
    """Components of a mixture after an iteration: centres and standard deviations, (x, y) in fractions of the image."""

    iteration: int
    centre: Float[np.ndarray, "m 2"]
    deviation: Float[np.ndarray, "m 2"]


def evolution(picture: Image.Image, saliency: Float[np.ndarray, "h w"], steps: Sequence[Step]) -> Figure:
    """A strip: the picture, then the components of the mixture on its saliency map, iteration by iteration."""
    figure, (axes,) = _grid(1, 1 + len(steps))
    _shown(axes[0], picture, None)
    for place, step in zip(axes[1:], steps, strict=True):
        small = _shown(place, picture, saliency)
        for centre, deviation in zip(step.centre, step.deviation, strict=True):
            size = 2 * np.sqrt(3) * deviation * small.size  # as wide as the rectangles of the regions
            middle = centre * small.size - 0.5
            place.add_patch(
                Ellipse((middle[0], middle[1]), size[0], size[1], fill=False, edgecolor=WRONG, linewidth=0.8)
            )
        place.set_title(f"iteration {step.iteration}: {len(step.centre)} regions", fontsize=7)
    return figure


@dataclass(frozen=True)
class Piece:
    """A region of some image, cut out, with words under it, and whether it counts for much."""

    picture: Image.Image
    words: str
    central: bool = True


def cut_out(picture: Image.Image, box: Sequence[float]) -> Image.Image:
    """The part of a picture inside a box, at least one pixel."""
    left, top = (
        min(int(box[0] * picture.width), picture.width - 1),
        min(int(box[1] * picture.height), picture.height - 1),
    )
    right, low = max(round(box[2] * picture.width), left + 1), max(round(box[3] * picture.height), top + 1)
    return picture.crop((left, top, right, low))


def central_regions(pieces: Sequence[Piece]) -> Figure:
    """A contact sheet of regions, in the order given: the most central ones tell what is in a collection."""
    columns = max(1, min(COLUMNS, len(pieces)))
    figure, rows = _grid(max(1, -(-len(pieces) // columns)), columns)
    for place, piece in zip(rows.flat, pieces, strict=False):
        _put(place, piece, None)
    return figure


def patch_neighbours(seen: SalientImage, patch: Float[np.ndarray, " 4"], near: Sequence[Piece]) -> Figure:
    """How a patch gets its object saliency: where it is, its nearest regions, and the maps before and after.

    Regions are outlined green where they are central in the graph, red where they are not.

    Args:
        seen: the picture, with its maps.
        patch: box of the patch.
        near: its nearest regions, the most similar first.
    """
    columns = max(1 + len(seen.panels), min(COLUMNS, len(near)))
    figure, rows = _grid(1 + max(1, -(-len(near) // columns)), columns)
    for panel, place in zip((SaliencyPanel("patch", None, patch[None]), *seen.panels), rows[0], strict=False):
        small = _shown(place, seen.picture, panel.saliency)
        place.set_title(escaped(panel.title), fontsize=7)
        _draw_boxes(place, small, patch[None], COLOURS[5])
    for place, piece in zip(rows[1:].flat, near, strict=False):
        _put(place, piece, RIGHT if piece.central else WRONG)
    words = "nearest regions of the collection: green, more central than half of all; red, less"
    figure.suptitle(words, fontsize=7, y=0.005, va="bottom")
    return figure


def _grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """An empty figure with so many panels."""
    figure = Figure(figsize=(columns * PANEL, rows * PANEL), dpi=DPI, layout="constrained")
    panels: np.ndarray = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    return figure, panels


def _shown(place: Axes, picture: Image.Image, saliency: Float[np.ndarray, "h w"] | None) -> Image.Image:
    """A small picture in a panel, under its smoothed saliency map if there is one."""
    small = ImageOps.contain(picture.convert("RGB"), (SIDE, SIDE))
    place.imshow(np.asarray(small))
    if saliency is not None:
        extent = (-0.5, small.width - 0.5, small.height - 0.5, -0.5)
        top = max(float(saliency.max()), np.finfo(np.float32).tiny)
        heat = {"cmap": HEAT, "vmin": 0, "vmax": top, "alpha": OPACITY, "interpolation": "bicubic"}
        place.imshow(saliency, extent=extent, **heat)  # type: ignore[arg-type]
        place.set_xlim(extent[:2])
        place.set_ylim(extent[2:])
    return small


def _draw_boxes(place: Axes, small: Image.Image, boxes: Float[np.ndarray, "m 4"], colour: str) -> None:
    for x0, y0, x1, y1 in boxes * np.array([*small.size, *small.size]):
        place.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.2))


def _put(place: Axes, piece: Piece, colour: str | None) -> None:
    """A piece with its words, framed if there is a colour."""
    small = ImageOps.contain(piece.picture.convert("RGB"), (SIDE, SIDE))
    place.imshow(np.asarray(small))
    place.set_title(escaped(piece.words), fontsize=6)
    if colour:
        frame = {"fill": False, "edgecolor": colour, "linewidth": 4}
        place.add_patch(Rectangle((-0.5, -0.5), small.width, small.height, **frame))  # type: ignore[arg-type]
