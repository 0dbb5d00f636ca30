"""The common part of two images for fine-tuning: masks of the regions that spatial matching finds on both maps."""

from dataclasses import dataclass

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
    chosen, regions = detected.features.only(np.unique(inliers)), detected.regions
    mask = np.zeros(size, dtype=np.bool_)
    mean, covariance = ellipses(regions) if len(regions.channel) else (chosen.mean, chosen.covariance)
    for channel in np.setdiff1d(np.arange(size[2]), chosen.channel):
        mask[:, :, channel] = True
    for at in range(len(chosen)):  # the region of a feature is that of its channel which has its ellipse
        same = regions.channel == chosen.channel[at]
        same &= (mean == chosen.mean[at]).all(axis=1) & (covariance == chosen.covariance[at]).all(axis=(1, 2))
        for region in np.flatnonzero(same):
            cells = slice(regions.ends[region], regions.ends[region + 1])
            mask[regions.rows[cells], regions.columns[cells], chosen.channel[at]] = True
    return torch.from_numpy(mask)
