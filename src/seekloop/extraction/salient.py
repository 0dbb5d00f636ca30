"""Detectors of salient regions: FS.EGM, by an image alone, and OS.EGM, by what recurs in its collection."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from jaxtyping import Float
from torch import Generator, Tensor

from seekloop.contracts.declared import Positive, component
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.descriptors.saliency import Normalisation, ObjectSaliency, feature_saliency
from seekloop.regions.egm import Egm
from seekloop.regions.segments import Segments
from seekloop.store.discovery import kept_graph


@component
class FeatureSalient(Egm):
    """FS.EGM: regions of an image's feature saliency, by the expanding Gaussian mixture, whose settings it has.

    Meant for maps of convolutional networks after a ReLU: values below 0 count as 0.

    Args:
        normalisation: of the saliency: crow, as printed; area, maximum or none, see `descriptors.saliency.normalised`.
        eps: of the channels' weights.

    Reference:
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, section 5.3.
    """

    normalisation: Normalisation = "crow"
    eps: Positive = 1e-6

    def saliency(self, tokens: Float[Tensor, "h w d"]) -> Float[Tensor, "h w"]:
        """Feature saliency of a map."""
        return feature_saliency(tokens, self.normalisation, self.eps)

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """The regions, by descending weight of their components; none where nothing is active."""
        saliency = self.saliency(tokens)
        return replace(self.regions_of(saliency), saliency=saliency)


@dataclass(frozen=True)
class ObjectSalient:
    """OS.EGM: regions of an image's object saliency, by a graph of the regions of a collection.

    The image may be one that the collection lacks: nothing of the graph is computed again for it.

    Args:
        feature: gives feature saliency.
        objects: gives object saliency.
        mixture: finds regions in it.
        folder: of the graph (`store.discovery`), read when it is needed.
        image: position in the collection of the image that is looked at; None: a new one.

    Reference:
        Siméoni, 2020, sections 5.3.4 and 5.3.8.
    """

    feature: FeatureSalient
    objects: ObjectSaliency
    mixture: Egm
    folder: Path = field(metadata=NOT_IN_RECIPE)  # the graph's recipe is an input of the regions'
    image: int | None = field(default=None, metadata=NOT_IN_RECIPE)

    def of_image(self, image: int) -> "ObjectSalient":
        """The same for one image of the collection."""
        return replace(self, image=image)

    def saliency(self, tokens: Float[Tensor, "h w d"]) -> Float[Tensor, "h w"]:
        """Object saliency of a map.

        Raises:
            StoreError: if the graph is missing or damaged.
        """
        return self.objects(tokens, self.feature.saliency(tokens), kept_graph(self.folder), self.image)

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """The regions, by descending weight of their components; none where nothing is like any region of the graph."""
        saliency = self.saliency(tokens)
        return replace(self.mixture.regions_of(saliency), saliency=saliency)
