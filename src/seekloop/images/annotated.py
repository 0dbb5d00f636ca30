"""Any collection with boxes as an instance search: a class is what is searched for, its objects are the queries."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.contracts.problems import Problem, first_reasons
from seekloop.contracts.protocols import Collection
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Annotations
from seekloop.images.chosen import Chosen


def annotated(collection: Collection, queries: int, seed: int) -> InstanceSearch:
    """Draw queries from a collection's own objects; right are the other images that show the same class.

    Of each class, `queries` objects are drawn, one an image (fewer where there are fewer images); a class on a single
    image has nothing to be found, is left out, and is named among the problems of the queries. Each class is drawn by
    itself: other classes change nothing, and more queries only add to the first. Boxes around crowds are no queries.

    Args:
        collection: images with boxes; it is the database, too.
        queries: how many of each class.
        seed: other numbers, other objects.

    Raises:
        ConfigError: if no class can be searched for.
    """
    if queries < 1:
        raise ConfigError("instances.queries", queries, "there is nothing to search for", "Ask for 1 or more.")
    known = collection.annotations
    boxes = [boxes_by_image(known, label) for label in range(len(known.classes))]
    drawn = [draw(known, label, queries, seed) if len(boxes[label]) > 1 else [] for label in range(len(boxes))]
    rows = torch.tensor([row for rows in drawn for row in rows], dtype=torch.int64)
    if not len(rows):
        why = f"no class of {collection.name} has boxes on two images or more"
        if collection.problems:
            why = "\n  ".join([f"{why}; what was left out:", *first_reasons(collection.problems)]) + "\n"
        raise ConfigError("instances.collection", collection.name, why, "Take a collection with boxes.")
    labels, own = known.label[rows].tolist(), known.image[rows]
    others = [
        {i: box for i, box in boxes[label].items() if i != at} for label, at in zip(labels, own.tolist(), strict=True)
    ]
    positive = tuple(torch.tensor(list(images), dtype=torch.int64) for images in others)
    return InstanceSearch(
        collection,
        Chosen(
            f"{collection.name} queries", collection, own.tolist(), query_annotations(known, rows), unfit(known, drawn)
        ),
        tuple(known.classes[label] for label in labels),
        own,
        {"all": Relevance(positive, tuple(own[:0] for _ in positive))},
        tuple(others),
    )


def boxes_by_image(known: Annotations, label: int) -> dict[int, Float[Tensor, "_ 4"]]:
    """Where a class is, on the images that show it, in their order."""
    places: dict[int, list[int]] = {}
    for row in (known.label == label).nonzero()[:, 0].tolist():
        places.setdefault(int(known.image[row]), []).append(row)
    return {image: known.box[rows] for image, rows in sorted(places.items())}


def draw(known: Annotations, label: int, queries: int, seed: int) -> list[int]:
    """Rows of the objects drawn from one class, on as many images."""
    rows = ((known.label == label) & ~known.crowd).nonzero()[:, 0]
    rng = generator(seed, "instances", known.classes[label])
    first: dict[int, int] = {}
    for row in rows[torch.randperm(len(rows), generator=rng)].tolist():
        first.setdefault(int(known.image[row]), row)
    return list(first.values())[:queries]


def query_annotations(known: Annotations, rows: Int[Tensor, " q"]) -> Annotations:
    """The boxes of the queries: query i is on image i of theirs."""
    return replace(
        known,
        image=torch.arange(len(rows)),
        label=known.label[rows],
        box=known.box[rows],
        crowd=known.crowd[rows],
        difficult=known.difficult[rows],
    )


def unfit(known: Annotations, drawn: list[list[int]]) -> list[Problem]:
    """The classes that cannot be searched for."""
    return [
        Problem(name, "not searched for: it is on one image only, or every box is around a crowd")
        for name, rows in zip(known.classes, drawn, strict=True)
        if not rows
    ]
