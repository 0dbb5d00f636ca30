"""Known affine maps between pictures: which way of matching recovers them?

    python experiments/matching/affine.py <VOCdevkit> <ResNet-50 weights> experiments/matching/affine --layer layer3

Pictures are those of `collection=pasted`: objects cut from photographs, turned, enlarged, sheared, pasted on others.
Each pair shows one object twice; the map from one to the other is known. The query's features are those inside the
object's visible box, the other picture has all of its features. On the same features: fast spatial matching, the same
as released, and OpenCV's USAC_MAGSAC; the first and the third also with the features of the other picture that
database images suppress; and SIFT with the same estimator on the pictures themselves.

For each pair and way, the error is the median over points of the object of the distance, in pixels, between where the
found and the true map bring them; infinity where nothing was found. `right` is the share of inliers that the true map
brings within the tolerance. Writes <name>.csv, a line for each pair and way, and prints the table.
"""

import argparse
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from seekloop.backbones.cnn import FeatureMap
from seekloop.contracts.local_features import LocalFeatures
from seekloop.contracts.protocols import Backbone
from seekloop.descriptors.local_features import LocalFeatureSettings
from seekloop.extraction.features import LocalFeatureExtraction, Scales
from seekloop.extraction.trainer import TrainerSettings
from seekloop.images.generated.pasted import Pasted
from seekloop.images.voc import Voc2012
from seekloop.matching.image_matching import RobustMatching, SiftMatching, verify_robustly
from seekloop.matching.spatial import SpatialMatching, Verified, verify
from seekloop.metrics.registration import after, inverse, median_transfer_error

NEAR = 10.0  # degrees by which a near-upright pair is turned at most
FOUND = 0.05  # of the longest side: a map with at most this error counts as recovered


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("root", type=Path, help="VOCdevkit")
    found.add_argument("checkpoint", type=Path, help="weights of the ResNet-50 with the original strides")
    found.add_argument("name", type=Path, help="of the CSV, without its ending")
    found.add_argument("--layer", default="layer4")
    found.add_argument("--upsample", action="store_true", help="a map twice as wide and high")
    found.add_argument("--instances", type=int, default=20)
    found.add_argument("--copies", type=int, default=3)
    found.add_argument(
        "--longest", type=int, default=800, help="pixels of the longer side, to which pictures are enlarged"
    )
    found.add_argument("--stores", type=Path, default=Path("stores"))
    return found


def points_of(box: Float[np.ndarray, " 4"]) -> Float[np.ndarray, "25 2"]:
    """A grid of points over the middle of a box."""
    place = np.linspace(0.2, 0.8, 5)
    x, y = np.meshgrid(box[0] + place * (box[2] - box[0]), box[1] + place * (box[3] - box[1]))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def turn(map: Float[np.ndarray, "2 3"]) -> float:
    """Degrees by which a map turns: those of the rotation nearest to it."""
    left, _, right = np.linalg.svd(map[:, :2])
    rotation = left @ right
    return float(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0])))


class Pairs:
    """All pairs of pictures of one object, and the local features of all pictures."""

    def __init__(self, collection: Pasted, backbone: Backbone, asked: argparse.Namespace) -> None:
        self.collection = collection
        self.boxes = collection.annotations.box.numpy().astype(np.float64)
        self.maps = collection.maps.numpy()
        settings, trainer = LocalFeatureSettings(), TrainerSettings(accelerator="cpu", precision="32-true", jobs=2)
        scales = Scales(longest=asked.longest, enlarge=True)
        stages = (
            LocalFeatureExtraction(
                collection, backbone, settings, role, asked.stores, trainer, scales=scales, sample=20
            )
            for role in ("query", "database")
        )
        self.query, self.database = (stage.ensure(print) for stage in stages)
        self.sift = SiftMatching()
        self.keypoints = [self.sift.keypoints(collection.read(image)) for image in range(len(collection.paths))]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        copies = self.collection.copies
        for instance in range(len(self.collection.instances)):
            yield from combinations(range(instance * copies, (instance + 1) * copies), 2)

    def rows(self, first: int, second: int) -> Iterator[dict[str, object]]:
        """A row of the table for each way of matching two pictures."""
        truth = after(self.maps[second], inverse(self.maps[first]))
        sizes = [self.collection.paste(image).size for image in (first, second)]
        box = self.boxes[first] * (*sizes[0], *sizes[0])
        query = self.query.of(first).inside(self.boxes[first])
        other, every = self.database.of(second), self.query.of(second)
        keypoints = self.sift.keypoints(self.collection.read(first), self.boxes[first]), self.keypoints[second]
        on_both, on_every = on_pictures(query, other, sizes), on_pictures(query, every, sizes)
        ways = {
            "spatial": (verify(query, other, SpatialMatching()), on_both),
            "spatial, as released": (verify(query, other, SpatialMatching(parity=True)), on_both),
            "USAC, same features": (verify_robustly(query, other, RobustMatching()), on_both),
            "spatial, nothing suppressed": (verify(query, every, SpatialMatching()), on_every),
            "USAC, nothing suppressed": (verify_robustly(query, every, RobustMatching()), on_every),
            "SIFT": (self.sift.verify(*keypoints), (keypoints[0].points, keypoints[1].points)),
        }
        for way, (found, points) in ways.items():
            tolerance = 3.0 if way == "SIFT" else 2 * max(sizes[1]) / max(found.sizes[1])
            yield {
                "first": first,
                "second": second,
                "turn": turn(truth),
                "way": way,
                "features": len(points[0]),
                "inliers": found.inliers,
                "right": right(found, points, truth, tolerance),
                "error": median_transfer_error(found.between(*sizes), truth, points_of(box)),
            }


def on_pictures(
    query: LocalFeatures, other: LocalFeatures, sizes: list[tuple[int, int]]
) -> tuple[Float[np.ndarray, "q 2"], Float[np.ndarray, "f 2"]]:
    """Centres of both pictures' features in their pixels."""
    return query.on_picture(*sizes[0])[0], other.on_picture(*sizes[1])[0]


def right(
    found: Verified, placed: tuple[np.ndarray, np.ndarray], truth: Float[np.ndarray, "2 3"], tolerance: float
) -> float:
    """Share of the inliers that the true map brings within the tolerance; NaN without inliers."""
    if not found.inliers:
        return float("nan")
    first, second = (points[found.pairs[:, side]] for side, points in enumerate(placed))
    moved = first @ truth[:, :2].T + truth[:, 2]
    return float((np.linalg.norm(moved - second, axis=1) <= tolerance).mean())


def summary(rows: pd.DataFrame, side: int) -> pd.DataFrame:
    """A line for each way, near-upright pairs and all of them."""
    parts = {"all": rows, f"turned by at most {NEAR:.0f} degrees": rows[rows["turn"].abs() <= NEAR]}
    lines = []
    for part, some in parts.items():
        for way, mine in some.groupby("way", sort=False):
            lines.append(
                {
                    "pairs": f"{part} ({len(mine)})",
                    "way": way,
                    "recovered": (mine["error"] <= FOUND * side).mean(),
                    "median error, pixels": mine["error"].median(),
                    "inliers": mine["inliers"].mean(),
                    "of features": (mine["inliers"] / mine["features"].clip(lower=1)).mean(),
                    "right": mine["right"].mean(),
                }
            )
    return pd.DataFrame(lines).round(3)


def main() -> None:
    asked = parser().parse_args()
    source = Voc2012(asked.root)
    collection = Pasted(source, instances=asked.instances, copies=asked.copies, distractors=0, seed=0)
    backbone = FeatureMap(
        original_strides=True, layer=asked.layer, checkpoint=str(asked.checkpoint), upsample=asked.upsample
    )
    pairs = Pairs(collection, backbone, asked)
    rows = pd.DataFrame([row for first, second in pairs for row in pairs.rows(first, second)])
    rows.to_csv(asked.name.with_suffix(".csv"), index=False, float_format="%.4g")
    print(summary(rows, collection.image_size).to_markdown(index=False))


if __name__ == "__main__":
    main()
