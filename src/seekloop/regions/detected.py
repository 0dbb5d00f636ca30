"""Regions that a detector finds in the maps of a network. `extraction/detect.py` looks for them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge

from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import Grid, parse_grid
from seekloop.contracts.protocols import Backbone
from seekloop.regions.segments import Detector

Feature = Literal["tokens", "keys", "queries", "values"]


@component
class Detected:
    """Class-agnostic regions: those that a detector finds in a network's map of each image.

    An image in which nothing is found has itself as its only region.

    Args:
        detector: finds regions in one map.
        backbone: whose maps; not the one that describes regions, unless both are chosen alike.
        feature: of the maps: tokens after the final norm, or keys, queries or values of a block's attention.
        layer: block that the feature is taken from, from 0, or from the last with -1, -2, ...; None: the last.
        keep: features whose maps stay on disk, so that other detectors, or other settings of this one, read them
            instead of running the network again: some 2 MB an image and feature.
        shape: own, each image keeps its proportions, and its size follows from the next three; backbone, all are
            brought to the network's `image_size`, as for descriptors: tokens found and tokens described are the same.
        shortest: tokens along the shorter side of an image.
        longest: most tokens along its longer side; the shorter one then has fewer.
        enlarge: whether small images are enlarged to that.
        cells: grid, or union of grids, whose cells are regions of every image besides; None: only what is found.
        seed: of detectors that draw.

    Raises:
        ConfigError: if `longest` is below `shortest`, or `cells` is no grid.
    """

    detector: Detector
    backbone: Backbone
    feature: Feature = "tokens"
    layer: int | None = None
    keep: Sequence[Feature] = ()
    shape: Literal["own", "backbone"] = "own"
    shortest: Count = 45
    longest: Count = 100
    enlarge: bool = True
    cells: str | None = None
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        if self.shortest > self.longest:
            why = f"it must lie between 1 and longest={self.longest}"
            raise ConfigError("shortest", self.shortest, why, "The paper's: shortest=45, longest=100.", self)
        _ = self.grids

    @property
    def grids(self) -> tuple[Grid, ...] | None:
        """The grids whose cells are regions of every image."""
        return None if self.cells is None else parse_grid(self.cells, "cells", self)
