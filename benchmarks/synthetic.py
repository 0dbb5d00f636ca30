"""Stores as an extraction would leave them, without images: descriptors with a structure of classes, drawn by seed.

    python -m benchmarks.synthetic --images 118000 --grid 4x4 --dim 768 --classes 80

Every image has a mean of its own around one that all share, one to three objects, each a rectangle of cells, and
noise whose spectrum decays, as descriptors' does. A class is a centre and eight variants around it; an object is its
class and variant, more or less strong. So queries, boxes and metrics all have a meaning, and ranking is not easy.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks import facts
from seekloop.artifacts.folder import COMPLETE
from seekloop.contracts.grids import Grid, grid_boxes, parse_grid
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import Recipe, settings
from seekloop.contracts.records import Annotations, Regions
from seekloop.store.manifest import StoreManifest, folder_name
from seekloop.store.reader import Store, open_store
from seekloop.store.shards import expected_bytes, missing
from seekloop.store.writer import StoreWriter, create, finish

FORMAT = 1  # to be raised when other numbers are drawn
SHARD = 256  # images per file, as in conf/store
VARIANTS = 8  # looks of a class
OBJECTS = (0.5, 0.3, 0.2)  # probabilities of one, two, three objects in an image
SHARED, SCENE, CENTRE, VARIANT = 1.0, 0.45, 0.12, 0.16  # lengths of the parts of a descriptor; its noise has length 1
WEAKEST = 0.4  # strengths of objects are uniform from here to 1
DECAY = 0.35  # standard deviation of the j-th direction of the noise falls as j^-DECAY
RARITY = 0.5  # the j-th class is j^-RARITY times as frequent as the first


@dataclass(frozen=True)
class World:
    """What is drawn: `images` n, cells of `grid` m, `dim` d, `classes` c."""

    images: int
    grid: str
    dim: int
    classes: int
    seed: int = 0

    @property
    def cells(self) -> Grid:
        """Rows and columns of regions."""
        (grid,) = parse_grid(self.grid)
        return grid

    @property
    def regions(self) -> int:
        """How many cells an image has, m."""
        return math.prod(self.cells)

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """Number, first image and the one after the last, of what is drawn at a time."""
        for number, start in enumerate(range(0, self.images, SHARD)):
            yield number, start, min(start + SHARD, self.images)


class Names(Sequence[str]):
    """Paths of images that do not exist, without a list of a million of them."""

    def __init__(self, images: int) -> None:
        self.images = images

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, image: int) -> str:  # type: ignore[override]
        return f"{image:08d}.jpg"


@dataclass(frozen=True)
class Objects:
    """Objects of a block: image (within the block), class, variant, strength; (row, column) of first and last cell."""

    image: Int[Tensor, " o"]
    label: Int[Tensor, " o"]
    variant: Int[Tensor, " o"]
    strength: Float[Tensor, " o"]
    first: Int[Tensor, "o 2"]
    last: Int[Tensor, "o 2"]


def draw_objects(world: World, number: int, images: int) -> Objects:
    """What the images of a block show; the descriptors are not needed for it."""
    rng = generator(world.seed, "objects", number)
    counts = 1 + torch.multinomial(torch.tensor(OBJECTS), images, replacement=True, generator=rng)
    image = torch.repeat_interleave(torch.arange(images), counts)
    frequency = torch.arange(1, world.classes + 1) ** -RARITY
    label = torch.multinomial(frequency, len(image), replacement=True, generator=rng)
    variant = torch.randint(VARIANTS, (len(image),), generator=rng)
    strength = WEAKEST + (1 - WEAKEST) * torch.rand(len(image), generator=rng)
    sides = torch.tensor(world.cells)
    size = 1 + (torch.rand(len(image), 2, generator=rng) * ((sides + 1) // 2)).long()
    first = (torch.rand(len(image), 2, generator=rng) * (sides - size + 1)).long()
    return Objects(image, label, variant, strength, first, first + size - 1)


def annotations(world: World) -> Annotations:
    """The boxes of all objects: the cells they cover."""
    sides = torch.tensor(world.cells, dtype=torch.float32)
    images, labels, boxes = [], [], []
    for number, start, stop in world.blocks():
        drawn = draw_objects(world, number, stop - start)
        images.append(start + drawn.image)
        labels.append(drawn.label)
        corners = torch.cat([drawn.first / sides, (drawn.last + 1) / sides], dim=1)
        boxes.append(corners[:, [1, 0, 3, 2]])
    image = torch.cat(images)
    nothing = torch.zeros(len(image), dtype=torch.bool)
    names = tuple(f"class{label:02d}" for label in range(world.classes))
    return Annotations(names, image, torch.cat(labels), torch.cat(boxes), nothing, nothing)


@dataclass(frozen=True)
class Directions:
    """What all images of a world share: the mean, and the look of each variant of each class."""

    mean: Float[Tensor, " d"]
    looks: Float[Tensor, "c v d"]
    spectrum: Float[Tensor, " d"]


def directions(world: World, device: str = "cpu") -> Directions:
    """Drawn once for a world; the mean, centres and variants are unit vectors times their lengths."""
    rng = generator(world.seed, "directions")
    unit = torch.nn.functional.normalize
    mean = SHARED * unit(torch.randn(world.dim, generator=rng), dim=0)
    centres = CENTRE * unit(torch.randn(world.classes, 1, world.dim, generator=rng), dim=-1)
    variants = VARIANT * unit(torch.randn(world.classes, VARIANTS, world.dim, generator=rng), dim=-1)
    spectrum = torch.arange(1, world.dim + 1) ** -DECAY
    return Directions(mean.to(device), (centres + variants).to(device), (spectrum / spectrum.norm()).to(device))


def draw_cells(world: World, shared: Directions, number: int, images: int) -> Float[Tensor, "b m d"]:
    """The local descriptors of a block, not normalised, on the device of `shared`, which draws in its own way."""
    device = shared.mean.device
    rng = torch.Generator(device).manual_seed(generator(world.seed, "descriptors", number).initial_seed())
    about = {"generator": rng, "device": device}
    cells = torch.randn(images, world.regions, world.dim, **about).mul_(shared.spectrum)
    cells += shared.mean + SCENE * shared.spectrum * torch.randn(images, 1, world.dim, **about)
    drawn = draw_objects(world, number, images)
    look = shared.looks[drawn.label, drawn.variant] * drawn.strength[:, None].to(device)
    row, column = torch.arange(world.regions) // world.cells[1], torch.arange(world.regions) % world.cells[1]
    place = torch.stack([row, column], dim=1)
    inside = ((place >= drawn.first[:, None]) & (place <= drawn.last[:, None])).all(dim=2)
    what, where = inside.nonzero(as_tuple=True)
    return cells.index_put_((drawn.image[what].to(device), where.to(device)), look[what.to(device)], accumulate=True)


def described(world: World) -> StoreManifest:
    """The manifest of a world's store."""
    recipe = Recipe("descriptors", {"synthetic": FORMAT, **settings(asdict(world))})
    return StoreManifest(recipe, world.images, world.dim, "float16", SHARD, (world.cells,), True, None, {}, None)


def make_store(world: World, stores: Path) -> Path:
    """The folder of a world's finished store: found, or written now.

    Raises:
        TooLargeError: if the disk has no room for it.
    """
    wanted = described(world)
    folder = stores / folder_name("synthetic", f"{world.images}x{world.grid}x{world.dim}", wanted.key)
    if (folder / COMPLETE).exists():
        return folder
    facts.check_disk(stores, expected_bytes(wanted, None))
    manifest = create(folder, wanted, Regions(grid_boxes([world.cells]), None))
    writer, shared = StoreWriter(folder, manifest, None, Names(world.images)), directions(world)
    absent = set(missing(folder, manifest))
    for number, start, stop in world.blocks():
        if number in absent:
            cells = draw_cells(world, shared, number, stop - start)
            readable = torch.ones(stop - start, dtype=torch.bool)
            writer.add(torch.arange(start, stop), cells.mean(dim=1), cells.flatten(0, 1), readable, [])
    finish(folder, manifest, Names(world.images))
    return folder


def open_world(world: World, stores: Path) -> Store:
    """A world's store, written first where it is not there yet."""
    return open_store(make_store(world, stores), None)


def stored_bytes(folder: Path) -> int:
    """What a store takes on disk."""
    return sum(path.stat().st_size for path in folder.iterdir())


def world_words(world: World) -> list[str]:
    """A world as command-line words."""
    return [word for key, value in asdict(world).items() for word in (f"--{key}", str(value))]


def main() -> None:
    parser = facts.options(__doc__)
    for key, default in (("images", 11_540), ("dim", 768), ("classes", 20), ("seed", 0)):
        parser.add_argument(f"--{key}", type=int, default=default)
    parser.add_argument("--grid", default="4x4", help="rows x columns of the regions")
    asked = parser.parse_args()
    folder = make_store(World(asked.images, asked.grid, asked.dim, asked.classes, asked.seed), asked.stores)
    print(json.dumps({"folder": str(folder), "bytes": stored_bytes(folder)}))


if __name__ == "__main__":
    main()
