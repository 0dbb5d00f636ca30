"""Whitenings as a stage: from the descriptors of other images to a map of descriptors, kept on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.grids import write_grid
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import NOT_IN_RECIPE, Recipe, settings
from seekloop.descriptors.roi import FromRegions
from seekloop.descriptors.whitening import Whitening, learn_centring, learn_supervised, learn_whitening
from seekloop.extraction.describe import ensure
from seekloop.extraction.plan import Extraction
from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.regions.grid import Grid
from seekloop.store import whitening as kept
from seekloop.store.manifest import folder_name
from seekloop.store.reader import Store, open_store

TAUGHT = 2**16  # about as many descriptors teach a whitening
SAME = {
    "backbone": "backbone",
    "transform": "size of images",
    "longest": "size of images",
    "pooling": "pooling",
}  # settings, and words for them


@dataclass(frozen=True)
class Taught:
    """Descriptors that teach a whitening.

    Attributes:
        rows: of unit length, those of images that could not be read left out.
        shown: which of the collection's classes each row shows; None where nobody asks for pairs.
    """

    rows: Float[Tensor, "n d"]
    shown: Bool[Tensor, "n c"] | None


@runtime_checkable
class Learner(Protocol):
    """A way to learn a whitening (`conf/whitening/`).

    Attributes:
        teacher: folder of a store whose descriptors teach; None: those of the collection.
        collection: other images, which are described as the searched ones are.
        by_pairs: whether it learns from which images, or objects, show the same.
    """

    by_pairs: bool

    @property
    def teacher(self) -> Path | str | None: ...

    @property
    def collection(self) -> Collection | None: ...

    def learn(self, taught: Taught) -> Whitening:
        """Learn it."""
        ...


def _check_collection(learner: "Learner") -> None:
    """Refuse the name of a collection where the collection itself belongs."""
    named = learner.collection
    if named is not None and not isinstance(named, Collection):
        fix = f"Say collection@whitening.collection={named if isinstance(named, str) else '<entry>'}."
        raise ConfigError("collection", str(named), "it is a word, and no collection", fix, learner)


@component
class Centred:
    """Take the mean of other images' descriptors off.

    Args:
        teacher: folder of a store of other images, of the same backbone, whose descriptors teach.
        collection: in its place other images, which are described as the searched ones are.
    """

    teacher: Path | str | None = field(default=None, metadata=NOT_IN_RECIPE)
    collection: Collection | None = field(default=None, metadata=NOT_IN_RECIPE)
    by_pairs = False

    def __post_init__(self) -> None:
        _check_collection(self)

    def learn(self, taught: Taught) -> Whitening:
        """Take the mean."""
        return learn_centring(taught.rows)


@component
class Principal:
    """PCA-whitening: bring descriptors to other images' principal directions, each of variance 1.

    Args:
        teacher: folder of a store of other images, of the same backbone, whose descriptors teach.
        collection: in its place other images, which are described as the searched ones are.
        dims: most directions kept; None: all.

    Reference:
        Jégou & Chum, "Negative evidences and co-occurences in image retrieval", ECCV 2012.
    """

    teacher: Path | str | None = field(default=None, metadata=NOT_IN_RECIPE)
    collection: Collection | None = field(default=None, metadata=NOT_IN_RECIPE)
    dims: Count | None = None
    by_pairs = False

    def __post_init__(self) -> None:
        _check_collection(self)

    def learn(self, taught: Taught) -> Whitening:
        """Learn it."""
        return learn_whitening(taught.rows, self.dims)


@component
class Supervised:
    """Supervised whitening: directions in which matching descriptors differ count less, those that tell others more.

    Where regions are searched, the annotated boxes of the collection are described, and two match if they are of one
    class; where whole images are, two match if they show a class in common.

    Args:
        collection: other images, with annotations, which are described as the searched ones are.
        dims: most directions kept; None: all.
        ridge: share of the mean variance of matching differences added to all, for fewer pairs than dimensions.
        parity: learn as the released code does (`learn_supervised`).

    Reference:
        Siméoni's thesis, equations (5.11) and (5.12); Radenovic, Tolias & Chum, TPAMI 2019.
    """

    collection: Collection | None = field(default=None, metadata=NOT_IN_RECIPE)
    dims: Count | None = None
    ridge: Annotated[float, Ge(0)] = 1e-3
    parity: bool = False
    by_pairs = True
    teacher = None

    def __post_init__(self) -> None:
        _check_collection(self)

    def learn(self, taught: Taught) -> Whitening:
        """Learn it.

        Raises:
            ConfigError: if no two rows match, or all do.
        """
        shown = torch.zeros(len(taught.rows), 0, dtype=torch.bool) if taught.shown is None else taught.shown
        try:
            return learn_supervised(taught.rows, shown, self.dims, self.ridge, self.parity)
        except ValueError as error:
            named = None if self.collection is None else self.collection.name
            fix = "Take a collection whose annotations name the same class on several images, and several classes."
            raise ConfigError("collection", named, str(error), fix, self) from error


@dataclass(frozen=True)
class WhiteningStage:
    """A stage: the whitening of a search, learnt on other images.

    Attributes:
        learner: how.
        extraction: how the searched images are described.
        by_region: whether regions are searched, and so teach; else global descriptors.
    """

    learner: Learner
    extraction: Extraction
    by_region: bool

    @cached_property
    def teacher(self) -> Store | Extraction:
        """The store that teaches, or the stage that describes the collection that does.

        Raises:
            ConfigError: if there is neither or both, or the store is no store or of another network.
        """
        learner = self.learner
        if (learner.teacher is None) == (learner.collection is None):
            why = "a whitening is learnt on other images: a store of them, or a collection"
            fix = "Say whitening.teacher=<folder of a store>, or collection@whitening.collection=<entry>."
            if learner.by_pairs:
                why = "a supervised whitening is learnt on other images whose annotations say what they show"
                fix = "Say collection@whitening.collection=<entry>."
            raise ConfigError("collection", None, why, fix, learner)
        return _store_of(self) if learner.collection is None else _extraction_of(self, learner.collection)

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the whitening: how it is learnt, of what, from what."""
        of = "regions" if self.by_region else "images"
        teacher, known = self.teacher, {"learner": settings(self.learner), "of": of}
        if isinstance(teacher, Store):
            return Recipe("whitening", known, (teacher.recipe,))
        if self.learner.by_pairs:
            known["annotations"] = teacher.collection.annotations.fingerprint()
        return Recipe("whitening", known | {"grid": _grid(teacher)}, (teacher.plan.recipe(self.by_region),))

    @property
    def folder(self) -> Path:
        """Where it lies."""
        words = type(self.learner).__name__.lower()
        return Path(self.extraction.store_dir) / folder_name("whitening", words, self.recipe.key)

    @property
    def folders(self) -> Sequence[Path]:
        """Where it lies, and where the descriptors lie that teach it."""
        teacher = self.teacher
        return (self.folder, teacher.folder if isinstance(teacher, Store) else teacher.plan.folder)

    def ensure(self, say: Callable[[str], None]) -> Whitening:
        """The whitening, learnt where it is not there yet.

        Raises:
            ConfigError: if the collection teaches none.
            StoreError: if it cannot be written, or is damaged.
        """

        def learn() -> kept.Learnt:
            taught = self._taught(say)
            learnt = self.learner.learn(taught)
            say(f"a whitening learnt on {len(taught.rows):,} descriptors is kept in {self.folder}")
            return learnt.mean, learnt.axes

        return Whitening(*kept.ensure(self.folder, self.recipe, learn, say))

    def _taught(self, say: Callable[[str], None]) -> Taught:
        """The descriptors a whitening is learnt on; the images are described first if they have no store yet."""
        teacher = self.teacher
        if isinstance(teacher, Store):
            return Taught(sampled(teacher, self.by_region), None)
        store = open_store(ensure(teacher, say), _grid(teacher))
        if self.learner.by_pairs:
            return annotated(store, teacher.collection, self.by_region)
        return Taught(sampled(store, self.by_region), None)


def open_whitening(folder: Path | str) -> Whitening:
    """Open a whitening that a run has learnt.

    Args:
        folder: that the run named.

    Raises:
        StoreError: if there is none, or it is damaged.
    """
    return Whitening(*kept.read(Path(folder).expanduser()))


def sampled(store: Store, by_region: bool) -> Float[Tensor, "n d"]:
    """Descriptors of a store, of regions or of whole images; of evenly spread images where they are many."""
    readable = store.readable.nonzero()[:, 0]
    regions = len(store.regions.boxes) / (1 if store.regions.offsets is None else store.images)
    taken = min(len(readable), max(1, round(TAUGHT / max(1.0, regions if by_region else 1.0))))
    block = store.read(readable[torch.arange(taken) * len(readable) // taken], by_region)
    return block.global_ if block.local is None else block.local


def annotated(store: Store, collection: Collection, by_region: bool) -> Taught:
    """Descriptors with the classes that they show: of annotated boxes, or of whole images."""
    known, readable = collection.annotations, store.readable.nonzero()[:, 0]
    if not by_region:
        return Taught(store.read(readable, False).global_, known.relevance(store.images).T[readable])
    alone = torch.ones(store.images, dtype=torch.bool).index_fill(0, known.image, False).nonzero()[:, 0]
    owner = torch.cat([known.image, alone])  # an image without boxes is a region of its own, that shows no class
    order = owner.argsort(stable=True)
    label = torch.cat([known.label, torch.full_like(alone, -1)])[order]
    shown = F.one_hot(label + 1, len(known.classes) + 1)[:, 1:].bool()
    rows: Float[Tensor, "r d"] = store.read(readable, True).local  # type: ignore[assignment]  # asked for, so there
    return Taught(rows, shown[store.readable[owner[order]]])


def _grid(extraction: Extraction) -> str | None:
    """The grid that is read of a stage's descriptors; None where regions are ragged."""
    return write_grid(extraction.plan.parts.asked) if extraction.plan.manifest.grids is not None else None


def _extraction_of(stage: WhiteningStage, collection: Collection) -> Extraction:
    """The stage that describes a collection as the searched one is; of pairs of objects, their boxes.

    Where global descriptors are sums of regions (FS.EGM, OS.EGM), other images are pooled over their whole maps: one
    whitening serves images, regions and sums (thesis, section 5.3.9).
    """
    extraction = stage.extraction
    encoding = extraction.encoding
    if not stage.by_region and isinstance(encoding, FromRegions) and not encoding.global_apart:
        whole = Grid("1x1", "1x1")
        encoding = replace(encoding, global_="map", inside="box")
        return replace(extraction, collection=collection, regions=whole, encoding=encoding)
    if not (stage.learner.by_pairs and stage.by_region):
        return replace(extraction, collection=collection)
    if isinstance(encoding, FromRegions):
        encoding = replace(encoding, inside="box")  # an annotated box has no mask
    return replace(extraction, collection=collection, regions=AnnotatedBoxes(), encoding=encoding)


def _store_of(stage: WhiteningStage) -> Store:
    """The store that teaches."""
    learner, fix = (
        stage.learner,
        "Give the folder that `seekloop extract` names, of the same backbone and other images.",
    )
    try:
        teacher = open_store(Path(learner.teacher or "").expanduser(), None)
    except (StoreError, OSError) as error:
        raise ConfigError("teacher", str(learner.teacher), f"it is no store ({error})", fix, learner) from error
    known, mine = teacher.manifest.recipe.settings, stage.extraction.plan.manifest.recipe.settings
    parts = [key for key in SAME if not (key == "pooling" and stage.by_region)]
    if other := next((SAME[key] for key in parts if known.get(key) != mine.get(key)), None):
        raise ConfigError("teacher", str(learner.teacher), f"it has another {other}", fix, learner)
    return teacher
