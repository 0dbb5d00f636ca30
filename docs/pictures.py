"""Draws docs/images: the search on the start page, and the gallery of a run's figures.

`python docs/pictures.py` draws both in a few minutes; `search` or `gallery` behind it draws one. Every picture is made
by the program on its built-in scenes. Files are reduced to 64 colours, so that all of them stay below a megabyte.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import seekloop
from seekloop.contracts.protocols import Collection

IMAGES = Path(__file__).parent / "images"
GALLERY = IMAGES / "gallery"
COLOURS = 64
WIDEST = 1100  # pixels
YES, NO, QUERY = "#1a9850", "#d73027", "#e69f00"

SCENES = ("collection=scenes", "backbone=tiny", "grid=4x4")
QUERY_IMAGE, QUERY_CLASS = 522, "4"
ROUNDS = 5
SHOWN_ROUND = 3

RUNS = (
    "retrieve -m representation=go,gl_concat_all seed=0,1 collection.images=200 loop.queries=3 loop.rounds=8"
    " experiment_name=demo",
    "report runs/demo by=representation wandb=disabled",
    "check collection.images=24",
    "detect collection.images=40 regions=claid backbone@regions.backbone=tiny",
    "search collection.images=40 regions=claid backbone@regions.backbone=tiny",
    "learn experiment=learning_demo criterion=core_set pretraining=quick semi=quick",
)
FIGURES = {
    "report_curves": "runs/demo/report_representation_curves.png",
    "report_bars": "runs/demo/report_representation_bars.png",
    "curves": "runs/demo/all-concat-*-s0-*/figures/curves.png",
    "classes": "runs/demo/all-concat-*-s0-*/figures/classes.png",
    "sizes": "runs/demo/all-concat-*-s0-*/figures/sizes.png",
    "asked": "runs/demo/all-concat-*-s0-*/figures/asked_0.png",
    "contact_sheet": "checks/scenes/contact_sheet.png",
    "recall": "runs/detect/*/figures/recall.png",
    "regions": "runs/detect/*/figures/regions.png",
    "results": "runs/search/*/figures/results.png",
    "accuracy": "runs/learning_demo/*/figures/accuracy.png",
    "confusion": "runs/learning_demo/*/figures/confusion.png",
    "epochs": "runs/learning_demo/*/figures/epochs.png",
    "asked_labels": "runs/learning_demo/*/figures/asked.png",
}
TALLEST = 700  # pixels; what is below is cut off


def draw_search() -> None:
    """Play one search with answers from the annotations, and draw its query, a question and the final ranking."""
    with tempfile.TemporaryDirectory() as folder:
        choices = [*SCENES, f"store_dir={folder}"]
        store = seekloop.extract(*choices)
        collection = store.collection
        known = collection.annotations
        label = known.classes.index(QUERY_CLASS)
        first = known.largest_box(QUERY_IMAGE, label).tolist()
        search = seekloop.session(store, QUERY_IMAGE, ["representation=gl_pool_all"], fractions=first)
        questions = []
        for _ in range(ROUNDS):
            boxes = {item.image: known.largest_box(item.image, label) for item in search.ask()}
            replies = {image: False if box is None else box.tolist() for image, box in boxes.items()}
            questions.append(replies)
            search.answer(replies)
        ranking = search.ranking(12)
    shows = {image: known.largest_box(image, label) is not None for image in ranking}
    print(f"{sum(shows.values())} of the first {len(shows)} show a {QUERY_CLASS}")

    figure = plt.figure(figsize=(11, 2.85), layout="constrained", dpi=100)
    left, middle, right = figure.subfigures(1, 3, width_ratios=(2.5, 4.9, 3.75), wspace=0.03)
    left.suptitle("one box around one object", fontsize=12)
    tile(left.subplots(), collection, QUERY_IMAGE, QUERY, first)
    middle.suptitle(f"ten questions a round (here round {SHOWN_ROUND})", fontsize=12)
    replies = questions[SHOWN_ROUND - 1]
    for axes, (image, box) in zip(panels(middle, 2, 5), replies.items(), strict=True):
        tile(axes, collection, image, YES if box else NO, box or None, "yes" if box else "no")
    right.suptitle(f"the ranking after {ROUNDS} rounds", fontsize=12)
    for axes, (image, right_one) in zip(panels(right, 3, 4), shows.items(), strict=True):
        tile(axes, collection, image, YES if right_one else NO)
    keep(figure, IMAGES / "search.png")


def panels(figure: Figure, rows: int, columns: int) -> Sequence[Axes]:
    """The axes of a grid, row by row."""
    return figure.subplots(rows, columns, gridspec_kw={"wspace": 0.02, "hspace": 0.02}).ravel()


def tile(
    axes: Axes,
    collection: Collection,
    image: int,
    colour: str,
    box: Sequence[float] | None = None,
    answer: str = "",
) -> None:
    """One image in a frame of this colour, with a box in fractions of the image and the answer below."""
    picture = collection.read(image)
    axes.imshow(picture)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(answer, color=colour, fontsize=10, labelpad=2)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=3)
    if box is not None:
        x0, y0, x1, y1 = box
        corner, size = (
            (x0 * picture.width, y0 * picture.height),
            (picture.width * (x1 - x0), picture.height * (y1 - y0)),
        )
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=QUERY, linewidth=2.5))


def keep(figure: Figure, path: Path) -> None:
    """Write a figure in few colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
    reduce(path, path)


def reduce(source: Path, target: Path) -> None:
    """Write a picture in few colours, no wider than a page; of a very tall one the upper part."""
    picture = Image.open(source).convert("RGB")
    picture.thumbnail((WIDEST, 100_000))
    picture = picture.crop((0, 0, picture.width, min(picture.height, TALLEST)))
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def draw_gallery(folder: Path) -> None:
    """Run each command on built-in scenes, and keep one of each kind of figure.

    Args:
        folder: for the runs; those that are finished there are not run again.
    """
    GALLERY.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    for run in RUNS:
        subprocess.run([sys.executable, "-m", "seekloop", *run.split()], cwd=folder, env=environment, check=True)
    for name, pattern in FIGURES.items():
        reduce(next(iter(sorted(folder.glob(pattern)))), GALLERY / f"{name}.png")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["search", "gallery"]
    if "search" in wanted:
        draw_search()
    if "gallery" in wanted:
        with tempfile.TemporaryDirectory() as scratch:
            draw_gallery(Path(scratch))
