"""The vectors that a representation classifies, one per region: what an index is made of."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.recipe import Recipe, settings
from seekloop.descriptors.whitening import Whitened
from seekloop.representations.representation import Representation
from seekloop.store.joined import Joined
from seekloop.store.reader import Store


def recipe_of(descriptors: Descriptors, otherwise: Recipe) -> Recipe:
    """Recipe of a store's descriptors, whitened or not, joined or not; of others the given one.

    Joined ones have the recipe of the first, but for the collection: a search goes on where an example from outside is
    added to it.
    """
    if isinstance(descriptors, Joined):
        first, second = (recipe_of(one, otherwise) for one in (descriptors.first, descriptors.second))
        return replace(first, settings={**first.settings, "collection": [first.key, second.key]})
    if isinstance(descriptors, Whitened):
        known = {"whitening": settings(descriptors.whitening)}
        return Recipe("whitened", known, (recipe_of(descriptors.descriptors, otherwise),))
    return descriptors.recipe if isinstance(descriptors, Store) else otherwise


class ClassifiedVectors:
    """One vector per region, as the classifier sees it: g, l, [g, l] or (g + l)/2; prototypes too where they compete.

    An image's score is the largest score of its vectors. Unreadable images have none.

    Args:
        descriptors: of the collection.
        representation: which vectors.
        recipe: what determines the descriptors.
    """

    def __init__(self, descriptors: Descriptors, representation: Representation, recipe: Recipe) -> None:
        self.descriptors = descriptors
        self.representation = representation
        self.images = descriptors.images
        self.dim = width(representation, descriptors.dim)
        self.rows = int(_per_image(descriptors, representation)[descriptors.readable].sum())
        self.recipe = Recipe("vectors", vectors_settings(representation), (recipe,))

    def read(self, images: Int[Tensor, " b"]) -> tuple[Float[Tensor, "r e"], Int[Tensor, " r"]]:
        """The vectors of these images, and for each the image it belongs to."""
        images = images[self.descriptors.readable[images]]
        block = self.descriptors.read(images, local=self.representation.local.uses_regions)
        if block.local is None:
            return block.global_.float(), images
        fuse = self.representation.fusion.fuse
        vectors, owner = [fuse(block.global_[block.owner], block.local)], [block.owner]
        if self.representation.local.scores_prototype:
            vectors.append(fuse(block.global_, self.representation.prototypes(block)))
            owner.append(torch.arange(len(images)))
        return torch.cat(vectors).float(), images[torch.cat(owner)]


def vectors_settings(representation: Representation) -> dict[str, Any]:
    """Settings that determine the vectors: strategies that score the same regions share an index."""
    local, fusion = representation.local, representation.fusion
    rows_only = (
        {one.name for one in fields(fusion) if one.metadata.get("vectors") is False} if is_dataclass(fusion) else ()
    )
    return {
        "regions": local.uses_regions,
        "prototype": local.scores_prototype,
        "renorm": local.renorm if local.scores_prototype else None,
        "fusion": {key: value for key, value in settings(fusion).items() if key not in rows_only},
    }


def width(representation: Representation, dim: int) -> int:
    """Dimensions of the classified vectors, from those of the descriptors."""
    if not representation.local.uses_regions:
        return dim
    one = torch.ones(1, dim)
    return representation.fusion.fuse(one, one).shape[1]


def _per_image(descriptors: Descriptors, representation: Representation) -> Int[Tensor, " n"]:
    """How many vectors each image has."""
    if not representation.local.uses_regions:
        return torch.ones(descriptors.images, dtype=torch.long)
    regions = descriptors.regions
    counts = (
        torch.full((descriptors.images,), len(regions.boxes)) if regions.offsets is None else regions.offsets.diff()
    )
    return counts + int(representation.local.scores_prototype)
