"""Rivals of spatial matching: OpenCV's robust estimator on the same pairs of features, and SIFT on the pictures."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float, Int
from PIL import Image

from seekloop.contracts.declared import Count, Positive, Share, component
from seekloop.contracts.errors import require
from seekloop.contracts.local_features import LocalFeatures
from seekloop.matching.spatial import Verified, tentatives

EXTRA = "matching"


@component
class RobustMatching:
    """OpenCV's estimator of an affine map from three pairs (MAGSAC++ in its USAC framework); it uses no ellipses.

    Its samples are drawn from OpenCV's own fixed seed, so that the result is the same each time.

    Args:
        tolerance: error of an inlier in the second image, in cells of a map, or pixels of a picture.
        confidence: that no better map was missed, by which it stops.
        samples: most triples of pairs.
        least: inliers below which two images count as unlike.

    Reference:
        Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator", CVPR 2020.
    """

    tolerance: Positive = 2.0
    confidence: Share = 0.999
    samples: Count = 2000
    least: Annotated[int, Ge(3)] = 3

    def __call__(
        self, query: Float[np.ndarray, "q 2"], other: Float[np.ndarray, "f 2"], pairs: Int[np.ndarray, "t 2"]
    ) -> tuple[Float[np.ndarray, "2 3"] | None, Int[np.ndarray, "i 2"]]:
        """Find the map that most of some pairs of points agree on, and those pairs, one to one, nearest first.

        Returns:
            The map, None if fewer than `least` pairs agree; and the pairs.
        """
        nothing = None, np.zeros((0, 2), dtype=np.int64)
        if len(pairs) < self.least:
            return nothing
        cv2 = require("cv2", EXTRA)
        first, second = query[pairs[:, 0]].astype(np.float64), other[pairs[:, 1]].astype(np.float64)
        limits = {"ransacReprojThreshold": self.tolerance, "maxIters": self.samples, "confidence": self.confidence}
        map, _ = cv2.estimateAffine2D(first, second, method=cv2.USAC_MAGSAC, **limits)
        if map is None:
            return nothing
        errors = np.linalg.norm(first @ map[:, :2].T + map[:, 2] - second, axis=1)
        order = np.argsort(errors, kind="stable")
        kept = one_to_one(pairs[order[errors[order] <= self.tolerance]])
        return (map, kept) if len(kept) >= self.least else nothing


def one_to_one(pairs: Int[np.ndarray, "t 2"]) -> Int[np.ndarray, "i 2"]:
    """Pairs whose members occur in no earlier pair that is kept.

    Example:
        >>> one_to_one(np.array([[0, 5], [0, 6], [1, 5], [1, 6]])).tolist()
        [[0, 5], [1, 6]]
    """
    first: set[int] = set()
    second: set[int] = set()
    kept = []
    for one, other in pairs.tolist():
        if one not in first and other not in second:
            kept.append((one, other))
            first.add(one)
            second.add(other)
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def verify_robustly(query: LocalFeatures, database: LocalFeatures, settings: RobustMatching) -> Verified:
    """Match the same pairs of features as `spatial.verify` by OpenCV's estimator; of all scales the most inliers."""
    best = Verified.nothing()
    pairs = tentatives(query, database)
    for first in range(len(query.sizes)):
        for second in range(len(database.sizes)):
            here = (query.scale[pairs[:, 0]] == first) & (database.scale[pairs[:, 1]] == second)
            map, kept = settings(query.mean, database.mean, pairs[here])
            if len(kept) > best.inliers:
                sizes = _size(query.sizes[first]), _size(database.sizes[second])
                best = Verified(len(kept), kept, map, (first, second), sizes)
    return best


@dataclass(frozen=True)
class Keypoints:
    """SIFT's local features of a picture.

    Attributes:
        points: (x, y) in pixels from the left and top edge.
        vectors: descriptor of each.
        size: (height, width) of the picture.
    """

    points: Float[np.ndarray, "f 2"]
    vectors: Float[np.ndarray, "f 128"]
    size: tuple[int, int]


@component
class SiftMatching:
    """SIFT on the pictures themselves: pairs by Lowe's ratio test, then OpenCV's robust estimator.

    Args:
        most: keypoints of a picture, those of the highest contrast.
        ratio: a pair counts if the nearest descriptor is nearer than the second nearest by this factor.
        robust: estimator; its tolerance is in pixels.

    Reference:
        Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004.
    """

    most: Count = 2048
    ratio: Share = 0.8
    robust: RobustMatching = RobustMatching(tolerance=3.0)

    def keypoints(self, picture: Image.Image, box: Float[np.ndarray, " 4"] | None = None) -> Keypoints:
        """Keypoints of a picture, or of those inside a box (x0, y0, x1, y1) in fractions of it."""
        grey = np.asarray(picture.convert("L"))
        found, vectors = require("cv2", EXTRA).SIFT_create(nfeatures=self.most).detectAndCompute(grey, None)
        points = np.array([one.pt for one in found], dtype=np.float64).reshape(-1, 2) + 0.5  # middles of pixels
        place, (x0, y0, x1, y1) = points / picture.size, (0, 0, 1, 1) if box is None else box
        kept = (place >= (x0, y0)).all(axis=1) & (place <= (x1, y1)).all(axis=1)
        vectors = np.zeros((0, 128), dtype=np.float32) if vectors is None else vectors
        return Keypoints(points[kept], vectors[kept], (picture.height, picture.width))

    def verify(self, query: Keypoints, other: Keypoints) -> Verified:
        """Match two pictures; the map is in their pixels."""
        map, kept = self.robust(query.points, other.points, self._pairs(query, other))
        return Verified(len(kept), kept, map, (0, 0), (query.size, other.size)) if len(kept) else Verified.nothing()

    def _pairs(self, query: Keypoints, other: Keypoints) -> Int[np.ndarray, "t 2"]:
        if not len(query.points) or len(other.points) < 2:  # there is no second nearest
            return np.zeros((0, 2), dtype=np.int64)
        both = require("cv2", EXTRA).BFMatcher().knnMatch(query.vectors, other.vectors, k=2)
        near = [(one.queryIdx, one.trainIdx) for one, next_ in both if one.distance < self.ratio * next_.distance]
        return np.array(near, dtype=np.int64).reshape(-1, 2)


def _size(size: Int[np.ndarray, " 2"]) -> tuple[int, int]:
    rows, columns = size.tolist()
    return rows, columns
