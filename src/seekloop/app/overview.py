"""Overview of a collection: groups of images that look alike, a typical one of each."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.randomness import derived_seed, generator
from seekloop.metrics.kmeans import kmeans_labels

SAMPLE = 20_000  # images that the groups are learnt from, at most
BLOCK = 4096  # images read together


@dataclass(frozen=True)
class Group:
    """Images that look alike.

    Attributes:
        image: position of the one nearest to the mean.
        members: positions of all, nearest to the mean first.
    """

    image: int
    members: tuple[int, ...]


def groups(descriptors: Descriptors, count: int = 48, seed: int = 0) -> list[Group]:
    """Group the readable images by their global descriptors, by k-means; the largest group first.

    The means are learnt from at most 20,000 images, and each image goes to the nearest one.

    Args:
        descriptors: of the collection.
        count: most groups; there are fewer where fewer images differ.
        seed: of the sample, and of the first means.
    """
    images = descriptors.readable.nonzero()[:, 0]
    if not len(images):
        return []
    drawn = torch.randperm(len(images), generator=generator(seed, "overview", "sample"))[:SAMPLE].sort().values
    rows = _read(descriptors, images[drawn])
    (label,) = kmeans_labels(rows, count, [derived_seed(seed, "overview", "means")])
    nearest, distance = _nearest(descriptors, images, _means(rows, label))
    found = []
    for group in torch.unique(nearest).tolist():
        inside = (nearest == group).nonzero()[:, 0]
        members = images[inside[distance[inside].argsort(stable=True)]].tolist()
        found.append(Group(members[0], tuple(members)))
    return sorted(found, key=lambda group: (-len(group.members), group.image))


def _read(descriptors: Descriptors, images: Int[Tensor, " k"]) -> Float[Tensor, "k d"]:
    """Global descriptors of these images."""
    return torch.cat([descriptors.read(some, local=False).global_ for some in torch.split(images, BLOCK)])


def _means(rows: Float[Tensor, "k d"], label: Int[Tensor, " k"]) -> Float[Tensor, "c d"]:
    """Mean of the rows of every label."""
    total = rows.new_zeros(int(label.max()) + 1, rows.shape[1]).index_add_(0, label, rows)
    return total / label.bincount()[:, None]


def _nearest(
    descriptors: Descriptors, images: Int[Tensor, " k"], means: Float[Tensor, "c d"]
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"]]:
    """The nearest mean to every image, the first of equals, and the distance from it."""
    parts = [torch.cdist(_read(descriptors, some), means).min(dim=1) for some in torch.split(images, BLOCK)]
    return torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts])
