"""Local features of one image: ellipses on the channels of its maps, and the pixels of which they are made."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Role = Literal["query", "database"]
"""Part that an image plays: features of database images suppress each other, those of queries do not."""


@dataclass(frozen=True)
class ChannelRegions:
    """Regions of the channels of one map, as lists of cells; region i has the cells `ends[i]:ends[i + 1]`.

    Attributes:
        channel: that each region lies in; ascending.
        ends: where the cells of each region begin, and the number of all cells.
        rows: row of each cell.
        columns: column of each cell.
    """

    channel: Int[np.ndarray, " m"]
    ends: Int[np.ndarray, " ends"]
    rows: Int[np.ndarray, " p"]
    columns: Int[np.ndarray, " p"]


@dataclass(frozen=True)
class LocalFeatures:
    r"""Local features of one image: ellipses :math:`(\mu, \Sigma)` on the channels of its maps, the channels as words.

    Positions are counted in cells of the map of a feature's own scale, from the left and top edge: the middle of the
    first cell is (0.5, 0.5).

    Attributes:
        mean: centre (x, y) of each ellipse.
        covariance: covariance of the cells of its region; positive definite.
        channel: of the map.
        strength: activation pooled over the region.
        scale: position of the scale at which it was found.
        sizes: (rows, columns) of the map of each scale.
    """

    mean: Float[np.ndarray, "f 2"]
    covariance: Float[np.ndarray, "f 2 2"]
    channel: Int[np.ndarray, " f"]
    strength: Float[np.ndarray, " f"]
    scale: Int[np.ndarray, " f"]
    sizes: Int[np.ndarray, "s 2"]

    def __len__(self) -> int:
        return len(self.channel)

    def only(self, which: np.ndarray) -> "LocalFeatures":
        """The features at some positions, or where a mask is True, in their order."""
        kept = self.mean[which], self.covariance[which], self.channel[which], self.strength[which], self.scale[which]
        return LocalFeatures(*kept, self.sizes)

    def of_scale(self, scale: int) -> "LocalFeatures":
        """The features of one scale."""
        return self.only(self.scale == scale)

    def inside(self, box: Float[np.ndarray, " 4"]) -> "LocalFeatures":
        """The features whose centre lies in a box (x0, y0, x1, y1) in fractions of the image, edges included."""
        centre = self.mean / self.sizes[self.scale][:, ::-1]
        return self.only(((centre >= box[:2]) & (centre <= box[2:])).all(axis=1))

    def on_picture(self, width: int, height: int) -> tuple[Float[np.ndarray, "f 2"], Float[np.ndarray, "f 2 2"]]:
        """Centres and covariances in pixels of a picture of that size, whatever their scales."""
        cell = np.array([width, height]) / self.sizes[self.scale][:, ::-1]
        return self.mean * cell, self.covariance * cell[:, :, None] * cell[:, None, :]

    @staticmethod
    def none(sizes: Int[np.ndarray, "s 2"]) -> "LocalFeatures":
        """No features, on maps of those sizes."""
        none = np.zeros(0, dtype=np.int64)
        zeros = np.zeros((0, 2, 2), dtype=np.float32)
        return LocalFeatures(zeros[:, 0], zeros, none, zeros[:, 0, 0], none, sizes)
