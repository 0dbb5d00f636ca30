"""Compare `tiny` with the same network before training and with colour histograms and HOG, in a short retrieval loop.

    python experiments/tiny/evaluate.py --voc <VOCdevkit folder> --weights src/seekloop/backbones/tiny.safetensors

One query starts from one positive image with its box and five negatives; a linear SVM asks for ten images a round,
those nearest to its boundary. The figure is the area under the curve of average precision over all images of the
collection against rounds, averaged over queries, then classes. Global descriptors, or all cells of a grid: an image
then counts as high as its best cell, and the cells that the box of a positive image overlaps are the positive rows.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC

from seekloop.backbones.tiny import build_tiny, metadata
from seekloop.images.generated.scenes import Scenes
from seekloop.images.voc import Voc2012

# isort: split

from photographs import is_held_out
from safetensors.torch import load_file
from skimage.feature import hog

GRIDS = (1, 2, 4)
QUERIES, NEGATIVES, BUDGET = 2, 5, 10  # per class and seed; per query; per round
SIDE, CELLS = 128, 4  # pixels of a picture; cells per side of the finest grid
LEAST = 5  # positives that a class needs

Describe = Callable[[np.ndarray], dict[int, np.ndarray]]


@dataclass(frozen=True)
class Subject:
    """A collection in memory: squashed pictures (n, 128, 128, 3), and per class the largest box on each image."""

    name: str
    rounds: int
    pictures: np.ndarray
    boxes: dict[str, dict[int, np.ndarray]]


def subject(name: str, rounds: int, collection: Scenes | Voc2012, positions: Sequence[int]) -> Subject:
    """Those images of a collection, with its annotations."""
    place = {position: row for row, position in enumerate(positions)}
    pictures = [
        collection.read(position).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        for position in positions
    ]
    notes = collection.annotations
    boxes: dict[str, dict[int, np.ndarray]] = {name: {} for name in notes.classes}
    for image, label, box in zip(notes.image.tolist(), notes.label.tolist(), notes.box.numpy(), strict=True):
        known = boxes[notes.classes[label]]
        if image in place and area(box) > area(known.get(place[image], np.zeros(4))):
            known[place[image]] = box
    usable = {name: found for name, found in boxes.items() if LEAST <= len(found) <= len(positions) - NEGATIVES}
    return Subject(name, rounds, np.stack([np.asarray(picture) for picture in pictures]), usable)


def area(box: np.ndarray) -> float:
    """Of left, top, right, bottom."""
    return float((box[2] - box[0]) * (box[3] - box[1]))


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows brought to unit length."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def describe_with(network: torch.nn.Module, mean: Sequence[float], std: Sequence[float]) -> Describe:
    """Class token, and means of the patch tokens in each cell of the grids."""

    @torch.inference_mode()
    def describe(pictures: np.ndarray) -> dict[int, np.ndarray]:
        chunks = []
        for chunk in np.array_split(pictures, max(1, len(pictures) // 32)):
            pixels = (torch.from_numpy(chunk).float() / 255 - torch.tensor(mean)) / torch.tensor(std)
            chunks.append(network.eval().forward_features(pixels.permute(0, 3, 1, 2)))
        tokens = torch.cat(chunks)
        patches = tokens[:, 5:].unflatten(1, (16, 16)).permute(0, 3, 1, 2)
        local = {m: torch.nn.functional.adaptive_avg_pool2d(patches, m).flatten(2).mT.numpy() for m in GRIDS[1:]}
        return {1: unit(tokens[:, :1].numpy())} | {m: unit(rows) for m, rows in local.items()}

    return describe


def describe_by_hand(pictures: np.ndarray) -> dict[int, np.ndarray]:
    """Colour histogram and HOG of the whole picture and of each cell, each brought to unit length, then joined."""
    return {m: np.stack([hand_made_cells(picture, m) for picture in pictures]) for m in GRIDS}


def hand_made_cells(picture: np.ndarray, grid: int) -> np.ndarray:
    """One row per cell."""
    step = SIDE // grid
    corners = [(top, left) for top in range(0, SIDE, step) for left in range(0, SIDE, step)]
    return np.stack([hand_made(picture[top : top + step, left : left + step]) for top, left in corners])


def hand_made(part: np.ndarray) -> np.ndarray:
    """4 x 4 x 4 colours (square roots of their shares), and gradients in 9 directions in 4 x 4 or 8 x 8 cells."""
    codes = (part // 64).reshape(-1, 3) @ np.array([16, 4, 1])
    colours = np.sqrt(np.bincount(codes, minlength=64))
    cell = 16 if len(part) >= 64 else 8
    gradients = hog(part, 9, (cell, cell), (2, 2), channel_axis=-1)
    return unit(np.concatenate([unit(colours), unit(gradients)]))


def overlapped(box: np.ndarray, grid: int) -> np.ndarray:
    """Which cells, row by row, share some area with the box."""
    edges = np.arange(grid + 1) / grid
    columns = (edges[:-1] < box[2]) & (edges[1:] > box[0])
    rows = (edges[:-1] < box[3]) & (edges[1:] > box[1])
    return (rows[:, None] & columns[None]).ravel()


def curve(descriptors: np.ndarray, boxes: dict[int, np.ndarray], rounds: int, rng: np.random.Generator) -> list[float]:
    """Average precision after 0, 1, ... rounds of one query; descriptors are (n, cells, d)."""
    count, cells, _ = descriptors.shape
    grid = round(cells**0.5)
    truth = np.isin(np.arange(count), list(boxes))
    start = [rng.choice(np.flatnonzero(truth), 1), rng.choice(np.flatnonzero(~truth), NEGATIVES, replace=False)]
    labelled = np.concatenate(start)
    precision = []
    for _ in range(rounds + 1):
        labels = [overlapped(boxes[i], grid) if i in boxes else np.zeros(cells, bool) for i in labelled.tolist()]
        model = LinearSVC(max_iter=10_000).fit(
            descriptors[labelled].reshape(-1, descriptors.shape[-1]), np.concatenate(labels)
        )
        scores = (descriptors @ model.coef_[0] + model.intercept_[0]).max(1)
        precision.append(average_precision_score(truth, scores))
        distance = np.abs(scores)
        distance[labelled] = np.inf
        labelled = np.concatenate([labelled, distance.argsort(kind="stable")[:BUDGET]])
    return precision


def area_under_curve(curves: Sequence[Sequence[float]]) -> float:
    """Mean over queries of the area under the curve, divided by the number of rounds."""
    return float(np.trapezoid(np.array(curves), axis=1).mean() / (len(curves[0]) - 1))


def figures(subject: Subject, described: dict[int, np.ndarray], seed: int) -> list[dict]:
    """For every grid: mean over classes of the area and of the last average precision."""
    found = []
    for grid, descriptors in described.items():
        classes = []
        for number, boxes in enumerate(subject.boxes.values()):
            rng = np.random.default_rng([seed, number])
            classes.append([curve(descriptors, boxes, subject.rounds, rng) for _ in range(QUERIES)])
        last = np.mean([[one[-1] for one in curves] for curves in classes])
        row = {"collection": subject.name, "images": len(subject.pictures), "classes": len(classes)}
        row |= {"grid": f"{grid}x{grid}", "seed": seed, "map_last": float(last)}
        found.append(row | {"map_auc": float(np.mean([area_under_curve(curves) for curves in classes]))})
    return found


def subjects(voc: Path) -> Iterator[Subject]:
    """The built-in scenes, the VOC photographs that training never saw, and all of them."""
    photographs = Voc2012(str(voc), "trainval", True, 0.1, False, None)
    unseen = [i for i, path in enumerate(photographs.paths) if is_held_out(Path(path).name)]
    yield subject("scenes", 10, Scenes(600, 256, 0), range(600))
    yield subject("voc2012, held out", 5, photographs, unseen)
    yield subject("voc2012", 10, photographs, range(len(photographs.paths)))


def descriptors(weights: Path, seed: int) -> dict[str, Describe]:
    """What is compared; only the untrained network depends on the seed."""
    about = metadata(weights)
    torch.manual_seed(seed)
    trained, untrained = (build_tiny(about["architecture"]) for _ in range(2))
    trained.load_state_dict({name: weight.float() for name, weight in load_file(weights).items()})
    return {
        "tiny": describe_with(trained, about["mean"], about["std"]),
        "untrained": describe_with(untrained, about["mean"], about["std"]),
        "colour + HOG": describe_by_hand,
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare tiny with two baselines.")
    parser.add_argument("--voc", type=Path, required=True, help="VOCdevkit folder")
    parser.add_argument("--weights", type=Path, required=True, help="weights that train.py wrote")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=["tiny", "untrained", "colour + HOG"], help="descriptors to run")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("figures.csv"))
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    # Figures of the descriptors that are not run again stay in the file.
    stored = pd.read_csv(arguments.output) if arguments.output.exists() else pd.DataFrame({"descriptor": []})
    rows = stored[~stored["descriptor"].isin(arguments.only)].to_dict("records")
    for each in subjects(arguments.voc):
        for name in arguments.only:
            described: dict[int, np.ndarray] = {}
            for seed in arguments.seeds:
                if not described or name == "untrained":
                    described = descriptors(arguments.weights, seed)[name](each.pictures)
                rows += [{"descriptor": name, **row} for row in figures(each, described, seed)]
                print(json.dumps(rows[-len(GRIDS) :]), flush=True)
            pd.DataFrame(rows).round(4).to_csv(arguments.output, index=False)
    print(summary(pd.DataFrame(rows)))


def summary(table: pd.DataFrame) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    keys = ["collection", "images", "classes", "grid", "descriptor"]
    moments = table.groupby(keys, sort=False)["map_auc"].agg(["mean", "std"])
    cells = moments.apply(lambda row: f"{row['mean']:.3f} ± {row['std']:.3f}", axis=1)
    return cells.unstack().to_markdown()


if __name__ == "__main__":
    main()
