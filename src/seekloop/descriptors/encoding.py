"""Encodings of local descriptors: from the tokens of the whole image, or from crops that are described one by one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.records import Batch, Regions
from seekloop.descriptors.multiscale import Network, pooled
from seekloop.descriptors.pool import box_means, region_means
from seekloop.descriptors.pooling import Pooling


@dataclass(frozen=True)
class Described:
    """Descriptors of some images, not normalised.

    Attributes:
        image: position in the collection.
        readable: False where the rows are only placeholders.
        global_: global descriptors.
        local: local descriptors, one image after the other.
    """

    image: Int[Tensor, " b"]
    readable: Bool[Tensor, " b"]
    global_: Float[Tensor, "b d"]
    local: Float[Tensor, "r d"]


@runtime_checkable
class Encoding(Protocol):
    """Way to local descriptors (`conf/encoding/`).

    Attributes:
        name: in the store's key.
        poolable: whether local descriptors are means of tokens, so that cells can be averaged to coarser ones.
    """

    name: str
    poolable: bool

    def crops(self, regions: Regions, image: int) -> Float[Tensor, "v 4"]:
        """Parts of the image that the network has to see on their own, besides the whole image."""
        ...

    def images_per_batch(self, regions: Regions, images: int, rows: int) -> int:
        """Number of images in a batch of about so many rows through the network."""
        ...

    def describe(self, network: Network, pooling: Pooling, batch: Batch, regions: Regions, rows: int) -> Described:
        """Descriptors of a batch: images, each followed by its crops; at most `rows` at once through the network."""
        ...


class OnePass(ABC):
    """Local descriptors from the same map of tokens as the global one, whatever the number of regions."""

    def crops(self, regions: Regions, image: int) -> Float[Tensor, "v 4"]:
        """None."""
        return torch.empty(0, 4, dtype=torch.float32)

    def images_per_batch(self, regions: Regions, images: int, rows: int) -> int:
        """One image for each row."""
        return rows

    def describe(self, network: Network, pooling: Pooling, batch: Batch, regions: Regions, rows: int) -> Described:
        """Global and local descriptors from the same tokens."""
        tokens = network(batch.pixels)
        local = self.local(tokens.patches, batch.image, regions)
        return Described(batch.image, batch.readable, pooled(network, pooling, batch.pixels, tokens), local)

    @abstractmethod
    def local(
        self, patches: Float[Tensor, "b h w d"], images: Int[Tensor, " b"], regions: Regions
    ) -> Float[Tensor, "r d"]:
        """Local descriptors of these images, one image after the other."""


class FromTokens(OnePass):
    """Average the patch tokens inside each region."""

    name = "tokens"
    poolable = True

    def local(
        self, patches: Float[Tensor, "b h w d"], images: Int[Tensor, " b"], regions: Regions
    ) -> Float[Tensor, "r d"]:
        """Means of tokens, by area."""
        if regions.offsets is None:
            return region_means(patches, regions.boxes).flatten(0, 1)
        pairs = zip(patches, images.tolist(), strict=True)
        return torch.cat([box_means(tokens, regions.of(image)) for tokens, image in pairs])


class FromCrops:
    """Cut each region out of the original image, bring it to the network's size and take its global descriptor.

    Finer than tokens for small regions, at one forward pass per region.
    """

    name = "crops"
    poolable = False

    def crops(self, regions: Regions, image: int) -> Float[Tensor, "v 4"]:
        """All regions."""
        return regions.of(image)

    def images_per_batch(self, regions: Regions, images: int, rows: int) -> int:
        """Number of images that fit with their crops, on average; at least one."""
        crops = len(regions.boxes) if regions.offsets is None else -(-len(regions.boxes) // images)
        return max(1, rows // (1 + crops))

    def describe(self, network: Network, pooling: Pooling, batch: Batch, regions: Regions, rows: int) -> Described:
        """Pool every row; the first row of an image is the whole of it."""
        parts: Sequence[Tensor] = batch.pixels.split(rows)  # type: ignore[no-untyped-call]
        vectors = torch.cat([pooled(network, pooling, part, network(part)) for part in parts])
        first = torch.diff(batch.image, prepend=batch.image.new_tensor([-1])) != 0
        return Described(batch.image[first], batch.readable[first], vectors[first], vectors[~first])
