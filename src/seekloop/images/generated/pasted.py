"""The built-in instance benchmark: objects cut from photographs and pasted on others, rendered when read.

Whoever has photographs with boxes can make it again: what is where follows from the photographs and the seed alone. The
truth about each object is its visible box, and the affine map that brought it there.
"""

import csv
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.problems import Problem
from seekloop.contracts.protocols import Collection
from seekloop.contracts.randomness import derived_seed, generator
from seekloop.contracts.records import Annotations
from seekloop.images.generated.affine import Corners, inscribed
from seekloop.images.generated.collage import (
    Paste,
    Ranges,
    draw_cover,
    draw_map,
    extent,
    fitted,
    fitted_size,
    lay_cover,
    lay_object,
    visible,
)

SMALLEST_SIDE = 32  # a photograph whose shorter side would be less than this is not used
PROBES = 4  # pictures whose pixels go into the fingerprint


@dataclass(frozen=True)
class Instance:
    """One object that is cut out: its name and class, its photograph, and its box there in pixels."""

    name: str
    label: int
    photograph: int
    corners: Corners


class Pasted:
    """Objects of a source collection, each on several photographs that do not show its class. Class = instance.

    An object is the ellipse in its box, with a soft edge. It is turned, enlarged, sheared and pasted on another
    photograph; on some of them a patch of yet another one covers a part of it, and at least half of it stays visible.
    No photograph that an object is cut from is used for anything else. Every picture depends on the photographs, the
    numbers of instances and copies, the ranges and the seed, and on no other picture.

    Args:
        source: photographs with boxes. Crowds and difficult objects are not cut.
        instances: how many objects are cut, one a photograph, the classes of the source in turn.
        copies: pictures per object.
        distractors: photographs without any pasted object, which come last.
        image_size: longest side of every picture, in pixels.
        object_area: share of its photograph that an object's box covers, from and to.
        rotation: objects are turned by up to so many degrees, either way.
        scale: size of an object relative to its size in its photograph, from and to; less where it would not fit.
        shear: objects are sheared along x by up to this factor, either way.
        brightness: factor on an object's brightness, from and to.
        occluded: share of the copies where a patch covers a part of the object.
        seed: other numbers, other pictures.

    Raises:
        ConfigError: if a number makes no sense, or the source has too few objects or photographs.
    """

    def __init__(
        self,
        source: Collection,
        instances: int,
        copies: int,
        distractors: int,
        image_size: int,
        object_area: Sequence[float],
        rotation: float,
        scale: Sequence[float],
        shear: float,
        brightness: Sequence[float],
        occluded: float,
        seed: int,
    ) -> None:
        check_counts(instances, copies, distractors, image_size)
        self.ranges = Ranges(rotation, pair("scale", scale), shear, pair("brightness", brightness))
        self.object_area, self.occluded = pair("object_area", object_area), share("occluded", occluded)
        self.name, self.source, self.seed = "pasted", source, seed
        self.copies, self.distractors, self.image_size = copies, distractors, image_size
        self.sizes: dict[int, tuple[int, int] | None] = {}  # of the photographs opened so far; None: not to be used
        self.instances = self._choose(instances)
        self.paths: Sequence[str] = tuple(self._names())
        self.problems: Sequence[Problem] = tuple(source.problems)

    def read(self, image: int) -> Image.Image:
        """Render one picture."""
        if image >= len(self.instances) * self.copies:
            return self._fitted(self.plain[image - len(self.instances) * self.copies])
        return self.render(self.paste(image))

    def render(self, paste: Paste) -> Image.Image:
        """Background, object, patch."""
        picture = self._fitted(paste.background)
        lay_object(picture, self.source.read(self.instances[paste.instance].photograph), paste)
        if paste.cover is not None:
            lay_cover(picture, self._fitted(paste.cover.photograph), paste.cover)
        return picture

    def paste(self, image: int) -> Paste:
        """What one picture with an object is made of."""
        number, copy = divmod(image, self.copies)
        instance, photographs = self.instances[number], self.photographs[number]
        rng = np.random.Generator(np.random.PCG64(derived_seed(self.seed, "pasted", number, copy)))
        background, ellipse = photographs[copy], inscribed(instance.corners)
        size = self._fitted_size(background)
        unit = self.image_size / max(self._known_size(instance.photograph))
        map = draw_map(ellipse, unit, size, self.ranges, rng)
        gain = float(rng.uniform(*self.ranges.brightness))
        paste = Paste(number, ellipse, background, size, map, gain, None)
        if not self._is_occluded(number, copy):
            return paste
        others = photographs[self.copies :]
        other = others[copy % len(others)]
        return replace(paste, cover=draw_cover(map, ellipse, size, other, self._fitted_size(other), rng))

    @cached_property
    def pastes(self) -> tuple[Paste, ...]:
        """What every picture with an object is made of. Opens the photographs, but renders nothing."""
        return tuple(self.paste(image) for image in range(len(self.instances) * self.copies))

    @cached_property
    def annotations(self) -> Annotations:
        """Instance and visible box of every object: object i is on picture i."""
        boxes = torch.tensor([extent(visible(paste)) for paste in self.pastes], dtype=torch.float32)
        sizes = torch.tensor([paste.size * 2 for paste in self.pastes], dtype=torch.float32)
        label = torch.tensor([paste.instance for paste in self.pastes])
        none = torch.zeros(len(boxes), dtype=torch.bool)
        names = tuple(instance.name for instance in self.instances)
        return Annotations(names, torch.arange(len(boxes)), label, boxes / sizes, none, none)

    @property
    def maps(self) -> Float[Tensor, "o 2 3"]:
        """Per object, in the order of the annotations, the affine map from its photograph's pixels to the picture's.

        (x, y) goes to (m00 x + m01 y + m02, m10 x + m11 y + m12), counted from the left and top edge.
        """
        return torch.tensor([paste.map for paste in self.pastes], dtype=torch.float64)

    @cached_property
    def photographs(self) -> tuple[tuple[int, ...], ...]:
        """Per instance, photographs that do not show its class: backgrounds of its copies, then those of patches."""
        shown = self.source.annotations.relevance(len(self.source.paths))
        return tuple(self._photographs_for(number, shown[one.label]) for number, one in enumerate(self.instances))

    @cached_property
    def plain(self) -> tuple[int, ...]:
        """The photographs that are distractors."""
        found = tuple(islice(self._shuffled(self._free, "distractors", 0), self.distractors))
        if len(found) < self.distractors:
            why = f"{self.source.name} has {len(found)} photographs that no object is cut from"
            raise ConfigError("collection.distractors", self.distractors, why, "Ask for fewer of them.")
        return found

    def fingerprint(self) -> str:
        """Hash of the arguments, of the source, and of the first pictures' pixels."""
        numbers = (self.name, len(self.instances), self.copies, self.distractors, self.image_size, self.seed)
        drawn = (self.object_area, self.occluded, asdict(self.ranges))
        asked = json.dumps([numbers, drawn, self.source.fingerprint(), self.source.annotations.fingerprint()])
        digest = hashlib.blake2b(asked.encode(), digest_size=16)
        for image in range(min(PROBES, len(self.paths))):
            digest.update(self.read(image).tobytes())
        return digest.hexdigest()

    def export(self, folder: str | Path) -> None:
        """Write the pictures as PNG, with boxes.csv (pixels, as `collection=folder` reads it) and maps.json."""
        root = Path(folder)
        for image, path in enumerate(self.paths):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            self.read(image).save(root / path)
        with (root / "boxes.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("image", "class", "x0", "y0", "x1", "y1"))
            for path, paste in zip(self.paths, self.pastes, strict=False):  # distractors have none
                box = (int(side) for side in extent(visible(paste)))
                rows.writerow((path, self.instances[paste.instance].name, *box))
        told = {path: self._told(paste) for path, paste in zip(self.paths, self.pastes, strict=False)}
        (root / "maps.json").write_text(json.dumps(told, indent=1), encoding="utf-8")

    def _told(self, paste: Paste) -> dict[str, Any]:
        """One picture's entry in maps.json; lengths in pixels."""
        instance = self.instances[paste.instance]
        return {
            "instance": instance.name,
            "source": self.source.paths[instance.photograph],
            "source_box": instance.corners,
            "background": self.source.paths[paste.background],
            "map": paste.map,
            "brightness": paste.gain,
            "occluded_by": None if paste.cover is None else self.source.paths[paste.cover.photograph],
        }

    def _names(self) -> Iterator[str]:
        for instance in self.instances:
            yield from (f"{instance.name}/{copy:03d}.png" for copy in range(self.copies))
        yield from (f"distractors/{number:05d}.png" for number in range(self.distractors))

    def _choose(self, wanted: int) -> tuple[Instance, ...]:
        """Objects of the wanted size, each from a photograph of its own, the classes in turn."""
        known = self.source.annotations
        area = box_geometry.area(known.box)
        fit = (area >= self.object_area[0]) & (area <= self.object_area[1]) & ~known.crowd & ~known.difficult
        rows = fit.nonzero()[:, 0]
        shuffled = rows[torch.randperm(len(rows), generator=generator(self.seed, "pasted", "instances"))].tolist()
        taken: dict[int, Instance] = {}  # by photograph
        for row in in_turn(shuffled, known.label.tolist()):
            photograph, label = int(known.image[row]), int(known.label[row])
            if len(taken) < wanted and photograph not in taken and self._size(photograph) is not None:
                name = f"{known.classes[label].replace('/', '_')}_{len(taken):04d}"
                corners = pixels(known.box[row].tolist(), self._known_size(photograph))
                taken[photograph] = Instance(name, label, photograph, corners)
        if len(taken) < wanted:
            why = f"{len(taken)} photographs of {self.source.name} show an object of the size asked for"
            fix = "Ask for fewer, widen collection.object_area, or take a source with more boxes."
            raise ConfigError("collection.instances", wanted, why, fix)
        return tuple(taken.values())

    def _photographs_for(self, number: int, shown: Tensor) -> tuple[int, ...]:
        without = [photograph for photograph in self._free if not shown[photograph]]
        found = tuple(islice(self._shuffled(without, "backgrounds", number), 2 * self.copies))
        if len(found) <= self.copies:  # one more than the copies need, for patches
            name = self.source.annotations.classes[self.instances[number].label]
            why = f"{len(found)} photographs of {self.source.name} are left that do not show {name}"
            raise ConfigError("collection.copies", self.copies, why, f"Ask for {max(len(found) - 1, 1)} or fewer.")
        return found

    @cached_property
    def _free(self) -> tuple[int, ...]:
        """The photographs that no object is cut from."""
        used = {instance.photograph for instance in self.instances}
        return tuple(photograph for photograph in range(len(self.source.paths)) if photograph not in used)

    def _shuffled(self, photographs: Sequence[int], purpose: str, number: int) -> Iterator[int]:
        """These photographs in an order of their own, without those that cannot be used."""
        rng = generator(self.seed, "pasted", purpose, number)
        order = torch.randperm(len(photographs), generator=rng).tolist()
        return (photographs[place] for place in order if self._size(photographs[place]) is not None)

    def _is_occluded(self, number: int, copy: int) -> bool:
        """So that of the copies of every instance the share asked for is, but for less than one copy."""
        start = torch.rand((), generator=generator(self.seed, "pasted", "occluded", number)).item()
        return math.floor((copy + 1) * self.occluded + start) > math.floor(copy * self.occluded + start)

    def _size(self, photograph: int) -> tuple[int, int] | None:
        """Width and height of a photograph; None if it cannot be read or is too narrow."""
        if photograph not in self.sizes:
            try:
                size = self.source.read(photograph).size
            except UnreadableImageError:
                self.sizes[photograph] = None
            else:
                narrow = min(fitted_size(size, self.image_size)) < SMALLEST_SIDE
                self.sizes[photograph] = None if narrow else size
        return self.sizes[photograph]

    def _known_size(self, photograph: int) -> tuple[int, int]:
        size = self._size(photograph)
        if size is None:
            raise UnreadableImageError(self.source.paths[photograph], "it was readable before")
        return size

    def _fitted_size(self, photograph: int) -> tuple[int, int]:
        return fitted_size(self._known_size(photograph), self.image_size)

    def _fitted(self, photograph: int) -> Image.Image:
        return fitted(self.source.read(photograph), self.image_size)


def in_turn(rows: Iterable[int], labels: Sequence[int]) -> list[int]:
    """The rows so that the first of every class come first, then the second, and so on.

    Example:
        >>> in_turn([5, 3, 1, 4], [0, 0, 0, 0, 1, 0])
        [5, 4, 3, 1]
    """
    counts: Counter[int] = Counter()
    turns: list[tuple[int, int]] = []
    for row in rows:
        turns.append((counts[labels[row]], row))
        counts[labels[row]] += 1
    return [row for _, row in sorted(turns, key=lambda one: one[0])]


def pixels(box: Sequence[float], size: tuple[int, int]) -> Corners:
    """A box in pixels."""
    x0, y0, x1, y1 = box
    return x0 * size[0], y0 * size[1], x1 * size[0], y1 * size[1]


def check_counts(instances: int, copies: int, distractors: int, image_size: int) -> None:
    """Raise if there would be nothing to search for, or pictures too small to show it."""
    counts = {"instances": (instances, 1), "copies": (copies, 2), "distractors": (distractors, 0)}
    for key, (count, least) in {**counts, "image_size": (image_size, 2 * SMALLEST_SIDE)}.items():
        if count < least:
            raise ConfigError(f"collection.{key}", count, f"{least} is the least", "Ask for more.")


def pair(key: str, values: Sequence[float]) -> tuple[float, float]:
    """Two rising positive numbers.

    Raises:
        ConfigError: if they are not that.
    """
    if len(values) != 2 or not 0 < values[0] <= values[1]:
        why = "it must be two positive numbers, the lower one first"
        raise ConfigError(f"collection.{key}", list(values), why, "Write [0.5, 1.5], for instance.")
    return float(values[0]), float(values[1])


def share(key: str, value: float) -> float:
    """A number from 0 to 1.

    Raises:
        ConfigError: if it is not that.
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"collection.{key}", value, "a share is from 0 to 1", "Write 0.3, for instance.")
    return float(value)
