"""Frozen records: the only things one stage hands to another. Axes carry one letter everywhere.

q queries, n images of the collection, m regions of an image, d dimensions, r training rows, b images asked in a round
(or in a block), c classes, o annotated objects.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.cache import Cache


@dataclass(frozen=True)
class Annotations:
    """Annotated objects of a collection. Only the simulated user and the metrics see them.

    Attributes:
        classes: class names; `label` counts into them.
        image: position in the collection of each object's image.
        label: class of each object.
        box: where it is, (x0, y0, x1, y1) in [0, 1], clipped, with an area.
        crowd: the box surrounds a crowd, not one object (COCO's iscrowd).
        difficult: hard to recognise (VOC's difficult).
    """

    classes: tuple[str, ...]
    image: Int[Tensor, " o"]
    label: Int[Tensor, " o"]
    box: Float[Tensor, "o 4"]
    crowd: Bool[Tensor, " o"]
    difficult: Bool[Tensor, " o"]

    def keep(self, rows: Bool[Tensor, " o"]) -> "Annotations":
        """The annotations of these rows, same classes."""
        return replace(
            self,
            image=self.image[rows],
            label=self.label[rows],
            box=self.box[rows],
            crowd=self.crowd[rows],
            difficult=self.difficult[rows],
        )

    def fingerprint(self) -> str:
        """Hash of all of it: what a result depends on beside the images."""
        digest = hashlib.blake2b("\0".join(self.classes).encode(), digest_size=16)
        for column in (self.image, self.label, self.box, self.crowd, self.difficult):
            digest.update(column.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def relevance(self, images: int) -> Bool[Tensor, "c n"]:
        """Which of the collection's images contain which class."""
        table = torch.zeros(len(self.classes), images, dtype=torch.bool)
        table[self.label, self.image] = True
        return table

    def largest_box(self, image: int, label: int) -> Float[Tensor, " 4"] | None:
        """The box of the class that covers most of the image; the first of equals; None where there is none."""
        row = self._largest.get((image, label))
        return None if row is None else self.box[row]

    @cached_property
    def _largest(self) -> dict[tuple[int, int], int]:
        """Row of the largest object of each (image, class)."""
        descending = box_geometry.area(self.box).argsort(descending=True, stable=True).tolist()
        pairs = list(zip(self.image.tolist(), self.label.tolist(), strict=True))
        return {pairs[row]: row for row in reversed(descending)}


@dataclass(frozen=True)
class Batch:
    """Images on their way to a backbone, already resized and normalised.

    Attributes:
        pixels: images, zeros where the file could not be read.
        image: position in the collection.
        readable: False where `pixels` is only a placeholder.
    """

    pixels: Float[Tensor, "b 3 h w"]
    image: Int[Tensor, " b"]
    readable: Bool[Tensor, " b"]


@dataclass(frozen=True)
class Tokens:
    """Tokens of a batch of images: class token (None for CNNs), registers (r may be 0), patch tokens."""

    cls: Float[Tensor, "b d"] | None
    registers: Float[Tensor, "b r d"]
    patches: Float[Tensor, "b h w d"]


KINDS = ("cell", "box", "found", "whole")  # a grid's cell; an annotated box; a detector's; an image without any of them


@runtime_checkable
class MasksOfImages(Protocol):
    """The masks of a collection's regions, read when they are asked for."""

    def of(self, image: int) -> Bool[Tensor, "m h w"]:
        """Masks of one image's regions on its map of tokens: True where a token belongs to the region."""
        ...


@dataclass(frozen=True)
class Regions:
    """Which parts of each image have a local descriptor.

    Attributes:
        boxes: fixed regions: the m boxes that every image has; ragged: all images' boxes, one image after the other.
        offsets: None for fixed regions; ragged: the boxes of image i are `boxes[offsets[i]:offsets[i + 1]]`.
        level: of ragged regions: depth in a hierarchy, 1 for parts of the image, 2 for parts of those, ...; 0 where
            there is none; None where nobody has said.
        kind: of ragged regions: where each comes from, a position in `KINDS`; None where nobody has said.
        masks: of regions that are no boxes; None where they are.
    """

    boxes: Float[Tensor, "r 4"]
    offsets: Int[Tensor, " ends"] | None
    level: Int[Tensor, " r"] | None = None
    kind: Int[Tensor, " r"] | None = None
    masks: MasksOfImages | None = None

    def of(self, image: int) -> Float[Tensor, "m 4"]:
        """The boxes of one image."""
        return self.boxes if self.offsets is None else self.boxes[self.rows(image)]

    def rows(self, image: int) -> slice:
        """Which of all boxes are one image's."""
        if self.offsets is None:
            return slice(0, len(self.boxes))
        return slice(int(self.offsets[image]), int(self.offsets[image + 1]))

    def masks_of(self, image: int) -> Bool[Tensor, "m h w"] | None:
        """The masks of one image's regions; None where regions are boxes."""
        return None if self.masks is None else self.masks.of(image)


FEW_QUERIES = 8  # up to so many, reading descriptors costs more than the products made with them


class Block(ABC):
    """Descriptors of some images, all of unit length (zero where the image could not be read).

    Attributes:
        image: position in the collection of each image of the block.
        offsets: the local descriptors of the i-th image are `local[offsets[i]:offsets[i + 1]]`; None where only global
            ones were asked for.
    """

    image: Int[Tensor, " b"]
    offsets: Int[Tensor, " b+1"] | None

    @property
    @abstractmethod
    def global_(self) -> Float[Tensor, "b d"]:
        """Global descriptors."""

    @property
    @abstractmethod
    def local(self) -> Float[Tensor, "r d"] | None:
        """Local descriptors, one image after the other; None where only global ones were asked for."""

    def global_products(self, weights: Float[Tensor, "q d"]) -> Float[Tensor, "b q"]:
        """Inner products of every global descriptor with every query's weights."""
        return self.global_ @ weights.T

    def local_products(self, weights: Float[Tensor, "q d"]) -> Float[Tensor, "r q"]:
        """Inner products of every local descriptor with every query's weights.

        Raises:
            ValueError: if the block holds global descriptors only.
        """
        if self.local is None:
            raise ValueError("this block holds global descriptors only")
        return self.local @ weights.T

    @cached_property
    def owner(self) -> Int[Tensor, " r"]:
        """For each local descriptor, which image of the block it belongs to."""
        if self.offsets is None:
            raise ValueError("this block holds global descriptors only")
        return torch.repeat_interleave(torch.arange(len(self.image)), self.offsets.diff())


class ArrayBlock(Block):
    """A block whose descriptors are in memory.

    Args:
        image: position in the collection of each image.
        global_: global descriptors.
        local: local descriptors, one image after the other; None: only global ones.
        offsets: as in `Block`.
    """

    def __init__(
        self,
        image: Int[Tensor, " b"],
        global_: Float[Tensor, "b d"],
        local: Float[Tensor, "r d"] | None,
        offsets: Int[Tensor, " b+1"] | None,
    ) -> None:
        self.image, self.offsets = image, offsets
        self._global, self._local = global_, local

    @property
    def global_(self) -> Float[Tensor, "b d"]:
        """Global descriptors."""
        return self._global

    @property
    def local(self) -> Float[Tensor, "r d"] | None:
        """Local descriptors; None: only global ones."""
        return self._local


class Answer(StrEnum):
    """Answers that a user can give about an image."""

    RELEVANT = "relevant"
    IRRELEVANT = "irrelevant"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Feedback:
    """One answer.

    Attributes:
        image: position in the collection.
        answer: relevant, irrelevant or unsure.
        box: of the object in a relevant image; None where none was drawn.
        seconds: time that the answer took.
        region: the region that scored highest when the image was asked about, which stands in for a box; None where
            the image was not asked about.
    """

    image: int
    answer: Answer
    box: Float[Tensor, " 4"] | None
    seconds: float
    region: int | None = None


@dataclass(frozen=True)
class Example:
    """An image that shows the object, and the object's box; without one the whole image."""

    image: int
    box: Float[Tensor, " 4"] | None = None


@dataclass(frozen=True)
class Text:
    """Words, and their vector in the space of the global and local descriptors."""

    words: str
    vector: Float[Tensor, " d"]


@dataclass(frozen=True)
class Query:
    """One search, by examples, by a text, or by both.

    Attributes:
        class_name: searched for.
        number: among the queries of that class.
        examples: images that show it.
        negatives: images known, or presumed, not to show it.
        text: description of it; None without.
    """

    class_name: str
    number: int
    examples: tuple[Example, ...]
    negatives: tuple[int, ...] = ()
    text: Text | None = None

    @property
    def name(self) -> str:
        """Number and class, for messages that begin with "query"."""
        return f"{self.number} of class {self.class_name!r}"

    @property
    def first(self) -> Example:
        """The first example.

        Raises:
            ValueError: if the query is a text only.
        """
        if not self.examples:
            raise ValueError(f"query {self.name} has no example: it is a text")
        return self.examples[0]


@dataclass(frozen=True)
class TrainingRows:
    """Labelled descriptors of several queries: one table of vectors, and for each query which of them are its rows.

    Attributes:
        table: vectors; a vector that several queries have labelled is there once.
        index: for each query the rows of `table` that it has labelled; what it says where `mask` is False is not read.
        labels: +1 or -1; 0 where `mask` is False.
        weights: factor on the row's loss, before any class weight; 1 by default.
        mask: which rows are real. Real rows come first, in the order they were labelled, so that the rows of an
            earlier round are a prefix of the rows of a later one.
        query: descriptor of the query's own object (region, or whole image).
        image: position in the collection of the image that each row is from; None where the rows are of no collection.
        read_global: reads `global_descriptors`; None where rows are regions, or of no collection.
        cache: results computed from `global_descriptors`, such as graphs; rows of one collection share it.
    """

    table: Float[Tensor, "t d"]
    index: Int[Tensor, "q r"]
    labels: Float[Tensor, "q r"]
    weights: Float[Tensor, "q r"]
    mask: Bool[Tensor, "q r"]
    query: Float[Tensor, "q d"]
    image: Int[Tensor, "q r"] | None = None
    read_global: Callable[[], Tensor] | None = None
    cache: Cache = field(default_factory=Cache)

    @property
    def global_descriptors(self) -> Float[Tensor, "n d"]:
        """Global descriptors of all images of the collection, zeros where one is unreadable.

        Raises:
            ValueError: if the rows are regions, or of no collection.
        """
        if self.read_global is None:
            raise ValueError("these rows are not global descriptors of a collection's images")
        return self.read_global()

    @cached_property
    def rows(self) -> Float[Tensor, "q r d"]:
        """The rows of all queries, copied out of the table; zeros where `mask` is False."""
        return self.table[self.index * self.mask].masked_fill_(~self.mask[:, :, None], 0.0)

    def of(self, query: int) -> Float[Tensor, "r d"]:
        """The real rows of one query."""
        return self.table[self.index[query, self.mask[query]]]

    @staticmethod
    def padded(
        rows: Float[Tensor, "q r d"],
        labels: Float[Tensor, "q r"],
        weights: Float[Tensor, "q r"],
        mask: Bool[Tensor, "q r"],
        query: Float[Tensor, "q d"],
    ) -> "TrainingRows":
        """From one padded batch of rows."""
        index = torch.arange(labels.numel(), device=labels.device).reshape(labels.shape)
        return TrainingRows(rows.flatten(0, 1), index, labels, weights, mask, query)


VectorKind: TypeAlias = Literal["global", "classified"]
"""Vectors of an image: its global descriptor, or what the classifier saw of the region that scores highest."""
ReadVectors: TypeAlias = Callable[[int, Tensor, VectorKind], Tensor]
Rescore: TypeAlias = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class CandidateView:
    """Unlabelled candidates as a criterion sees them. There is no truth in it: annotations cannot leak.

    Attributes:
        scores: decision value of every image for every query; 0 is the boundary, -inf where an image is unreadable.
        candidate: which images may still be asked about.
        answers: +1 relevant, -1 irrelevant, 0 not answered (or unsure).
        read_descriptors: reads `descriptors`; only criteria that look at them make it do so.
        round: number of the round that these scores come from.
        probabilities: of every class, for every image; only classification (`seekloop learn`) has them.
        cache: results computed from `descriptors`, such as graphs; views of one collection share it.
        read_vectors: reads `vectors`; None where there is nothing but global descriptors.
        rescore: decision values of one query, by its number, for vectors as the classifier sees them, (k, e) to (k,);
            None where the scores are of no classifier that could be asked.
    """

    scores: Float[Tensor, "q n"]
    candidate: Bool[Tensor, "q n"]
    answers: Int[Tensor, "q n"]
    read_descriptors: Callable[[], Tensor]
    round: int
    probabilities: Float[Tensor, "q n c"] | None = None
    cache: Cache = field(default_factory=Cache)
    read_vectors: ReadVectors | None = None
    rescore: Rescore | None = None

    @cached_property
    def descriptors(self) -> Float[Tensor, "n d"]:
        """Global descriptors shared by all queries, unit length."""
        return self.read_descriptors()

    def vectors(self, query: int, images: Int[Tensor, " k"], kind: VectorKind) -> Float[Tensor, "k e"]:
        """Vectors of some images, for one query.

        Args:
            query: its number in this view.
            images: positions.
            kind: `global`: global descriptors, of unit length. `classified`: for each image the vector that gave it its
                score, as the classifier sees it; with several regions that of the region that scores highest.
        """
        return self.descriptors[images] if self.read_vectors is None else self.read_vectors(query, images, kind)
