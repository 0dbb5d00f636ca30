"""Maximally stable extremal regions of the channels of a network's map, by OpenCV."""

import math
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from seekloop.contracts.compiled import compiled
from seekloop.contracts.declared import Count, Positive, Share, component
from seekloop.contracts.errors import require
from seekloop.contracts.local_features import ChannelRegions

Array = NDArray[Any]

TOP = 255  # highest level
MOST_PARITY = 12  # the release's highest step


@dataclass(frozen=True)
class Levels:
    """Conversion of activations to 8 bits, one for a network and a data set, so that levels mean the same on each map.

    Attributes:
        factor: levels of an activation of 1.
        step: levels over which a region must not grow much, MSER's delta.
    """

    factor: float
    step: int


class Activations:
    """Histogram of the activations above 0 of many maps, all channels together.

    Counted by their bits in half precision, whose order is that of the numbers: 1,024 bins for each power of two,
    whatever the range.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(1 << 15, dtype=np.int64)

    def add(self, maps: Float[np.ndarray, "d h w"]) -> None:
        """Count one map."""
        values = np.minimum(maps[maps > 0], np.finfo(np.float16).max).astype(np.float16)
        self.counts += np.bincount(values.view(np.uint16), minlength=len(self.counts))

    def quantile(self, share: float) -> float:
        """The activation that `share` of those above 0 do not exceed; 0 where there are none.

        Example:
            >>> seen = Activations()
            >>> seen.add(np.array([[[0, 1, 2, 3, 4, 5]]], dtype=np.float32))
            >>> seen.quantile(0.6)
            3.0
        """
        seen = self.counts.cumsum()
        if not (seen[-1] and share > 0):
            return 0.0
        at = np.searchsorted(seen, share * seen[-1] * (1 - 1e-12))
        return float(np.uint16(at).view(np.float16))

    def levels(self, share: float) -> Levels:
        """Levels that reach from 0 to the highest activation, with the step at a share of the histogram."""
        highest = self.quantile(1)
        factor = TOP / highest if highest else 1.0
        return Levels(factor, max(1, round(self.quantile(share) * factor)))


@component
class Mser:
    r"""Maximally stable extremal regions (MSER) of every channel of a map, each as a list of its cells.

    A region :math:`R` is connected, and all of it is brighter than its outer border. It is maximally stable if its
    growth over `step` levels is small and a minimum among the regions that contain it or that it contains. Then regions
    are left out that are nearly the one around them.

    OpenCV's detector differs from that of VLFeat, which the thesis took. It joins cells that share an edge, not those
    that share a corner. It measures growth as :math:`(|R_{-\Delta}| - |R_{+\Delta}|) / |R|` on both sides of a level,
    VLFeat as :math:`(|R_{-\Delta}| - |R|) / |R|`; it is therefore given half of the step, so that both look at as many
    levels. Its own check of diversity finds nothing in version 5; here it is computed as VLFeat does: from the largest
    region on, :math:`R` is left out if :math:`(|P| - |R|) / |P|` is below `diversity`, :math:`P` being the smallest
    kept region around it.

    Args:
        step: share of the activations above 0 of the data set that lie below the activation at which the step is taken.
        diversity: least share of a region's surroundings that it must leave out.
        variation: most growth of a region over the step, relative to its size.
        smallest: cells of the smallest region; fewer than 3 have no ellipse.
        largest: of a region, as a share of the map.
        parity: as the release does: dark regions besides the bright ones; activations rounded to levels as they are;
            and the step of each map by itself, at most 12.

    Reference:
        Matas et al., "Robust Wide Baseline Stereo from Maximally Stable Extremal Regions", BMVC 2002; settings of
        Siméoni et al., "Local Features and Visual Words Emerge in Activations", CVPR 2019.
    """

    step: Share = 0.6
    diversity: Share = 0.7
    variation: Positive = 0.5
    smallest: Count = 3
    largest: Share = 0.75
    parity: bool = False

    def __call__(self, maps: Float[np.ndarray, "d h w"], levels: Levels) -> ChannelRegions:
        """Regions of every channel, bright ones first, the smaller ones of a channel before those around them.

        A channel without activation has none, and neither has a map smaller than a region.
        """
        most = int(self.largest * math.prod(maps.shape[1:]))
        if most < self.smallest:
            return _joined([], [])
        if self.parity:
            levels = self._own_levels(maps)
        bright = np.clip(np.rint(maps * levels.factor), 0, TOP).astype(np.uint8)
        detector = self._detector(levels, most)
        channels, found = [], []
        for channel in np.flatnonzero(bright.any(axis=(1, 2))).tolist():
            for image in (bright[channel], TOP - bright[channel])[: 1 + self.parity]:
                framed = np.pad(image, 1)  # OpenCV's leaves the outermost cells out of every region
                regions = self._diverse(detector.detectRegions(framed)[0], framed.shape)
                channels += [channel] * len(regions)
                found += regions
        return _joined(channels, found)

    def _own_levels(self, maps: Float[np.ndarray, "d h w"]) -> Levels:
        """The release's: one level for an activation of 1."""
        seen = Activations()
        seen.add(maps)
        return Levels(1.0, max(1, min(MOST_PARITY, round(seen.quantile(self.step)))))

    def _detector(self, levels: Levels, most: int) -> Any:  # noqa: ANN401 - OpenCV's
        step = max(1, round(levels.step / 2))
        found = require("cv2", "matching").MSER_create(step, self.smallest, most, self.variation, 0.0)
        found.setPass2Only(True)  # bright regions only
        return found

    def _diverse(self, regions: Any, shape: tuple[int, ...]) -> list[np.ndarray]:  # noqa: ANN401 - a tuple of arrays
        """The regions that differ enough from those around them, in their order."""
        if not len(regions):
            return []
        ends = np.cumsum([0, *map(len, regions)])
        cells = np.concatenate(regions).astype(np.int64)
        kept = diverse(cells[:, 1] * shape[1] + cells[:, 0], ends, shape[0] * shape[1], self.diversity)
        return [region for region, stays in zip(regions, kept, strict=True) if stays]


def _joined(channels: list[int], regions: list[np.ndarray]) -> ChannelRegions:
    """Regions of framed maps, given by their (column, row)."""
    cells = np.concatenate([np.zeros((0, 2), dtype=np.int64), *regions]).astype(np.int64)
    ends = np.cumsum([0, *map(len, regions)])
    return ChannelRegions(np.array(channels, dtype=np.int64), ends, cells[:, 1] - 1, cells[:, 0] - 1)


# `no_type_check` keeps the shape hook of the tests away from functions that numba must see as they are written.
@compiled(False)
@no_type_check
def diverse(cells: Array, ends: Array, size: int, diversity: float) -> Array:
    """Tell which of some regions, nested or apart, differ enough from the smallest kept one around them.

    Args:
        cells: of all regions, one after the other, counted row by row.
        ends: where each region begins, and the number of cells.
        size: number of cells of the map.
        diversity: least share of the surrounding region that lies outside.
    """
    areas = ends[1:] - ends[:-1]
    around = np.full(size, -1)  # the smallest kept region so far that each cell lies in
    kept = np.zeros(len(areas), np.int64)
    for region in np.argsort(-areas, kind="mergesort"):
        parent = around[cells[ends[region]]]
        if parent < 0 or areas[parent] - areas[region] >= diversity * areas[parent]:
            kept[region] = 1
            for at in range(ends[region], ends[region + 1]):
                around[cells[at]] = region
    return kept
