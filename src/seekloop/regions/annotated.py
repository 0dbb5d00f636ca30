"""The annotated boxes themselves: an upper bound, not a method."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Recipe, settings
from seekloop.contracts.records import KINDS, Regions
from seekloop.regions.parts import Parts


class AnnotatedBoxes:
    """Every annotated box of any class is a region of its image; the whole image where nothing is annotated.

    This looks at the truth: results with it are an upper bound of what a perfect detector could bring, and must be
    marked as such wherever they are shown.
    """

    def parts(self, collection: Collection, poolable: bool) -> Parts:
        """One region per box, in the order of the annotations."""
        objects = collection.annotations
        offsets, boxes = ragged_boxes(objects.image, objects.box, len(collection.paths))
        recipe = Recipe("regions", {"class": "AnnotatedBoxes", "offsets": settings(offsets), "boxes": settings(boxes)})
        bare = torch.ones(len(collection.paths), dtype=torch.bool).index_fill(0, objects.image, False)
        of_image = torch.where(bare, KINDS.index("whole"), KINDS.index("box"))
        kind = torch.repeat_interleave(of_image, offsets.diff())
        regions = Regions(boxes, offsets, torch.zeros_like(kind), kind)
        return Parts(regions, None, (), False, recipe, truth=True)


def ragged_boxes(
    image: Int[Tensor, " o"], box: Float[Tensor, "o 4"], images: int
) -> tuple[Int[Tensor, " ends"], Float[Tensor, "r 4"]]:
    """Boxes sorted by image, with the whole image for images that have none.

    Returns:
        Offsets and boxes: those of image i are `boxes[offsets[i]:offsets[i + 1]]`.

    Example:
        >>> ragged_boxes(torch.tensor([2, 2]), torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 1.0]]), 3)[0]
        tensor([0, 1, 2, 4])
    """
    empty = torch.ones(images, dtype=torch.bool).index_fill(0, image, False).nonzero()[:, 0]
    owner = torch.cat([image, empty])
    all_boxes = torch.cat([box, torch.tensor(WHOLE_IMAGE, dtype=box.dtype).expand(len(empty), 4)])
    order = owner.argsort(stable=True)
    ends = torch.bincount(owner, minlength=images).cumsum(0)
    return torch.cat([torch.zeros(1, dtype=torch.long), ends]), all_boxes[order].contiguous()
