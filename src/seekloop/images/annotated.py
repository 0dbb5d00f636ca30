"""Any collection with boxes as an instance search: its classes are searched for, its objects are the queries."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from seekloop.contracts.declared import Count, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.problems import Problem, first_reasons
from seekloop.contracts.protocols import Collection
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Annotations
from seekloop.images.instance_files import without_junk


@declared
def annotated(collection: Collection, queries: Count = 5, seed: int = 0) -> InstanceSearch:
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
    known = collection.annotations
    boxes = [boxes_by_image(known, label) for label in range(len(known.classes))]
    drawn = [draw(known, label, queries, seed) if len(boxes[label]) > 1 else [] for label in range(len(boxes))]
    rows = torch.tensor([row for rows in drawn for row in rows], dtype=torch.int64)
    if not len(rows):
        why = f"no class of {collection.name} has boxes on two images or more"
        if collection.problems:
            why = "\n  ".join([f"{why}; what was left out:", *first_reasons(collection.problems)]) + "\n"
        raise ConfigError("collection", collection.name, why, "Take a collection with boxes.")
    labels, own = known.label[rows].tolist(), known.image[rows]
    others = [
        {i: box for i, box in boxes[label].items() if i != at} for label, at in zip(labels, own.tolist(), strict=True)
    ]
    unfit = [
        Problem(name, "not searched for: it is on one image only, or every box is around a crowd")
        for name, rows_of_class in zip(known.classes, drawn, strict=True)
        if not rows_of_class
    ]
    query_boxes = replace(  # query i is on image i of theirs
        known,
        image=torch.arange(len(rows)),
        label=known.label[rows],
        box=known.box[rows],
        crowd=known.crowd[rows],
        difficult=known.difficult[rows],
    )
    return InstanceSearch(
        collection,
        Chosen(f"{collection.name} queries", collection, own.tolist(), query_boxes, unfit),
        tuple(known.classes[label] for label in labels),
        own,
        without_junk(torch.tensor(list(images), dtype=torch.int64) for images in others),
        tuple(others),
    )


def boxes_by_image(known: Annotations, label: int) -> dict[int, Float[Tensor, "_ 4"]]:
    """Boxes of a class on the images that show it, in their order."""
    rows: dict[int, list[int]] = {}
    for row in (known.label == label).nonzero()[:, 0].tolist():
        rows.setdefault(int(known.image[row]), []).append(row)
    return {image: known.box[several] for image, several in sorted(rows.items())}


def draw(known: Annotations, label: int, queries: int, seed: int) -> list[int]:
    """Draw rows of one class's objects, on as many images."""
    rows = ((known.label == label) & ~known.crowd).nonzero()[:, 0]
    rng = generator(seed, "instances", known.classes[label])
    first: dict[int, int] = {}
    for row in rows[torch.randperm(len(rows), generator=rng)].tolist():
        first.setdefault(int(known.image[row]), row)
    return list(first.values())[:queries]


class Chosen:
    """Images of a collection by position, in any order, also several times, with annotations of their own.

    Args:
        name: for people.
        source: the collection.
        positions: of its images.
        annotations: of the chosen ones: `image` counts `positions`.
        problems: what was left out when choosing.
    """

    def __init__(
        self,
        name: str,
        source: Collection,
        positions: Sequence[int],
        annotations: Annotations,
        problems: Sequence[Problem],
    ) -> None:
        self.name, self.source, self.positions = name, source, tuple(positions)
        self.paths: Sequence[str] = tuple(source.paths[position] for position in positions)
        self.annotations = annotations
        self.problems: Sequence[Problem] = tuple(problems)

    def read(self, image: int) -> Image.Image:
        """Decode one image; see the source."""
        return self.source.read(self.positions[image])

    def fingerprint(self) -> str:
        """Hash of the source's fingerprint, and of which images are chosen."""
        chosen = json.dumps([self.source.fingerprint(), self.positions])
        return hashlib.blake2b(chosen.encode(), digest_size=16).hexdigest()
