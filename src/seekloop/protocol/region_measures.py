"""Measures of the regions of a collection against its annotated boxes: recall, CorLoc, the regions of each image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.boxes import STRATA, stratum
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import KINDS, Annotations, Regions
from seekloop.metrics.localisation import best_iou, corloc, recall_at_iou
from seekloop.metrics.saliency import saliency_precision
from seekloop.protocol.summary import left_out, number
from seekloop.store.found import FoundRegions

OVERLAPS = torch.arange(1, 20) / 20  # 0.05 to 0.95


@dataclass(frozen=True)
class RegionMeasures:
    """Measures regions.

    Attributes:
        collection: the images.
        regions: of each image.
        detected: the regions with their scores; None for regions that no detector looked for.
    """

    collection: Collection
    regions: Regions
    detected: FoundRegions | None

    @property
    def truth(self) -> Annotations:
        """The annotated objects of the images that could be read, crowds left out."""
        known = self.collection.annotations
        return known.keep(self.readable[known.image] & ~known.crowd)

    @property
    def readable(self) -> Tensor:
        """Readable images."""
        images = len(self.collection.paths)
        return torch.ones(images, dtype=torch.bool) if self.detected is None else self.detected.readable

    def measure(self, threshold: float) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
        """The tables and the summary; `threshold` is the overlap from which on a first region counts as right."""
        truth, judged = self.truth, without_stand_ins(self.regions)
        first = first_boxes(self.regions, self.detected, len(self.collection.paths))
        recall = recall_table(judged, truth)
        images = images_table(self.collection, judged, self.detected, first, truth)
        images["saliency_precision"] = precisions(self.detected, truth, len(images))
        salient = salient_summary(images["saliency_precision"], self.detected, truth)
        summary = {
            "corloc": number(corloc(first, truth, threshold)),
            "recall_50": _at(recall, 0.5),
            "recall_75": _at(recall, 0.75),
            "recall_mean": number(float(recall["recall"].mean())),
            "regions_per_image": float(images["regions"].mean()),
            "affine_share": None if self.detected is None else self.detected.affine_share,
            **salient,
            "images": int(self.readable.sum()),
            "objects": len(truth.image),
            "left_out": left_out(self.collection.problems, self.readable),
        }
        return {"recall": recall, "images": images}, summary


def precisions(detected: FoundRegions | None, truth: Annotations, images: int) -> Float[np.ndarray, " n"]:
    """Saliency precision of each image; NaN without a saliency map, of a map of zeros, and where no object is known."""
    found = np.full(images, np.nan)
    if detected is None or detected.salient is None:
        return found
    for image in torch.unique(truth.image).tolist():
        saliency = detected.image(image).saliency
        if saliency is not None:
            found[image] = saliency_precision(saliency, truth.box[truth.image == image])
    return found


def salient_summary(
    precision: "pd.Series[float]", detected: FoundRegions | None, truth: Annotations
) -> dict[str, float | int | None]:
    """The mean saliency precision, and how many images with objects have none, since their maps are zero."""
    if detected is None or detected.salient is None:
        return {"saliency_precision": None, "without_saliency": None}
    mean = number(float(precision.mean()))
    return {"saliency_precision": mean, "without_saliency": len(torch.unique(truth.image)) - int(precision.count())}


def without_stand_ins(located: Regions) -> Regions:
    """The regions that a detector can be credited with: not the whole images that stand where it found nothing."""
    if located.kind is None or located.offsets is None:
        return located
    credited = located.kind != KINDS.index("whole")
    before = F.pad(credited.cumsum(0), (1, 0))
    return Regions(located.boxes[credited], before[located.offsets])


def first_boxes(located: Regions, detected: FoundRegions | None, images: int) -> Float[Tensor, "n 4"]:
    """The one box of each image that CorLoc looks at: the region of highest score, the first of equals.

    Of a grid, which has no scores, the first cell; NaN where nothing was found.
    """
    if detected is None:
        return torch.stack([located.of(image)[0] for image in range(images)])
    boxes = torch.full((images, 4), torch.nan)
    for image in range(images):
        rows = slice(int(detected.offsets[image]), int(detected.offsets[image + 1]))
        if rows.stop > rows.start:
            boxes[image] = detected.boxes[rows][detected.score[rows].argmax()]
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
    detected: FoundRegions | None,
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
    table["affine"] = float("nan") if detected is None else detected.affine.double().numpy()
    for name, values in best.items():
        table[name] = values.where(values >= 0, torch.nan).numpy()
    return table


def _at(recall: pd.DataFrame, overlap: float) -> float | None:
    nearest = int((recall["iou"] - overlap).abs().to_numpy().argmin())
    return number(float(recall["recall"].iloc[nearest]))
