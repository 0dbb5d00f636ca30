"""Protocols: what a component must be able to do to take part. A new one is a class and a YAML."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Generator, Tensor

from seekloop.contracts.problems import Problem
from seekloop.contracts.records import (
    Annotations,
    Block,
    CandidateView,
    Feedback,
    Query,
    Regions,
    Tokens,
    TrainingRows,
)


@runtime_checkable
class Collection(Protocol):
    """The N images being searched. An image is known by its position in `paths`."""

    name: str
    paths: Sequence[str]
    annotations: Annotations
    problems: Sequence[Problem]

    def read(self, image: int) -> Image.Image:
        """Decode one image to upright 8-bit RGB; `UnreadableImageError` where that cannot be done."""
        ...

    def fingerprint(self) -> str:
        """Hash of all that determines the pixels: relative paths, sizes, contents."""
        ...


@runtime_checkable
class KnowsContents(Protocol):
    """A collection that knows every picture by what it holds, so that unchanged ones need not be described again."""

    def contents(self) -> Sequence[str]:
        """Content hash of each image, in the order of the images; equal hashes mean equal pixels."""
        ...


@runtime_checkable
class KnowsAbsent(Protocol):
    """A collection in which only some images were searched for each class: the others may show it unannotated."""

    def absent(self) -> Mapping[str, Sequence[int]]:
        """By class, positions of the images known not to show it; of the rest without its boxes nothing is known."""
        ...


@runtime_checkable
class KnowsFrequency(Protocol):
    """A collection whose classes are published as rare, common or frequent, so that each kind can be measured alone."""

    def frequency(self) -> Mapping[str, Literal["rare", "common", "frequent"]]:
        """By class, how often it occurs in the training images; classes of which that is not known are left out."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """A frozen network, an `nn.Module` in eval mode: normalised images in, tokens out.

    Attributes:
        name: for people.
        dim: d of the tokens.
        image_size: (height, width) that images are brought to.
        mean: per channel, of images in [0, 1].
        std: likewise.
        interpolation: "bilinear" or "bicubic".
        weights_hash: hash of the parameters' values.
    """

    name: str
    dim: int
    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    weights_hash: str

    def __call__(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens: ...


@runtime_checkable
class TextEncoder(Protocol):
    """Texts in, vectors out, in a space that images have vectors in, too.

    Attributes:
        name: for people.
        dim: d of the vectors.
        space: name of the space; vectors are compared with those of backbones whose `text_space` is the same.
        weights_hash: hash of what determines the vectors.
    """

    name: str
    dim: int
    space: str
    weights_hash: str

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """One vector of unit length for each text; `ConfigError` about `words` for a text that has none."""
        ...


@runtime_checkable
class Descriptors(Protocol):
    """A collection's descriptors, ready to be read. Stores are; tests hand in arrays."""

    images: int
    dim: int
    regions: Regions
    readable: Bool[Tensor, " n"]

    def read(self, images: Int[Tensor, " b"], local: bool) -> Block:
        """The descriptors of these images, unit length, float32, in this order; local ones only if asked for."""
        ...


@runtime_checkable
class Aggregation(Protocol):
    """Scores of images from scores of their regions; representations do this for scorers."""

    def of_vectors(
        self, block: Block, scores: Callable[[Float[Tensor, "r d"], Int[Tensor, " r"]], Float[Tensor, "q r"]]
    ) -> Float[Tensor, "q b"]:
        """Image scores where `scores` takes vectors and the images they are from."""
        ...

    def of_hyperplanes(
        self, block: Block, weights: Float[Tensor, "q d"], intercept: Float[Tensor, " q"]
    ) -> Float[Tensor, "q b"]:
        """Image scores of hyperplanes, without building the vectors where that can be avoided."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A fitted classifier of one or more queries: higher is more likely to show the object, 0 is the boundary.

    A class that names this protocol as its base inherits `of_block`.
    """

    def scores(self, descriptors: Float[Tensor, "r d"], image: Int[Tensor, " r"] | None = None) -> Float[Tensor, "q r"]:
        """Decision values of every query for every descriptor; `image` is the image that each is from."""
        ...

    def of_block(self, block: Block, aggregation: Aggregation) -> Float[Tensor, "q b"]:
        """Decision values of every query for every image of a block."""
        return aggregation.of_vectors(block, self.scores)

    def select(self, queries: Int[Tensor, " k"]) -> "Scorer":
        """The part that belongs to these queries."""
        ...

    def join(self, others: "Sequence[Scorer]") -> "Scorer":
        """This one's queries followed by those of the others, which are of the same type."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Labelled rows in, a scorer out. Holds settings only: what was learnt is in the scorer."""

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> Scorer:
        """Fit every query on its own rows.

        `previous` is this classifier's scorer of the round before, for the same queries in the same order, whose rows
        were a prefix of these: a warm start. The result may depend on it only below the solver's tolerance, except
        where the classifier's definition says otherwise.
        """
        ...


@runtime_checkable
class Transductive(Classifier, Protocol):
    """A classifier that learns from images without an answer, too, and from global descriptors only.

    Its rows say which images they are from, and give the global descriptors of all images.
    """

    transductive: Literal[True]


@runtime_checkable
class Criterion(Protocol):
    """Chooses which images to ask about next."""

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q b"]:
        """For every query, `budget` distinct candidate images (positions in the collection), in the order to ask.

        `rngs` holds one generator per query. Ties go to the lower position.
        """
        ...


@runtime_checkable
class User(Protocol):
    """Answers the questions: simulated from annotations, or a person."""

    def answer(self, query: Query, image: int, round: int, box_wanted: bool) -> Feedback:
        """Answer about one image, asked in this round; `box_wanted`: the loop would like a box of the object."""
        ...
