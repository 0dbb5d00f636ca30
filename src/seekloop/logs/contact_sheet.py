"""Pictures of a collection with their boxes drawn, on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps

from seekloop.logs.figures import COLOURS, DPI, Box

COLUMNS, PIXELS = 6, 320
TITLE = 34  # characters of a path


@dataclass(frozen=True)
class BoxedPicture:
    """A picture, its path, and its boxes: class, position of the class, (x0, y0, x1, y1) in [0, 1]."""

    picture: Image.Image
    path: str
    boxes: Sequence[tuple[str, int, Box]]


def contact_sheet(pictures: Sequence[BoxedPicture]) -> Figure:
    """Draw pictures in rows, each box in the colour of its class with the class's name."""
    columns = max(1, min(COLUMNS, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    figure = Figure(figsize=(columns * 2.6, rows * 2.8), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, one in zip(panels.flat, pictures, strict=False):
        small = ImageOps.contain(one.picture, (PIXELS, PIXELS))
        axes.imshow(small)
        axes.set_title(escaped(one.path if len(one.path) <= TITLE else f"…{one.path[1 - TITLE :]}"), fontsize=6.5)
        for name, label, box in one.boxes:
            colour = COLOURS[label % len(COLOURS)]
            x, y = box[0] * small.width, box[1] * small.height
            size = (box[2] - box[0]) * small.width, (box[3] - box[1]) * small.height
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), *size, fill=False, edgecolor=colour, linewidth=1.4))
            words = {"fontsize": 5.5, "color": "white", "va": "top", "clip_on": True}
            axes.text(x, y, escaped(name[:24]), bbox={"facecolor": colour, "pad": 0.8, "linewidth": 0}, **words)
    return figure


def escaped(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")
