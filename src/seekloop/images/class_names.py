"""Any collection with classes as a search by words: the names of its classes are the queries."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.contracts.problems import Problem, first_reasons
from seekloop.contracts.protocols import Collection, KnowsAbsent, KnowsFrequency
from seekloop.images.annotated import Chosen, boxes_by_image


@declared
def class_names(collection: Collection, words: Mapping[str, str] | None = None) -> InstanceSearch:
    """Search for every class by its name; right are the images that show it.

    Besides all right images, those of each size are evaluated alone: images that show the class in another size are
    taken out of the ranking. The size of an image is that of its largest object of the class.

    Some collections know each class to be absent from some images only (`KnowsAbsent`, such as LVIS). The images of
    which nothing is known are then taken out of its ranking; a class known to be absent from no image, of which every
    ranking would be perfect, is not searched for.

    Where classes are known to be rare, common or frequent (`KnowsFrequency`, such as LVIS), those of each kind are
    evaluated alone as well: they have their right images, the others none, and no average precision.

    Args:
        collection: images with annotated classes.
        words: that are searched for in place of a class's name, such as {tvmonitor: television}; None: its name.

    Raises:
        ConfigError: if no class can be searched for, or `words` names one that is not there.

    Reference:
        Levi et al., "Object-Centric Open-Vocabulary Image Retrieval with Aggregated Features", BMVC 2023.
    """
    known, words = collection.annotations, words or {}
    check_classes(words, collection.name, known.classes)
    boxes = [boxes_by_image(known, label) for label in range(len(known.classes))]
    wrong = wrong_images(collection, boxes)
    there = [label for label, name in enumerate(known.classes) if boxes[label] and wrong.get(name) != frozenset()]
    if not there:
        seen = "no class is on any image" if not any(boxes) else "no class is known to be absent from any image"
        why = "\n  ".join([seen, *first_reasons(collection.problems)])
        raise ConfigError("collection", collection.name, why, "Take a collection with annotations.")
    names, found = tuple(known.classes[label] for label in there), tuple(boxes[label] for label in there)
    sizes = [{image: largest(several) for image, several in by_image.items()} for by_image in found]
    right = tuple(torch.tensor(list(size), dtype=torch.int32) for size in sizes)
    junk = tuple(unknown(wrong.get(name), one, len(collection.paths)) for name, one in zip(names, right, strict=True))
    setups = {"all": Relevance(right, junk)}
    for stratum in box_geometry.STRATA:
        within = [torch.tensor([one == stratum for one in size.values()]) for size in sizes]
        alone = tuple(one[here] for one, here in zip(right, within, strict=True))
        others = (torch.cat([no, one[~here]]) for no, one, here in zip(junk, right, within, strict=True))
        setups[stratum] = Relevance(alone, tuple(others))
    frequency = collection.frequency() if isinstance(collection, KnowsFrequency) else {}
    kinds = [frequency.get(name) for name in names]
    for kind in ("rare", "common", "frequent"):
        if kind in kinds:
            of_kind = (one if own == kind else one[:0] for one, own in zip(right, kinds, strict=True))
            setups[kind] = Relevance(tuple(of_kind), junk)
    nothing = known.keep(torch.zeros(len(known.image), dtype=torch.bool))
    unfit = [
        Problem(name, f"not searched for: it is {'known to be absent from' if by_image else 'on'} no image")
        for label, (name, by_image) in enumerate(zip(known.classes, boxes, strict=True))
        if label not in there
    ]
    return InstanceSearch(
        collection,
        Chosen(f"{collection.name} class names", collection, [], nothing, unfit),
        names,
        torch.full((len(names),), -1),
        setups,
        found,
        tuple(words.get(name, name) for name in names),
    )


def wrong_images(collection: Collection, boxes: Sequence[Mapping[int, Tensor]]) -> dict[str, frozenset[int]]:
    """By class, the images known not to show it; empty where all images without its boxes are."""
    if not isinstance(collection, KnowsAbsent):
        return {}
    absent = collection.absent()
    classes = zip(collection.annotations.classes, boxes, strict=True)
    return {name: frozenset(absent.get(name, ())).difference(by_image) for name, by_image in classes}


def unknown(wrong: frozenset[int] | None, right: Int[Tensor, " _"], images: int) -> Int[Tensor, " _"]:
    """The images that are neither right nor known to be wrong, ascending; none where None is known."""
    if wrong is None:
        return right[:0]
    open_ = torch.ones(images, dtype=torch.bool)
    open_[[*wrong, *right.tolist()]] = False
    return open_.nonzero()[:, 0].int()


def check_classes(words: Mapping[str, str], collection: str, classes: Sequence[str], owner: object = None) -> None:
    """Refuse words for a class that a collection does not have.

    Raises:
        ConfigError: about `words`, with the classes.
    """
    if unknown := next((name for name in words if name not in classes), None):
        fix = f"Classes: {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}."
        raise ConfigError("words", dict(words), f"{collection} has no class {unknown!r}", fix, owner)


def largest(boxes: Float[Tensor, "_ 4"]) -> str:
    """Size of the largest of some boxes."""
    return box_geometry.stratum(boxes[box_geometry.area(boxes).argmax()][None])[0]
