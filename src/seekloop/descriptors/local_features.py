"""Local features of an image from the regions of its maps' channels: ellipses, strengths, and which of them stay."""

from collections.abc import Sequence
from typing import Any, Literal, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from seekloop.contracts.compiled import compiled
from seekloop.contracts.declared import Count, Positive, Share, component
from seekloop.contracts.local_features import ChannelRegions, LocalFeatures, Role

Array = NDArray[Any]

SINGULAR = 1e-6  # determinant of a covariance, in cells to the fourth, below which it is no ellipse


@component
class LocalFeatureSettings:
    r"""Choice of local features.

    A region :math:`R` of channel :math:`j` becomes :math:`(\mu, \Sigma, v)`: mean and covariance of its cells, and the
    strength :math:`v = \operatorname{pool}_{r \in R} A_j(r)`.

    Args:
        strength: pooling of the activations of a region: max, mean, or generalised mean (gem).
        exponent: of the generalised mean.
        query_limit: most features of a channel of a query, of one scale; a channel with more is discarded.
        database_limit: the same of a database image.
        overlap: largest intersection over union of the boxes of two features of a database image and one scale,
            whatever their channels: the weaker one is left out.
        most: features of an image, the strongest of all scales; None: as many as the maps have channels.
        parity: as the release does: of a channel with too many features the strongest stay, and regions of one row or
            column count for nothing, since boxes end at the middle of their last cells.

    Reference:
        Siméoni et al., "Local Features and Visual Words Emerge in Activations", CVPR 2019, section 3.3 and 3.4. The
        release takes strengths inside the ellipse drawn as a polygon; here they are always those of the region.
    """

    strength: Literal["max", "mean", "gem"] = "max"
    exponent: Positive = 3.0
    query_limit: Count = 20
    database_limit: Count = 10
    overlap: Share = 0.2
    most: Count | None = None
    parity: bool = False

    def limit(self, role: Role) -> int:
        """Most features of a channel."""
        return self.query_limit if role == "query" else self.database_limit


def local_features(
    maps: Sequence[Float[np.ndarray, "d _ _"]],
    regions: Sequence[ChannelRegions],
    settings: LocalFeatureSettings,
    role: Role,
) -> LocalFeatures:
    """Make the local features of one image, strongest first; equally strong ones by scale and channel.

    Regions whose cells lie on a line have no ellipse, and are left out before anything is counted.

    Args:
        maps: activations at each scale, all with the same channels.
        regions: of the channels of each.
        settings: see there.
        role: of the image.

    Raises:
        ValueError: if there are not as many regions as maps.
    """
    each = [_of_scale(one, at, settings, role) for one, at in zip(maps, regions, strict=True)]
    scale = np.repeat(np.arange(len(each)), [len(one) for one in each])
    mean, covariance, channel, strength = (
        np.concatenate([getattr(one, name) for one in each]) for name in ("mean", "covariance", "channel", "strength")
    )
    sizes = np.array([one.shape[1:] for one in maps], dtype=np.int64).reshape(-1, 2)
    every = LocalFeatures(mean, covariance, channel, strength, scale, sizes)
    most = len(maps[0]) if settings.most is None else settings.most
    return every.only(np.argsort(-every.strength, kind="stable")[:most])


def _of_scale(
    maps: Float[np.ndarray, "d h w"], regions: ChannelRegions, settings: LocalFeatureSettings, role: Role
) -> LocalFeatures:
    """The features of one scale, by channel."""
    size = np.array([maps.shape[1:]], dtype=np.int64)
    if not len(regions.channel):
        return LocalFeatures.none(size)
    mean, covariance = ellipses(regions)
    values = maps[np.repeat(regions.channel, np.diff(regions.ends)), regions.rows, regions.columns]
    strength = _pooled(values, regions.ends, settings)
    scale = np.zeros(len(strength), dtype=np.int64)
    every = LocalFeatures(mean, covariance, regions.channel, strength, scale, size)
    boxes = _boxes(regions, last=0 if settings.parity else 1)
    valid = np.linalg.det(covariance.astype(np.float64)) > SINGULAR
    if settings.parity:
        valid &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    left = np.flatnonzero(valid)
    left = left[_uncrowded(every.channel[left], every.strength[left], settings.limit(role), settings.parity)]
    if role == "database":
        order = np.argsort(-every.strength[left], kind="stable")
        left = left[suppress(boxes[left].astype(np.float64), order, settings.overlap).astype(np.bool_)]
    return every.only(left)


def ellipses(regions: ChannelRegions) -> tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, "m 2 2"]]:
    """Mean, and covariance with a divisor of all cells, of the middles of the cells of each region."""
    starts, area = regions.ends[:-1], np.diff(regions.ends)
    cells = np.stack([regions.columns, regions.rows], axis=1) + 0.5
    mean = np.add.reduceat(cells, starts) / area[:, None]
    centred = cells - np.repeat(mean, area, axis=0)
    squares = np.add.reduceat(centred[:, :, None] * centred[:, None, :], starts)
    return mean.astype(np.float32), (squares / area[:, None, None]).astype(np.float32)


def _pooled(
    values: Float[np.ndarray, " p"], ends: Int[np.ndarray, " ends"], settings: LocalFeatureSettings
) -> Float[np.ndarray, " m"]:
    if settings.strength == "max":
        return np.maximum.reduceat(values, ends[:-1]).astype(np.float32)
    power = settings.exponent if settings.strength == "gem" else 1.0
    powers = np.maximum(values, 0).astype(np.float64) ** power
    return ((np.add.reduceat(powers, ends[:-1]) / np.diff(ends)) ** (1 / power)).astype(np.float32)


def _boxes(regions: ChannelRegions, last: int) -> Int[np.ndarray, "m 4"]:
    """Box around each region; `last` is 1 where the last row and column belong to it."""
    starts = regions.ends[:-1]
    low = [np.minimum.reduceat(side, starts) for side in (regions.columns, regions.rows)]
    high = [np.maximum.reduceat(side, starts) + last for side in (regions.columns, regions.rows)]
    return np.stack([*low, *high], axis=1)


def _uncrowded(
    channel: Int[np.ndarray, " m"], strength: Float[np.ndarray, " m"], limit: int, best: bool
) -> Bool[np.ndarray, " m"]:
    """Without the channels that have more than `limit` features; or, of these, with the strongest that many."""
    counts = np.bincount(channel)
    if not best:
        return counts[channel] <= limit
    order = np.lexsort((-strength, channel))
    first = np.cumsum(counts) - counts
    kept = np.zeros(len(channel), dtype=np.bool_)
    kept[order[np.arange(len(channel)) - first[channel[order]] < limit]] = True
    return kept


# `no_type_check` keeps the shape hook of the tests away from functions that numba must see as they are written.
@compiled(False)
@no_type_check
def suppress(boxes: Array, order: Array, overlap: float) -> Array:
    """Non-maximum suppression: 1 for boxes that overlap no kept box that comes before them, else 0.

    Args:
        boxes: (x0, y0, x1, y1).
        order: in which they are looked at.
        overlap: largest intersection over union of two kept boxes.
    """
    kept = np.zeros(len(boxes), np.int64)
    before = np.empty(len(boxes), np.int64)
    count = 0
    for box in order:
        x0, y0, x1, y1 = boxes[box]
        free = True
        for at in range(count):
            other = boxes[before[at]]
            across = min(x1, other[2]) - max(x0, other[0])
            down = min(y1, other[3]) - max(y0, other[1])
            if across > 0 and down > 0:
                both = (x1 - x0) * (y1 - y0) + (other[2] - other[0]) * (other[3] - other[1])
                if across * down > overlap * (both - across * down):
                    free = False
                    break
        if free:
            kept[box] = 1
            before[count] = box
            count += 1
    return kept
