"""Figures of a run of `seekloop detect regions=egm`: saliency, regions as they form, what is central, one patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch

from seekloop.contracts.discovery import RegionGraph
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import Annotations
from seekloop.extraction.discover import Discovery, most_central
from seekloop.regions.segments import mask_boxes
from seekloop.store.discovery import kept_edges
from seekloop.store.found import FoundRegions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seekloop.logs.discovery_pictures import Piece, SalientImage
    from seekloop.logs.drawing import Draw

LEAST = 0.1  # of the highest centrality: what is less central says little of the collection
PIECES = 40  # regions of the contact sheet
ITERATIONS = (0, 2, 3, 5, 7, 14)  # of the thesis' figure 5.3; the last one besides


@dataclass(frozen=True)
class DiscoveryFigures:
    """The figures of a discovery: saliency, regions as they form, the region graph.

    Attributes:
        stage: of the discovery, whose regions are found.
        collection: the images.
        truth: annotated boxes.
        shown: positions of the images that are drawn.
    """

    stage: Discovery
    collection: Collection
    truth: Annotations
    shown: Sequence[int]

    def figures(self) -> "dict[str, Draw]":
        """The function that draws each figure, by the figure's name."""
        drawn: dict[str, Draw] = {"saliency": self.saliency, "evolution": self.evolution}
        if self.stage.regions.saliency == "object":
            drawn |= {"central": self.central, "patch": self.patch}
        return drawn if self.shown else {}

    def saliency(self) -> "Figure":
        """Feature and object saliency of some images, with the regions found in each."""
        from seekloop.logs.discovery_pictures import saliency_maps

        return saliency_maps([self._image(image) for image in self.shown])

    def evolution(self) -> "Figure":
        """The regions of the first image as they form on its feature saliency."""
        from seekloop.logs.discovery_pictures import Step, evolution

        image = self.shown[0]
        saliency = np.asarray(self.found["feature saliency"].image(image).saliency, dtype=np.float64)
        mixtures = list(self.stage.regions.salient.evolution(saliency))
        numbers = [one for one in ITERATIONS if one < len(mixtures) - 1] + [len(mixtures) - 1] * bool(mixtures)
        size = np.array(saliency.shape[::-1])
        steps = [
            Step(one, (mixtures[one].mean[:, ::-1] + 0.5) / size, np.sqrt(mixtures[one].variance[:, ::-1]) / size)
            for one in numbers
        ]
        return evolution(self.collection.read(image), saliency, steps)

    def central(self) -> "Figure":
        """The most central regions of the collection, no two of them neighbours; none below a tenth of the first."""
        from seekloop.logs.discovery_pictures import central_regions

        weights = kept_edges(self.stage.folder_of_graph(self.collection))
        chosen, values = most_central(self.graph.centrality, weights, PIECES), self.graph.centrality
        return central_regions([self._piece(one) for one in chosen if values[one] >= LEAST * values[chosen[0]]])

    def patch(self) -> "Figure":
        """The patch of highest object saliency in the first image, with the regions it is most like."""
        from seekloop.logs.discovery_pictures import patch_neighbours

        image = self.shown[0]
        saliency, chosen = self.found["object saliency"].image(image).saliency, self.stage.regions
        tokens = self.stage.map_of(self.collection, image)
        near = chosen.objects.nearest_to(tokens, chosen.salient.saliency(tokens), self.graph, image)
        rows, columns = tokens.shape[:2]
        cell = 0 if saliency is None else int(saliency.argmax())
        half, (row, column) = chosen.objects.patch // 2, divmod(cell, columns)
        mask = torch.zeros(1, rows, columns, dtype=torch.bool)
        mask[0, max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1] = True
        pieces = [self._piece(vertex) for vertex in near.vertex[cell].tolist()]
        return patch_neighbours(self._image(image), mask_boxes(mask)[0].double().numpy(), pieces)

    @cached_property
    def found(self) -> dict[str, FoundRegions]:
        """The regions of every image, by the saliency that found them."""
        looks = {"feature saliency": self.stage.first[0]}
        if self.stage.regions.saliency == "object":
            looks["object saliency"] = self.stage
        return {name: look.found(self.collection, _quiet) for name, look in looks.items()}

    @cached_property
    def graph(self) -> RegionGraph:
        """The graph of regions."""
        return self.stage.discovered(self.collection, _quiet)

    def _image(self, image: int) -> "SalientImage":
        from seekloop.logs.discovery_pictures import SaliencyPanel, SalientImage

        found = {name: regions.image(image) for name, regions in self.found.items()}
        panels = [
            SaliencyPanel(title, np.asarray(one.saliency, dtype=np.float64), one.boxes.double().numpy())
            for title, one in found.items()
        ]
        truth = self.truth.box[self.truth.image == image].double().numpy()
        return SalientImage(self.collection.read(image), truth, panels)

    def _piece(self, vertex: int) -> "Piece":
        """A region of the graph, cut out; central if it is more so than half of all."""
        from seekloop.logs.discovery_pictures import Piece, cut_out
        from seekloop.logs.drawing import short

        image, value = int(self.graph.image[vertex]), float(self.graph.centrality[vertex])
        piece = cut_out(self.collection.read(image), self.graph.box[vertex].tolist())
        return Piece(
            piece,
            f"{short(PurePath(self.collection.paths[image]).name)}: {value:.3g}",
            value > float(self.graph.centrality.median()),
        )


def _quiet(_: str) -> None:
    """Say nothing: everything was said when it was found."""
