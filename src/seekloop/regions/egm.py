"""EGM: regions of a saliency map, as the components of a Gaussian mixture that starts with one at every cell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from seekloop.contracts.declared import Count, Positive, Share, component
from seekloop.regions.segments import Segments

NARROWEST = 1 / 12  # variance of one cell, taken for a uniform interval of length 1
OUT_OF_REACH = 1e-280  # density of the whole mixture below which a cell belongs to none of its components

Map = Float[np.ndarray, "h w"]


@dataclass(frozen=True)
class Mixture:
    r"""Components :math:`q_k = \pi_k \mathcal{N}(\mu_k, \Sigma_k)` on a map, in cells, the first cell's middle at 0.

    Attributes:
        weight: mixing coefficients, of sum 1.
        mean: (row, column).
        variance: diagonal of the covariance, along rows and along columns.
    """

    weight: Float[np.ndarray, " m"]
    mean: Float[np.ndarray, "m 2"]
    variance: Float[np.ndarray, "m 2"]

    def __len__(self) -> int:
        return len(self.weight)

    def of(self, kept: Bool[np.ndarray, " m"]) -> "Mixture":
        """Some of its components, whose weights then sum to 1."""
        weight = self.weight[kept]
        return Mixture(weight / max(weight.sum(), np.finfo(float).tiny), self.mean[kept], self.variance[kept])

    def masks(self, rows: int, columns: int) -> Bool[np.ndarray, "m {rows} {columns}"]:
        r"""The rectangle of each component: cells whose middle is at most :math:`\sqrt 3 \sigma` away along each axis.

        That is the rectangle whose cells have this variance. The cell of the mean belongs to it in any case.
        """
        inside = []
        for axis, cells in ((0, rows), (1, columns)):
            middle, half = self.mean[:, axis, None], np.sqrt(3 * self.variance[:, axis, None])
            nearest = np.clip(np.rint(middle), 0, cells - 1)
            inside.append((np.abs(np.arange(cells) - middle) <= half) | (np.arange(cells) == nearest))
        return inside[0][:, :, None] & inside[1][:, None, :]


@component
class Egm:
    r"""Expanding Gaussian mixture: from a small region at every salient cell to few regions.

    The map S, its values below the threshold set to 0 and then raised to a power, stands for samples
    :math:`s_i = S_{p_i} \mathcal{N}(p_i, \sigma^2 I)`, which are the first components, too. Each iteration has three
    steps:

    - E: :math:`\gamma_{ik} = \langle s_i, q_k \rangle / \sum_j \langle s_i, q_j \rangle`;
    - M: with :math:`l_k = \sum_i w_i \gamma_{ik}` of l samples, :math:`\pi_k = l_k / l`,
      :math:`\mu_k = \frac{1}{l_k} \sum_i w_i \gamma_{ik} p_i` and
      :math:`\Sigma_k = \frac{1}{l_k} \sum_i w_i \gamma_{ik}\, \mathrm{diag}(p_i - \mu_k)^2`;
    - P: by descending :math:`\pi`, a component stays if
      :math:`\langle q_k, q_k \rangle / (\langle q_k, q_k \rangle + \sum_j \langle q_k, q_j \rangle)`, over those that
      stay before it, is at least `overlap`.

    It ends when no component was purged and no mean moves, or after so many iterations.

    Args:
        threshold: values of the map below it become 0.
        power: of the remaining values; larger ones raise the contrast.
        sigma: scale of the samples, in cells: larger ones give fewer and larger regions.
        update: weighted, samples count by their saliency, :math:`w_i = l S_{p_i} / \sum S`; printed, all alike, as
            equations 5.6 to 5.8 stand, where saliency cancels and is lost after the first step.
        overlap: least share of a component that is its own.
        least: regions are components of at least this weight, and the heaviest one.
        iterations: most of them.
        tolerance: cells by which a mean may still move at the end.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, section 5.3.4,
        after Avrithis & Kalantidis, "Approximate Gaussian mixtures for large scale vocabularies", ECCV 2012. It leaves
        `overlap`, the end, and the size of a component's rectangle open.
    """

    threshold: Annotated[float, Ge(0)] = 0.01
    power: Positive = 7.0
    sigma: Positive = 2.5
    update: Literal["weighted", "printed"] = "weighted"
    overlap: Share = 0.5
    least: Share = 0.0
    iterations: Count = 20
    tolerance: Positive = 1e-3

    def regions_of(self, saliency: Float[Tensor, "h w"]) -> Segments:
        """Regions of a map, the heaviest component's first; none where no value reaches the threshold.

        Components whose rectangles have the same cells are one region.

        Their score is the mean of the map, as it is given, inside each (eq. 5.9).

        Raises:
            ValueError: if a value is negative or not finite.
        """
        values = saliency.double().numpy()
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("a saliency map has values that are negative or not finite")
        masks = np.zeros((0, *values.shape), dtype=bool)
        if steps := list(self.evolution(values)):
            weight = steps[-1].weight
            order = np.argsort(-weight, kind="stable")
            masks = steps[-1].masks(*values.shape)[order[weight[order] >= min(self.least, weight.max())]]
            masks = masks[np.sort(np.unique(masks.reshape(len(masks), -1), axis=0, return_index=True)[1])]
        means = (masks * values).sum(axis=(1, 2)) / np.maximum(masks.sum(axis=(1, 2)), 1)
        found = torch.from_numpy(masks)
        return Segments(found, torch.zeros(len(found), dtype=torch.long), torch.from_numpy(means).float(), None)

    def evolution(self, saliency: Map) -> Iterator[Mixture]:
        """The mixture at the start and after each iteration; nothing for a map without any value above the threshold.

        Args:
            saliency: the map, not yet cut and raised.
        """
        raised = np.where(saliency < self.threshold, 0, saliency) ** self.power
        samples = np.argwhere(raised > 0)
        if not len(samples):
            return
        salient = raised[raised > 0]
        weights = np.zeros_like(raised)
        weights[raised > 0] = len(salient) * salient / salient.sum() if self.update == "weighted" else 1.0
        mixture = Mixture(salient / salient.sum(), samples.astype(float), np.full(samples.shape, self.sigma**2))
        yield mixture
        for _ in range(self.iterations):
            moved = maximised(mixture, weights, self.sigma)
            kept = purged(moved, self.overlap)
            same = kept.all() and len(moved) == len(mixture)
            settled = same and np.abs(moved.mean - mixture.mean).max() < self.tolerance
            mixture = moved.of(kept)
            yield mixture
            if settled:
                return


def maximised(mixture: Mixture, weights: Map, sigma: float) -> Mixture:
    r"""One E-step and one M-step.

    Covariances are diagonal, so :math:`\langle s_i, q_k \rangle` is a product of one factor along rows and one along
    columns, and all sums over samples are products of matrices, (m, h) and (m, w).

    Args:
        mixture: :math:`q_k`.
        weights: :math:`w_i` at the cells of the samples, 0 at all others.
        sigma: of the samples.
    """
    rows, columns = np.arange(weights.shape[0]), np.arange(weights.shape[1])
    down = densities(rows, mixture.mean[:, :1], mixture.variance[:, :1] + sigma**2) * mixture.weight[:, None]
    across = densities(columns, mixture.mean[:, 1:], mixture.variance[:, 1:] + sigma**2)
    shared = down.T @ across  # sum over j of <s_i, q_j>, without S_pi, which cancels
    share = np.divide(weights, shared, out=np.zeros_like(shared), where=shared > OUT_OF_REACH)
    by_row, by_column = down * (across @ share.T), across * (down @ share)  # w_i gamma_ik, summed over columns or rows
    count = by_row.sum(axis=1)  # l_k
    reached = count > 0
    count, by_row, by_column = count[reached, None], by_row[reached], by_column[reached]
    mean = np.concatenate([by_row @ rows[:, None], by_column @ columns[:, None]], axis=1) / count
    spread = [
        (by_axis * (cells - mean[:, axis, None]) ** 2).sum(axis=1)
        for axis, (by_axis, cells) in enumerate([(by_row, rows), (by_column, columns)])
    ]
    variance = np.maximum(np.stack(spread, axis=1) / count, NARROWEST)
    return Mixture(count[:, 0] / count.sum(), mean, variance)


def densities(
    cells: Float[np.ndarray, " c"] | np.ndarray, mean: Float[np.ndarray, "m 1"], variance: Float[np.ndarray, "m 1"]
) -> Float[np.ndarray, "m c"]:
    """Normal densities of each component at each cell along one axis."""
    return np.exp(-0.5 * (cells - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)


def purged(mixture: Mixture, overlap: float) -> Bool[np.ndarray, " m"]:
    r"""Which components stay: the P-step, by descending weight, the first of equals before the others.

    Inner products are :math:`\langle q_k, q_j \rangle = \pi_k \pi_j \mathcal{N}(\mu_k; \mu_j, \Sigma_k + \Sigma_j)`.

    Example:
        >>> twice = Mixture(np.array([0.4, 0.6]), np.zeros((2, 2)), np.ones((2, 2)))
        >>> purged(twice, 0.5)  # .4 / (.4 + .6) is less than a half
        array([False,  True])
    """
    weight, mean, variance = mixture.weight, mixture.mean, mixture.variance
    own = weight / (2 * np.pi * np.sqrt((2 * variance).prod(axis=1)))  # <q_k, q_k> / pi_k
    others = np.zeros_like(own)
    kept = np.zeros(len(own), dtype=bool)
    for k in np.argsort(-weight, kind="stable"):
        if own[k] < overlap * (own[k] + others[k]):
            continue
        kept[k] = True
        joint = variance + variance[k]
        away = ((mean - mean[k]) ** 2 / joint).sum(axis=1)
        others += weight[k] * np.exp(-0.5 * away) / (2 * np.pi * np.sqrt(joint.prod(axis=1)))
    return kept
