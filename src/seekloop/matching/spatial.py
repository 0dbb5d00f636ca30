"""Spatial matching of the local features of two images: the affine map that the most pairs of features agree on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, no_type_check

import numpy as np
from annotated_types import Ge
from jaxtyping import Float, Int
from numpy.typing import NDArray

from seekloop.contracts.compiled import compiled, in_threads
from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.local_features import LocalFeatures

Array = NDArray[Any]
Known = tuple[Array, ...]

WIDER = 4.0  # factor on squared errors: the first refit takes pairs within twice the tolerance
PULL = 50.0  # the release's weight of the pairs' own matrices in a refit
FLAT = 1e-9  # of the spread of points, below which they lie on a line
MANY, BONUS = 12, 6.283  # the release: from so many inliers on, they weigh so much more against that


@component
class SpatialMatching:
    r"""Fast spatial matching: a map from every pair of features, the best of them refined.

    Pairs :math:`(q_1, q_2)` are of one channel. With :math:`\Sigma = A A^\top`, A lower triangular, so that it keeps
    the y direction, each gives a hypothesis without rotation,

    .. math:: L = A_2 A_1^{-1}, \qquad x \mapsto L x + \mu_2 - L \mu_1 .

    An inlier of a map M has :math:`\lVert \mu_2 - M \mu_1 \rVert` and :math:`\lVert \mu_1 - M^{-1} \mu_2 \rVert` of at
    most `tolerance` cells, areas whose ratio is that of M up to the factor `scale_change`, and a y axis turned by at
    most 45 degrees by M. Each feature belongs to one inlier: features of the query are looked at in turn, and take
    what is nearest of those that are left. The `refined` best hypotheses are refined (LO-RANSAC): an affine map is
    fitted to their pairs within twice the tolerance by least squares, then to its own inliers, as long as these do not
    become fewer. Nothing is random.

    Args:
        tolerance: error of an inlier, in cells of the maps, either way. With `parity`: of the sum of both squares,
            which must be less.
        scale_change: largest ratio, either way, of the areas of two features after the map.
        hypothesis_change: largest ratio, either way, of the areas of the two features of a hypothesis; None: any.
        refined: number of hypotheses that are refined.
        rounds: refits of each.
        least: inliers below which two images count as unlike; an affine map needs 3.
        parity: as the release does. Besides the tolerance: from 12 pairs on refits are drawn to the hypotheses of their
            pairs, and the hypothesis that was refined takes on the refitted matrix. The release also confuses the
            matrix of an ellipse with its inverse; that is not repeated.

    Reference:
        Siméoni et al., "Local Features and Visual Words Emerge in Activations", CVPR 2019, section 3.4; Philbin et al.,
        "Object retrieval with large vocabularies and fast spatial matching", CVPR 2007; Chum et al., "Locally
        Optimized RANSAC", DAGM 2003.
    """

    tolerance: Positive = 2.0
    scale_change: Annotated[float, Ge(1)] = 3.0
    hypothesis_change: Annotated[float, Ge(1)] | None = None
    refined: Count = 5
    rounds: Annotated[int, Ge(0)] = 2
    least: Annotated[int, Ge(3)] = 3
    parity: bool = False

    @property
    def numbers(self) -> Float[np.ndarray, " 8"]:
        """The settings as the compiled functions take them; no limit is infinity."""
        each, total = (self.tolerance, self.tolerance) if self.parity else (self.tolerance**2, np.inf)
        hypothesis = np.inf if self.hypothesis_change is None else self.hypothesis_change
        counts = self.refined, self.rounds, self.least, self.parity
        return np.array([each, total, self.scale_change, hypothesis, *counts], dtype=np.float64)


@dataclass(frozen=True)
class Verified:
    """Agreement of two images.

    Attributes:
        inliers: number of pairs of features that agree; 0 if there are too few.
        pairs: position in the query's features, and in those of the other image.
        map: affine map of the query onto the other image, (x, y) to (m00 x + m01 y + m02, ...), in cells of the maps of
            the scales that agree best, or pixels; None without inliers.
        scales: those scales.
        sizes: (rows, columns) of the map of each image in which `map` counts.
    """

    inliers: int
    pairs: Int[np.ndarray, "i 2"]
    map: Float[np.ndarray, "2 3"] | None
    scales: tuple[int, int] = (0, 0)
    sizes: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))

    def between(self, query: tuple[int, int], other: tuple[int, int]) -> Float[np.ndarray, "2 3"] | None:
        """The map between two pictures of those sizes, (width, height), in their pixels.

        Example:
            >>> map, sizes = np.array([[1.0, 0, 1], [0, 1, 0]]), ((2, 4), (2, 4))
            >>> found = Verified(3, np.zeros((3, 2), dtype=int), map, (0, 0), sizes)
            >>> found.between((40, 20), (80, 20)).tolist()
            [[2.0, 0.0, 20.0], [0.0, 1.0, 0.0]]
        """
        if self.map is None:
            return None
        into = np.array(self.sizes[0])[::-1] / query
        out = np.array(other) / np.array(self.sizes[1])[::-1]
        return self.map * out[:, None] * np.array([*into, 1.0])

    @staticmethod
    def nothing() -> "Verified":
        """No agreement."""
        return Verified(0, np.zeros((0, 2), dtype=np.int64), None)


def verify(query: LocalFeatures, database: LocalFeatures, settings: SpatialMatching) -> Verified:
    """Match two images: of all pairs of their scales, the one with the most inliers, the first of equals."""
    return verify_all(query, [database], settings)[0]


def verify_all(
    query: LocalFeatures, database: Sequence[LocalFeatures], settings: SpatialMatching, threads: int = 1
) -> list[Verified]:
    """Match one query with many images, as `verify` does.

    Args:
        query: of the image searched for.
        database: features of each candidate.
        settings: see there.
        threads: that share the candidates. The result does not depend on their number.
    """
    if not database:
        return []
    numbers, first = settings.numbers, _packed(query)
    cuts = np.linspace(0, len(database), min(threads, len(database)) + 1).round().astype(int)
    parts = [database[start:end] for start, end in pairwise(cuts)]
    found = in_threads(partial(_verify_some, query, first, numbers), parts, threads)
    return [one for part in found for one in part]


def tentatives(query: LocalFeatures, database: LocalFeatures) -> Int[np.ndarray, "t 2"]:
    """All pairs of features of one channel, by position in each, whatever their scales.

    Example:
        >>> one, other = (LocalFeatures.none(np.ones((1, 2), dtype=int)) for _ in range(2))
        >>> tentatives(one, other).shape
        (0, 2)
    """
    order = np.argsort(database.channel, kind="stable")
    first = np.searchsorted(database.channel[order], query.channel)
    counts = np.searchsorted(database.channel[order], query.channel, side="right") - first
    owner = np.repeat(np.arange(len(query)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([owner, order[np.repeat(first, counts) + within]], axis=1)


@dataclass(frozen=True)
class _Packed:
    """Features of some images by image and scale, and within these by channel, in their own order."""

    rows: Float[np.ndarray, "f 5"]  # x, y, and the frame's a, b, c: A = ((a, 0), (b, c))
    channel: Int[np.ndarray, " f"]
    rank: Int[np.ndarray, " f"]  # in the order of the image
    ends: Int[np.ndarray, " ends"]  # of each image's scales


def _packed(*images: LocalFeatures) -> _Packed:
    order = [np.lexsort((one.channel, one.scale)) for one in images]
    mean, covariance = (
        np.concatenate([getattr(one, name)[at] for one, at in zip(images, order, strict=True)]).astype(np.float64)
        for name in ("mean", "covariance")
    )
    counts = [np.bincount(one.scale, minlength=len(one.sizes)) for one in images]
    return _Packed(
        np.concatenate([mean, frames(covariance)], axis=1),
        np.concatenate([one.channel[at] for one, at in zip(images, order, strict=True)]),
        np.concatenate(order),
        np.concatenate([[0], np.concatenate(counts).cumsum()]),
    )


def frames(covariance: Float[np.ndarray, "f 2 2"]) -> Float[np.ndarray, "f 3"]:
    """Entries a, b, c of the lower triangular A with a covariance's :math:`A A^T`: the unit circle becomes the ellipse.

    Example:
        >>> frames(np.array([[[4.0, 2.0], [2.0, 10.0]]])).tolist()
        [[2.0, 1.0, 3.0]]
    """
    a = np.sqrt(covariance[:, 0, 0])
    b = covariance[:, 0, 1] / a
    return np.stack([a, b, np.sqrt(covariance[:, 1, 1] - b * b)], axis=1)


def _size(features: LocalFeatures, scale: int) -> tuple[int, int]:
    rows, columns = features.sizes[scale].tolist()
    return rows, columns


def _verify_some(
    query: LocalFeatures, first: _Packed, numbers: Float[np.ndarray, " 8"], database: Sequence[LocalFeatures]
) -> list[Verified]:
    second = _packed(*database)
    scales = np.array([len(one.sizes) for one in database])
    starts = np.concatenate([[0], scales.cumsum()])
    one, other = ((packed.rows, packed.channel, packed.rank, packed.ends) for packed in (first, second))
    best, maps, pairs = _match_all(one, other, starts, numbers)
    found, end = [], 0
    for image, (count, at, to) in enumerate(best.tolist()):
        start, end = end, end + count
        sizes = _size(query, at), _size(database[image], to)
        one_map = maps[image].reshape(2, 3)
        found.append(Verified(count, pairs[start:end], one_map, (at, to), sizes) if count else Verified.nothing())
    return found


# The compiled part. Features of an image are (rows, channel, rank, ends) as `_Packed` has them. Tentatives, all pairs
# of one channel, are (owner, ends, target, points, models, ratios):
#   owner   the query feature of each group, a group being all pairs of one query feature
#   ends    where each group begins, and the number of pairs
#   target  the other feature of each pair
#   points  x1, y1, x2, y2 of each pair
#   models  its hypothesis, (x, y) to (m0 x + m1 y + m2, m3 x + m4 y + m5)
#   ratios  the ratio of its areas
# `no_type_check` keeps the shape hook of the tests away from functions that numba must see as they are written.


@compiled(False)
@no_type_check
def _match_all(query: Known, images: Known, starts: Array, numbers: Array) -> Known:
    """Match all scales of the query with those of each image, whose first scales are at `starts`.

    Returns:
        Inliers and scales, maps, and the pairs of features, one image after the other.
    """
    query_rows, query_channel, query_rank, query_ends = query
    rows, channel, rank, ends = images
    best = np.zeros((len(starts) - 1, 3), np.int64)
    maps = np.zeros((len(best), 6))
    pairs = np.zeros((len(best) * len(query_rows), 2), np.int64)
    total = 0
    for image in range(len(best)):
        for first in range(len(query_ends) - 1):
            q0, q1 = query_ends[first], query_ends[first + 1]
            for second in range(starts[image], starts[image + 1]):
                d0, d1 = ends[second], ends[second + 1]
                if min(q1 - q0, d1 - d0) <= best[image, 0]:
                    continue  # they cannot have more: features match one to one
                known = _tentatives(query_rows[q0:q1], query_channel[q0:q1], rows[d0:d1], channel[d0:d1])
                model, chosen, count = _match(known, d1 - d0, numbers)
                if count > best[image, 0]:
                    best[image] = count, first, second - starts[image]
                    maps[image] = model
                    at = total
                    for group in range(len(chosen)):
                        if chosen[group] >= 0:
                            pairs[at, 0] = query_rank[q0 + known[0][group]]
                            pairs[at, 1] = rank[d0 + known[2][chosen[group]]]
                            at += 1
        total += best[image, 0]
    return best, maps, pairs[:total]


@compiled(False)
@no_type_check
def _tentatives(query_rows: Array, query_channel: Array, rows: Array, channel: Array) -> Known:
    """List all pairs of features of one channel; both images' features are sorted by channel."""
    first = np.searchsorted(channel, query_channel)
    last = np.searchsorted(channel, query_channel, side="right")
    owner = np.flatnonzero(last > first)
    ends = np.zeros(len(owner) + 1, np.int64)
    ends[1:] = np.cumsum((last - first)[owner])
    target = np.empty(ends[-1], np.int64)
    points, models, ratios = np.empty((ends[-1], 4)), np.empty((ends[-1], 6)), np.empty(ends[-1])
    at = 0
    for one in owner:
        x1, y1, a1, b1, c1 = query_rows[one]
        for other in range(first[one], last[one]):
            x2, y2, a2, b2, c2 = rows[other]
            # L = A2 A1^-1, t = x2 - L x1
            across, slant, down = a2 / a1, b2 / a1 - c2 * b1 / (a1 * c1), c2 / c1
            target[at] = other
            points[at] = x1, y1, x2, y2
            models[at] = across, 0.0, x2 - across * x1, slant, down, y2 - slant * x1 - down * y1
            ratios[at] = across * down
            at += 1
    return owner, ends, target, points, models, ratios


@compiled(False)
@no_type_check
def _match(known: Known, size: int, numbers: Array) -> tuple[Any, ...]:
    """Match one scale of two images, the other one having `size` features.

    Returns:
        The map; the pair of each group that is an inlier, or -1; and the number of inliers.
    """
    taken = np.zeros(size + 1, np.int64)  # by which check each feature was taken; the number of checks comes last
    chosen = np.full(len(known[0]), -1)
    limits = numbers[:3].copy()
    scores, tops = _best_hypotheses(known, limits, numbers, taken, chosen)
    best, model = 0.0, np.zeros(6)
    for place in range(len(tops)):
        if tops[place] >= 0:
            score, refined = _optimise(known, tops[place], scores[place], limits, numbers, taken, chosen)
            if score > best:
                best, model = score, refined
    return model, chosen, int(_inliers(known, model, limits, 0.0, taken, chosen))


@compiled(False)
@no_type_check
def _best_hypotheses(known: Known, limits: Array, numbers: Array, taken: Array, chosen: Array) -> tuple[Any, ...]:
    """Check every hypothesis: the scores and positions of the best ones, the first of equals first; -1: no more."""
    models, ratios = known[4], known[5]
    bound, least = numbers[3], numbers[6]
    scores, tops = np.zeros(int(numbers[4])), np.full(int(numbers[4]), -1)
    for at in range(len(models)):
        if ratios[at] > bound or ratios[at] * bound < 1:
            continue
        score = _inliers(known, models[at], limits, max(least, np.floor(scores[-1])), taken, chosen)
        place = len(tops)
        while place > 0 and score > scores[place - 1]:
            place -= 1
            if place + 1 < len(tops):
                scores[place + 1], tops[place + 1] = scores[place], tops[place]
        if place < len(tops):
            scores[place], tops[place] = score, at
    return scores, tops


@compiled(False)
@no_type_check
def _optimise(
    known: Known, hypothesis: int, score: float, limits: Array, numbers: Array, taken: Array, chosen: Array
) -> tuple[Any, ...]:
    """Refine one hypothesis: the best score, and its map."""
    parity, models = numbers[7] > 0, known[4]
    best = models[hypothesis].copy()
    wide = limits.copy()
    wide[:2] *= WIDER
    _inliers(known, best, wide, 0.0, taken, chosen)
    for _ in range(int(numbers[5])):
        fitted, fit = _refit(known, chosen, parity)
        if not fit:
            break
        if parity:
            for entry in (0, 1, 3, 4):
                models[hypothesis, entry] = fitted[entry]
        again = _inliers(known, fitted, limits, 0.0, taken, chosen)
        if again < score:
            break
        score, best = again, fitted
    return score, best


@compiled(False)
@no_type_check
def _inliers(known: Known, model: Array, limits: Array, floor: float, taken: Array, chosen: Array) -> float:
    """Find the inliers of a map, one to one, each query feature in turn with the nearest free feature.

    Args:
        known: tentatives.
        model: the map.
        limits: of the squared error either way, of their sum, and of the change of scale.
        floor: the score is 0 if there are fewer inliers.
        taken: scratch.
        chosen: filled with the inlier of each group, -1 where there is none; as long as the floor can be reached.

    Returns:
        The number of inliers, plus 1 / (2 + the sum of all errors).
    """
    owner, ends, target, points, models, ratios = known
    a, b, c, d, e, f = model
    each = limits[0]
    area = a * e - b * d
    chosen[:] = -1
    if area <= 0:
        return 0.0
    taken[-1] += 1
    count, errors = 0, 0.0
    for group in range(len(owner)):
        nearest, pick = np.inf, -1
        for at in range(ends[group], ends[group + 1]):
            x = points[at, 2] - (a * points[at, 0] + b * points[at, 1] + c)
            y = points[at, 3] - (d * points[at, 0] + e * points[at, 1] + f)
            if x * x + y * y <= each and taken[target[at]] != taken[-1]:  # most pairs fail here
                error = _error_of(x, y, model, area, limits)
                if error < nearest and _fits(ratios[at], models[at, 1], models[at, 4], model, area, limits):
                    nearest, pick = error, at
        if pick >= 0:
            chosen[group], taken[target[pick]] = pick, taken[-1]
            count += 1
            errors += nearest
        if count + len(owner) - 1 - group < floor:
            return 0.0
    return count + 1 / (2 + errors) if count else 0.0


@compiled(False)
@no_type_check
def _error_of(x: float, y: float, model: Array, area: float, limits: Array) -> float:
    """The squared errors either way, together, of a pair with (x, y) = x2 - M x1; infinity beyond the limits."""
    back_x = (model[4] * x - model[1] * y) / area  # x1 - M^-1 x2 = -M^-1 (x2 - M x1)
    back_y = (model[0] * y - model[3] * x) / area
    back = back_x * back_x + back_y * back_y
    error = x * x + y * y + back
    return error if back <= limits[0] and error < limits[1] else np.inf


@compiled(False)
@no_type_check
def _fits(ratio: float, x: float, y: float, model: Array, area: float, limits: Array) -> bool:
    """Whether a pair's ratio of areas and its y axis (x, y) are those of a map, up to a factor and 45 degrees."""
    along = x * model[1] + y * model[4]
    turned = along < 0 or 2 * along * along < (x * x + y * y) * (model[1] ** 2 + model[4] ** 2)
    return not turned and ratio <= limits[2] * area and ratio * limits[2] >= area


@compiled(False)
@no_type_check
def _refit(known: Known, chosen: Array, parity: bool) -> tuple[Any, ...]:
    """Fit an affine map to the inliers by least squares; False if they are fewer than 3, or lie on a line."""
    points, models = known[3], known[4]
    picked = chosen[chosen >= 0]
    fitted, count = np.zeros(6), len(picked)
    if count < 3:
        return fitted, False
    middle = np.zeros(4)
    for at in picked:
        middle += points[at] / count
    bonus = BONUS if parity and count >= MANY else 0.0
    left, right = np.zeros((2, 2)), np.zeros((2, 2))
    for at in picked:
        x1, y1, x2, y2 = points[at] - middle
        left += (1 + bonus) * np.array([[x1 * x1, x1 * y1], [x1 * y1, y1 * y1]])
        right += (1 + bonus) * np.array([[x2 * x1, x2 * y1], [y2 * x1, y2 * y1]])
        pull = PULL * bonus
        left += pull * np.eye(2)
        right += pull * np.array([[models[at, 0], models[at, 1]], [models[at, 3], models[at, 4]]])
    area = left[0, 0] * left[1, 1] - left[0, 1] ** 2
    if area <= FLAT * (left[0, 0] + left[1, 1]) ** 2:
        return fitted, False
    for row in range(2):
        u, v = right[row]
        fitted[3 * row] = (u * left[1, 1] - v * left[0, 1]) / area
        fitted[3 * row + 1] = (v * left[0, 0] - u * left[0, 1]) / area
        fitted[3 * row + 2] = middle[2 + row] - fitted[3 * row] * middle[0] - fitted[3 * row + 1] * middle[1]
    return fitted, True
