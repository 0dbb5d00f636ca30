"""`seekloop detect`: find regions in a collection, draw them, and hold them against the annotated boxes."""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from seekloop.commands.compose import choices
from seekloop.commands.evaluation import Evaluated, Evaluation
from seekloop.commands.extract import left_out, report_collection, report_problems
from seekloop.commands.parts import build
from seekloop.commands.recipes import detection
from seekloop.contracts.boxes import STRATA, stratum
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import KINDS, Annotations, Regions
from seekloop.extraction.detect import Detection
from seekloop.logs.console import Console
from seekloop.logs.evaluation_figures import RegionsOfImage, hierarchy, recall_of_run
from seekloop.logs.evaluation_folder import DetectFolder
from seekloop.logs.figures import Draw
from seekloop.logs.wandb_evaluation import DetectLog
from seekloop.metrics.localisation import best_iou, corloc, recall_at_iou
from seekloop.regions.parts import PartsOfImages
from seekloop.store.found import FoundRegions

OVERLAPS = torch.arange(1, 20) / 20  # 0.05 to 0.95


def detect(config: DictConfig) -> float:
    """Find the regions of a config and measure them, or find that it was done; returns CorLoc."""
    if not 0 < config.detect.threshold <= 1:
        why = "it is no overlap"
        raise ConfigError("detect.threshold", config.detect.threshold, why, "Customary: 0.5.")
    collection: Collection = build(config, "collection")
    regions = build(config, "regions")
    parts = regions.parts(collection, poolable=False)
    if parts.truth:
        raise ConfigError("regions", "boxes", "the annotated boxes would be compared with themselves", "Use claid.")
    evaluation = Evaluation(
        "detect",
        config,
        DetectFolder,
        DetectLog,
        [collection.name, str(choices().get("regions", "regions"))],
        detection(config, collection, parts),
        "corloc",
    )

    def evaluate(console: Console) -> Evaluated:
        report_collection(collection, console)
        return evaluated(config, collection, regions, console)

    return evaluation.run(lambda console: report_problems(collection.problems, console), evaluate)


def evaluated(config: DictConfig, collection: Collection, regions: PartsOfImages, console: Console) -> Evaluated:
    """Recall, CorLoc and pictures of the regions of a collection."""
    found: FoundRegions | None = None
    if isinstance(regions, Detection):
        found = regions.found(collection, console.say)
        located = regions.located(found)
    else:
        located = regions.parts(collection, poolable=False).located(console.say)
    readable = torch.ones(len(collection.paths), dtype=torch.bool) if found is None else found.readable
    truth = collection.annotations
    truth = truth.keep(readable[truth.image] & ~truth.crowd)
    first = first_boxes(located, found, len(collection.paths))
    judged = without_stand_ins(located)
    recall = recall_table(judged, truth)
    images = images_table(collection, judged, found, first, truth)
    summary: dict[str, Any] = {
        "corloc": _number(corloc(first, truth, config.detect.threshold)),
        "recall_50": _at(recall, 0.5),
        "recall_75": _at(recall, 0.75),
        "recall_mean": _number(float(recall["recall"].mean())),
        "regions_per_image": float(images["regions"].mean()),
        "affine_share": None if found is None else found.affine_share,
        "images": int(readable.sum()),
        "objects": len(truth.image),
        "left_out": left_out(collection.problems, readable),
    }

    shown = readable.nonzero()[:, 0][: config.detect.shown].tolist()
    drawn: dict[str, Draw] = {"recall": lambda: recall_of_run(recall)} if len(truth.image) else {}
    if shown:
        drawn["regions"] = lambda: hierarchy([picture_of(collection, located, truth, image) for image in shown])
    return Evaluated({"recall": recall, "images": images}, images, summary, drawn)


def without_stand_ins(located: Regions) -> Regions:
    """The regions that a detector can be credited with: not the whole images that stand where it found nothing."""
    if located.kind is None or located.offsets is None:
        return located
    credited = located.kind != KINDS.index("whole")
    before = F.pad(credited.cumsum(0), (1, 0))
    return Regions(located.boxes[credited], before[located.offsets])


def first_boxes(located: Regions, found: FoundRegions | None, images: int) -> Float[Tensor, "n 4"]:
    """The one box of each image that CorLoc looks at: the region of highest score, the first of equals.

    Of a grid, which has no scores, the first cell; NaN where nothing was found.
    """
    if found is None:
        return torch.stack([located.of(image)[0] for image in range(images)])
    boxes = torch.full((images, 4), torch.nan)
    for image in range(images):
        rows = slice(int(found.offsets[image]), int(found.offsets[image + 1]))
        if rows.stop > rows.start:
            boxes[image] = found.boxes[rows][found.score[rows].argmax()]
    return boxes


def recall_table(located: Regions, truth: Annotations) -> pd.DataFrame:
    """Recall at every overlap, of all objects and of each size."""
    sizes = np.array(stratum(truth.box))
    table = {"iou": OVERLAPS.double().numpy(), "recall": recall_at_iou(located, truth, OVERLAPS).numpy()}
    for name in STRATA:
        some = truth.keep(torch.from_numpy(sizes == name).reshape(-1))
        table[f"recall_{name}"] = recall_at_iou(located, some, OVERLAPS).numpy()
    return pd.DataFrame(table)


def images_table(
    collection: Collection,
    located: Regions,
    found: FoundRegions | None,
    first: Float[Tensor, "n 4"],
    truth: Annotations,
) -> pd.DataFrame:
    """One row per image: how many regions, and how well the first and the best of them cover an object."""
    images = len(collection.paths)
    counts = torch.full((images,), len(located.boxes)) if located.offsets is None else located.offsets.diff()
    alone = Regions(first.nan_to_num(0.0), torch.arange(images + 1))
    overlaps = {"first_iou": best_iou(alone, truth), "best_iou": best_iou(located, truth)}
    best = {
        name: torch.full((images,), -1.0, dtype=torch.float64).scatter_reduce(0, truth.image, values.double(), "amax")
        for name, values in overlaps.items()
    }
    table = pd.DataFrame({"image": range(images), "path": list(collection.paths), "regions": counts.numpy()})
    table["affine"] = float("nan") if found is None else found.affine.double().numpy()
    for name, values in best.items():
        table[name] = values.where(values >= 0, torch.nan).numpy()
    return table


def picture_of(collection: Collection, located: Regions, truth: Annotations, image: int) -> RegionsOfImage:
    """What is drawn of one image."""
    boxes, masks = located.of(image), located.masks_of(image)
    level = torch.zeros(len(boxes), dtype=torch.long) if located.level is None else located.level[located.rows(image)]
    masks = torch.zeros(len(boxes), 1, 1, dtype=torch.bool) if masks is None else masks
    known = truth.box[truth.image == image]
    return RegionsOfImage(collection.read(image), masks.numpy(), boxes.numpy(), level.numpy(), known.numpy())


def _at(recall: pd.DataFrame, overlap: float) -> float | None:
    nearest = int((recall["iou"] - overlap).abs().to_numpy().argmin())
    return _number(float(recall["recall"].iloc[nearest]))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
