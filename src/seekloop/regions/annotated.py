"""The annotated boxes themselves: an upper bound, not a method."""

import torch

from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Recipe, settings
from seekloop.contracts.records import KINDS
from seekloop.regions.parts import Parts, ragged


class AnnotatedBoxes:
    """Every annotated box of any class is a region of its image; the whole image where nothing is annotated.

    This looks at the truth: results with it are an upper bound of what a perfect detector could bring, and must be
    marked as such wherever they are shown.
    """

    def parts(self, collection: Collection, poolable: bool) -> Parts:
        """One region per box, in the order of the annotations."""
        objects, level = collection.annotations, torch.zeros_like(collection.annotations.image)
        regions = ragged(objects.image, objects.box, level, level + KINDS.index("box"), len(collection.paths))
        known = {"offsets": settings(regions.offsets), "boxes": settings(regions.boxes)}
        recipe = Recipe("regions", {"class": "AnnotatedBoxes", **known})
        return Parts(regions, None, (), False, recipe, truth=True)
