"""The built-in instance benchmark: objects cut from photographs and pasted on others, rendered when read.

Every picture follows from the photographs and the seed alone, so that anybody who has them can make it again. The truth
about each object is its visible box, and the affine map that brought it there.
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
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.declared import Count, Positive, Share, declared
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

    @declared
    def __init__(
        self,
        source: Collection,
        instances: Count = 50,
        copies: Annotated[int, Ge(2)] = 10,
        distractors: Annotated[int, Ge(0)] = 200,
        image_size: Annotated[int, Ge(2 * SMALLEST_SIDE)] = 400,
        object_area: Sequence[Positive] = (0.04, 0.5),
        rotation: float = 30.0,
        scale: Sequence[Positive] = (0.5, 1.5),
        shear: float = 0.2,
        brightness: Sequence[Positive] = (0.7, 1.3),
        occluded: Share = 0.3,
        seed: int = 0,
    ) -> None:
        self.ranges = Ranges(rotation, pair("scale", scale), shear, pair("brightness", brightness))
        self.object_area, self.occluded = pair("object_area", object_area), float(occluded)
        self.name, self.source, self.seed = "pasted", source, seed
        self.copies, self.distractors, self.image_size = copies, distractors, image_size
        self.sizes: dict[int, tuple[int, int] | None] = {}  # of the photographs opened so far; None: not to be used
        self.instances = self._choose(instances)
        self.paths: Sequence[str] = (
            *(f"{one.name}/{copy:03d}.png" for one in self.instances for copy in range(copies)),
            *(f"distractors/{number:05d}.png" for number in range(distractors)),
        )
        self.problems: Sequence[Problem] = tuple(source.problems)

    def read(self, image: int) -> Image.Image:
        """Render one picture: background, object, patch."""
        if image >= len(self.instances) * self.copies:
            return self._fitted(self.plain[image - len(self.instances) * self.copies])
        paste = self.paste(image)
        picture = self._fitted(paste.background)
        lay_object(picture, self.source.read(self.instances[paste.instance].photograph), paste)
        if paste.cover is not None:
            lay_cover(picture, self._fitted(paste.cover.photograph), paste.cover)
        return picture

    def paste(self, image: int) -> Paste:
        """Draw the parts of one picture with an object."""
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
        """Parts of every picture with an object. Opens the photographs, but renders nothing."""
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
        photographs = []
        for number, instance in enumerate(self.instances):
            without = [photograph for photograph in self._free if not shown[instance.label][photograph]]
            usable = tuple(islice(self._shuffled(without, "backgrounds", number), 2 * self.copies))
            if len(usable) <= self.copies:  # one more than the copies need, for patches
                name = self.source.annotations.classes[instance.label]
                why = f"{len(usable)} photographs of {self.source.name} are left that do not show {name}"
                fix = f"Ask for {max(len(usable) - 1, 1)} or fewer."
                raise ConfigError("copies", self.copies, why, fix, self)
            photographs.append(usable)
        return tuple(photographs)

    @cached_property
    def plain(self) -> tuple[int, ...]:
        """The photographs that are distractors."""
        plain = tuple(islice(self._shuffled(self._free, "distractors", 0), self.distractors))
        if len(plain) < self.distractors:
            why = f"{self.source.name} has {len(plain)} photographs that no object is cut from"
            raise ConfigError("distractors", self.distractors, why, "Ask for fewer of them.", self)
        return plain

    def fingerprint(self) -> str:
        """Hash of the arguments, of the source, and of the first pictures' pixels."""
        numbers = (self.name, len(self.instances), self.copies, len(self.plain), self.image_size, self.seed)
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
        maps = {path: self._described(paste) for path, paste in zip(self.paths, self.pastes, strict=False)}
        (root / "maps.json").write_text(json.dumps(maps, indent=1), encoding="utf-8")

    def _described(self, paste: Paste) -> dict[str, Any]:
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
                (x0, y0, x1, y1), (width, height) = known.box[row].tolist(), self._known_size(photograph)
                corners = x0 * width, y0 * height, x1 * width, y1 * height
                taken[photograph] = Instance(name, label, photograph, corners)
        if len(taken) < wanted:
            why = f"{len(taken)} photographs of {self.source.name} show an object of the size asked for"
            fix = "Ask for fewer, widen object_area, or take a source with more boxes."
            raise ConfigError("instances", wanted, why, fix, self)
        return tuple(taken.values())

    @cached_property
    def _free(self) -> tuple[int, ...]:
        """The photographs that no object is cut from."""
        used = {instance.photograph for instance in self.instances}
        return tuple(photograph for photograph in range(len(self.source.paths)) if photograph not in used)

    def _shuffled(self, photographs: Sequence[int], purpose: str, number: int) -> Iterator[int]:
        """Photographs in an order of their own, without those that cannot be used."""
        rng = generator(self.seed, "pasted", purpose, number)
        order = torch.randperm(len(photographs), generator=rng).tolist()
        return (photographs[one] for one in order if self._size(photographs[one]) is not None)

    def _is_occluded(self, number: int, copy: int) -> bool:
        """Whether a patch covers a copy: of every instance's copies the share asked for, but for less than one."""
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


def pair(key: str, values: Sequence[float]) -> tuple[float, float]:
    """Two rising numbers.

    Raises:
        ConfigError: if they are not that.
    """
    if len(values) != 2 or values[0] > values[1]:
        raise ConfigError(key, list(values), "it must be two numbers, the lower one first", "Write [0.5, 1.5], say.")
    return float(values[0]), float(values[1])
