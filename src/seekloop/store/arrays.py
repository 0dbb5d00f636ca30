"""Descriptors that are already in memory: of a store of one's own, or of a test."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.boxes import WHOLE_IMAGE, degenerate
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.recipe import Recipe, content_hash
from seekloop.contracts.records import ArrayBlock, Block, Regions


class ArrayDescriptors:
    """Descriptors in memory, brought to unit length. Implements `Descriptors`.

    Args:
        global_: global descriptors; any length but 0.
        local: local descriptors, one image after the other: n * m rows for m fixed regions.
        regions: their boxes.
        readable: which images could be described; the others get zeros. None for all.
    """

    def __init__(
        self,
        global_: Float[Tensor, "n d"],
        local: Float[Tensor, "r d"],
        regions: Regions,
        readable: Bool[Tensor, " n"] | None = None,
    ) -> None:
        self.images, self.dim = global_.shape
        self.regions = regions
        self.readable = torch.ones(self.images, dtype=torch.bool) if readable is None else readable
        fixed = torch.arange(self.images + 1) * len(regions.boxes)
        self.offsets = fixed if regions.offsets is None else regions.offsets
        if len(local) != self.offsets[-1]:
            raise ValueError(f"{len(local)} local descriptors for {int(self.offsets[-1])} regions")
        owner = torch.repeat_interleave(torch.arange(self.images), self.offsets.diff())
        self.global_ = F.normalize(global_, dim=1) * self.readable[:, None]
        self.local = F.normalize(local, dim=1) * self.readable[owner, None]

    @property
    def recipe(self) -> Recipe:
        """Recipe of the descriptors: hashes of their values."""
        held = {"global": self.global_, "local": self.local, "boxes": self.regions.boxes, "offsets": self.offsets}
        return Recipe("descriptors", {name: content_hash(values) for name, values in held.items()})

    def read(self, images: Int[Tensor, " b"], local: bool) -> Block:
        """The descriptors of these images, in this order."""
        if not local:
            return ArrayBlock(images, self.global_[images], None, None)
        starts, ends = self.offsets[images], self.offsets[images + 1]
        rows = [torch.arange(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        flat = torch.cat([torch.zeros(0, dtype=torch.long), *rows])
        offsets = F.pad((ends - starts).cumsum(0), (1, 0))
        return ArrayBlock(images, self.global_[images], self.local[flat], offsets)


def array_descriptors(
    vectors: ArrayLike | Tensor,
    boxes: ArrayLike | Tensor | None = None,
    offsets: ArrayLike | Tensor | None = None,
    global_descriptors: ArrayLike | Tensor | None = None,
) -> ArrayDescriptors:
    """Hold arrays as descriptors.

    Args:
        vectors: without boxes, (n, d): a global descriptor per image. With boxes, (r, d): local descriptors, one image
            after the other; (n, m, d) where every image has the same m regions.
        boxes: of the regions, (x0, y0, x1, y1) in fractions of the image: (r, 4) with offsets, else the m boxes that
            every image has, (m, 4).
        offsets: (n + 1): the regions of image i are rows `offsets[i]` to `offsets[i + 1] - 1`.
        global_descriptors: (n, d); without them the mean of the image's local descriptors of unit length.

    An image whose global descriptor is zero counts as unreadable: it is never asked about and ranks last.

    Raises:
        ConfigError: if shapes do not fit together, a number is not finite, or a box has no area inside the image.
    """
    values = _numbers("vectors", vectors)
    if boxes is None:
        if offsets is not None or global_descriptors is not None or values.ndim != 2:
            why = "arrays of regions need the boxes of the regions" if values.ndim == 2 else "(n, d) is needed"
            raise _error("vectors", values, why, "Give boxes=..., or one global descriptor per image alone.")
        regions = Regions(torch.tensor([WHOLE_IMAGE]), None)
        return ArrayDescriptors(values, values, regions, values.any(dim=1))
    corners = _boxes(boxes)
    local = values.flatten(0, -2)
    ends = _offsets(offsets, len(local), len(corners), values)
    unit = F.normalize(local, dim=1)
    if global_descriptors is None:
        owner = torch.repeat_interleave(torch.arange(len(ends) - 1), ends.diff())
        global_ = torch.zeros(len(ends) - 1, local.shape[1]).index_add_(0, owner, unit) / ends.diff()[:, None]
    else:
        global_ = _numbers("global_descriptors", global_descriptors)
        if global_.shape != (len(ends) - 1, local.shape[1]):
            why = f"the regions are of {len(ends) - 1} images and have {local.shape[1]} dimensions"
            raise _error("global_descriptors", global_, why, f"Give shape ({len(ends) - 1}, {local.shape[1]}).")
    return ArrayDescriptors(global_, local, Regions(corners, None if offsets is None else ends), global_.any(dim=1))


def _numbers(name: str, given: ArrayLike | Tensor) -> Float[Tensor, "*shape"]:
    values = torch.as_tensor(np.asarray(given) if not isinstance(given, Tensor) else given).detach().float().cpu()
    if values.ndim < 2 or not values.numel():
        raise _error(name, values, "it holds no rows of numbers", "Give one row per descriptor.")
    if not (finite := values.isfinite().flatten(1).all(dim=1)).all():
        row = int((~finite).nonzero()[0])
        raise _error(name, values, f"row {row} holds numbers that are not finite", "Leave it out, or set it to zero.")
    return values


def _boxes(given: ArrayLike | Tensor) -> Float[Tensor, "m 4"]:
    corners = _numbers("boxes", given)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise _error("boxes", corners, "a box has four numbers", "Give rows of x0, y0, x1, y1.")
    outside = (corners < 0).any(dim=1) | (corners > 1).any(dim=1) | degenerate(corners)
    if outside.any():
        row = int(outside.nonzero()[0])
        why = f"row {row} is {[round(v, 4) for v in corners[row].tolist()]}, with no area inside the image"
        raise _error("boxes", corners, why, "Give fractions from 0 to 1: divide pixels by width and height.")
    return corners


def _offsets(given: ArrayLike | Tensor | None, rows: int, boxes: int, values: Tensor) -> Int[Tensor, " ends"]:
    """Where each image's rows begin, and the number of all rows."""
    if given is None:
        if rows % boxes or (values.ndim == 3 and values.shape[1] != boxes):
            why = f"{boxes} boxes for every image do not fit"
            raise _error("vectors", values, why, "Give (n, m, d) with m boxes, or offsets=... with a box per row.")
        return torch.arange(0, rows + 1, boxes)
    ends = torch.as_tensor(given).long()
    if ends.ndim != 1 or len(ends) < 2 or int(ends[0]) != 0 or int(ends[-1]) != rows or (ends.diff() < 1).any():
        why = f"it must rise from 0 to {rows}, the number of rows, with at least one region per image"
        raise _error("offsets", ends, why, "Give an image without regions the whole image, (0, 0, 1, 1).")
    if boxes != rows:
        raise ConfigError("boxes", f"{boxes} rows", f"there are {rows} vectors", "Give one box per vector.", OWNER)
    return ends


def _error(name: str, values: Tensor, why: str, fix: str) -> ConfigError:
    return ConfigError(name, f"array of shape {tuple(values.shape)}", why, fix, OWNER)


OWNER = array_descriptors
