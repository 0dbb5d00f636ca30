"""The three tasks of Nara et al. on any annotated collection: a query image, and what its user wants to see."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.declared import Count, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.problems import Problem
from seekloop.contracts.protocols import Collection
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Annotations
from seekloop.images.annotated import Chosen
from seekloop.images.instance_files import without_junk

Task = Literal["category", "property", "changed"]
Properties = Literal["name", "size", "none"]


@declared
def feedback_tasks(
    collection: Collection,
    task: Task = "category",
    properties: Properties = "none",
    same_object: bool = False,
    asked: Collection | None = None,
    queries: Count = 5,
    seed: int = 0,
) -> InstanceSearch:
    """Whole images as queries, and the user's preference, by the rule of a task, from annotations.

    ========== ==================================================== ================================================
    task       wanted                                               not wanted
    ========== ==================================================== ================================================
    `category` images that show one kind of object of the query     all others, though they show its other objects
    `property` images of an object that has one property of the     all others: a shiny shoe is asked with, a dim
               query's object                                       one is not wanted
    `changed`  images of the query's object with another given      all others: a clean shirt is asked with, a dirty
               property, and not with the query's                   one is wanted, a clean one is not
    ========== ==================================================== ================================================

    Of each kind of object (`category`), property (`property`) or object with a property (`changed`) `queries` images
    are drawn, each by itself: others change nothing. The new property of `changed` is drawn, of those that other images
    show. A query's own image is taken out of its ranking. What cannot be asked is among the problems of the queries.

    Args:
        collection: the images that are ranked.
        task: the user's preference.
        properties: source of an object's property: the first word of the class's name, as in "clean shirt" (`name`), or
            the object's size in its image (`size`: small, medium, large); `none`: objects have no properties.
        same_object: in the task `property` only images of the same kind of object are wanted.
        asked: collection that the queries are from; None: the one that is ranked.
        queries: how many are drawn of each.
        seed: other numbers, other queries.

    Raises:
        ConfigError: if a task needs properties and there are none, or nothing can be asked.

    Reference:
        Nara et al., Revisiting relevance feedback for CLIP-based interactive image retrieval, arXiv 2404.16398.
    """
    if task != "category" and properties == "none":
        why, fix = f"the task {task} is about properties of objects", "Say properties=name or properties=size."
        raise ConfigError("properties", properties, why, fix)
    source = collection if asked is None else asked
    known = Shown.of(collection.annotations, properties)
    asking = known if asked is None else Shown.of(asked.annotations, properties)
    drawn, unfit = draw(asking, known, task, same_object, queries, seed, own=asked is None)
    if not drawn:
        why = f"no image of {source.name} can be asked with: {'; '.join(one.what for one in unfit[:1]) or 'no objects'}"
        fix = "Take annotated collections, whose classes have the same names; properties=name needs names of two words."
        raise ConfigError("collection", collection.name, why, fix)
    images = [one.image for one in drawn]
    nothing = source.annotations.keep(torch.zeros(len(source.annotations.image), dtype=torch.bool))
    wanted = [torch.tensor(sorted(one.wanted), dtype=torch.int64) for one in drawn]
    return InstanceSearch(
        collection,
        Chosen(f"{source.name} queries", source, images, nothing, unfit),
        tuple(one.words for one in drawn),
        torch.tensor(images if asked is None else [-1] * len(images)),
        without_junk(wanted),
        tuple({} for _ in drawn),
        shows_wanted=task != "changed",
    )


NONE: frozenset[int] = frozenset()
Key = TypeVar("Key")


@dataclass(frozen=True)
class Asked:
    """A query: its image, the words for what is wanted, and the images of the database that show it."""

    image: int
    words: str
    wanted: frozenset[int]


@dataclass(frozen=True)
class Shown:
    """Which images show which objects with which properties.

    Attributes:
        pairs: images by object and property; the property is "" where the object has none.
        objects: images by object.
        properties: images by property.
    """

    pairs: Mapping[tuple[str, str], frozenset[int]]
    objects: Mapping[str, frozenset[int]]
    properties: Mapping[str, frozenset[int]]

    def named(self, words: str) -> frozenset[int]:
        """Images that show the pair of a property and an object."""
        prefix, _, thing = words.partition(" ")
        return self.pairs.get((thing, prefix), NONE)

    @staticmethod
    def of(known: Annotations, properties: Properties) -> "Shown":
        """Read annotations; a class's name is an object, or a property and an object."""
        sizes = box_geometry.stratum(known.box) if properties == "size" else [""] * len(known.image)
        rows: list[tuple[str, str, int]] = []
        for label, image, size in zip(known.label.tolist(), known.image.tolist(), sizes, strict=True):
            thing, prefix = known.classes[label], size
            if properties == "name" and " " in thing:
                prefix, _, thing = thing.partition(" ")
            rows.append((thing, prefix, image))
        return Shown(
            grouped(((thing, prefix), image) for thing, prefix, image in rows),
            grouped((thing, image) for thing, _, image in rows),
            grouped((prefix, image) for _, prefix, image in rows if prefix),
        )


def grouped(rows: Iterable[tuple[Key, int]]) -> dict[Key, frozenset[int]]:
    """Images by key."""
    images: dict[Key, set[int]] = {}
    for key, image in rows:
        images.setdefault(key, set()).add(image)
    return {key: frozenset(several) for key, several in images.items()}


@dataclass(frozen=True)
class Preference:
    """Something that can be asked for: in words, with these images, each with one of these sets of wanted images."""

    key: str
    images: frozenset[int]
    wanted: Mapping[str, frozenset[int]]


def preferences(asking: Shown, known: Shown, task: Task, same_object: bool) -> list[Preference]:
    """Everything that can be asked with the images of `asking`: words, and the images of `known` that show it."""
    if task == "category":
        return [Preference(o, images, {o: known.objects.get(o, NONE)}) for o, images in sorted(asking.objects.items())]
    if task == "property" and not same_object:
        there = sorted(asking.properties.items())
        return [Preference(p, images, {p: known.properties.get(p, NONE)}) for p, images in there]
    found = []
    for (thing, had), images in sorted(asking.pairs.items()):
        if had and task == "property":
            found.append(Preference(f"{had} {thing}", images, {f"{had} {thing}": known.pairs.get((thing, had), NONE)}))
        elif had:
            others = [p for o, p in sorted(known.pairs) if o == thing and p not in ("", had)]
            old = known.pairs.get((thing, had), NONE)
            wanted = {f"{p} {thing}": known.pairs[thing, p] - old for p in others}
            found.append(Preference(f"{had} {thing}", images, wanted))
    return found


def draw(
    asking: Shown, known: Shown, task: Task, same_object: bool, queries: int, seed: int, own: bool
) -> tuple[list[Asked], list[Problem]]:
    """Draw the queries of each preference, and name the preferences that nothing can be asked about.

    Args:
        asking: what the images of the queries show.
        known: what the images show that are ranked.
        task: as in `feedback_tasks`.
        same_object: likewise.
        queries: likewise.
        seed: likewise.
        own: whether the queries are images of the collection that is ranked.
    """
    drawn: dict[tuple[int, str], Asked] = {}
    unfit: list[Problem] = []
    for one in preferences(asking, known, task, same_object):
        rng = generator(seed, "feedback", task, one.key)
        there = sorted(one.images)
        some: list[Asked] = []
        for image in [there[i] for i in torch.randperm(len(there), generator=rng).tolist()]:
            mine = frozenset([image]) if own else NONE
            shown = {words for words in one.wanted if task == "changed" and image in asking.named(words)}
            fit = [words for words, images in one.wanted.items() if images - mine and words not in shown]
            if fit and len(some) < queries:
                words = fit[int(torch.randint(len(fit), (1,), generator=rng))]
                some.append(Asked(image, words, one.wanted[words] - mine))
        drawn |= {(query.image, query.words): query for query in some if (query.image, query.words) not in drawn}
        if not some:
            unfit.append(Problem(one.key, f"not asked with: no other image shows what the task {task} wants"))
    return list(drawn.values()), unfit
