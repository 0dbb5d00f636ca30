"""The common part of two images for fine-tuning: masks of the regions that spatial matching finds on both maps."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.declared import component
from seekloop.contracts.local_features import ChannelRegions, LocalFeatures
from seekloop.descriptors.local_features import LocalFeatureSettings, ellipses, local_features
from seekloop.matching.spatial import SpatialMatching, verify
from seekloop.regions.mser import Activations, Levels, Mser


@dataclass(frozen=True)
class Detected:
    """Local features of one map, and the regions that they are the ellipses of."""

    features: LocalFeatures
    regions: ChannelRegions

    @cached_property
    def region(self) -> Int[np.ndarray, " f"]:
        """The region of each feature: that of its channel which has its ellipse."""
        if not len(self.features):
            return np.zeros(0, dtype=np.int64)
        known = {row: at for at, row in enumerate(_rows(self.regions.channel, *ellipses(self.regions)))}
        rows = _rows(self.features.channel, self.features.mean, self.features.covariance)
        return np.array([known[row] for row in rows], dtype=np.int64)


def _rows(
    channel: Int[np.ndarray, " m"], mean: Float[np.ndarray, "m 2"], covariance: Float[np.ndarray, "m 2 2"]
) -> list[bytes]:
    """Channel and ellipse of each of several regions, to be compared exactly."""
    both = np.concatenate([channel[:, None], mean, covariance.reshape(-1, 4)], axis=1).astype(np.float64)
    return [row.tobytes() for row in both]


@component
class CommonParts:
    """Spatial matching of the maps of two images, as masks of their channels.

    Both images of a pair play the query's part: features suppress each other on neither map, so that every channel can
    match. Maps are of one scale.

    Attributes:
        levels: 8-bit levels of the network's activations.
        regions: detector of regions.
        features: settings of local features.
        matching: settings of spatial matching.
    """

    levels: Levels
    regions: Mser = Mser()
    features: LocalFeatureSettings = LocalFeatureSettings()
    matching: SpatialMatching = SpatialMatching()

    @staticmethod
    def of(seen: Activations) -> "CommonParts":
        """Matching with levels from the activations that a pass over the images has seen."""
        regions = Mser()
        return CommonParts(seen.levels(regions.step), regions)

    def detect(self, patches: Float[Tensor, "h w d"]) -> Detected:
        """Local features of one map; no gradient passes."""
        map_ = patches.detach().float().cpu().permute(2, 0, 1).contiguous().numpy()
        regions = self.regions(map_, self.levels)
        return Detected(local_features([map_], [regions], self.features, "query"), regions)

    def masks(
        self, first: Detected, second: Detected, size: tuple[int, int, int]
    ) -> tuple[Bool[Tensor, "h w d"], Bool[Tensor, "h w d"]]:
        """Masks of two maps of one size, (rows, columns, channels): Q of each image verified against the other.

        A channel with inliers has the union of their regions, a channel without all of the map.
        """
        pairs = verify(first.features, second.features, self.matching).pairs
        return mask_of(first, pairs[:, 0], size), mask_of(second, pairs[:, 1], size)


def mask_of(detected: Detected, inliers: Int[np.ndarray, " i"], size: tuple[int, int, int]) -> Bool[Tensor, "h w d"]:
    """Mask of one map: in channels with inliers the cells of their regions, everywhere in the others.

    Args:
        detected: features and regions of the map.
        inliers: positions of features.
        size: rows, columns and channels of the map.
    """
    regions, chosen = detected.regions, np.zeros(len(detected.regions.channel), dtype=np.bool_)
    chosen[detected.region[inliers]] = True
    mask = np.ones(size, dtype=np.bool_)
    mask[:, :, regions.channel[chosen]] = False
    cells = np.repeat(chosen, np.diff(regions.ends))
    channel = np.repeat(regions.channel, np.diff(regions.ends))
    mask[regions.rows[cells], regions.columns[cells], channel[cells]] = True
    return torch.from_numpy(mask)
