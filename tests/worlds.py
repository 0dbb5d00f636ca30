"""Small collections whose answer is known: no files, no network, under a second."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.records import Annotations, Regions
from seekloop.store.arrays import ArrayDescriptors


@dataclass(frozen=True)
class World:
    """A collection and the truth about it."""

    descriptors: ArrayDescriptors
    annotations: Annotations

    @property
    def relevant(self) -> Bool[Tensor, "c n"]:
        """Which images show which class."""
        return self.annotations.relevance(self.descriptors.images)


def blobs(
    images: int,
    dim: int = 8,
    *,
    classes: Sequence[str] = ("star",),
    grid: tuple[int, int] = (2, 2),
    ragged: bool = False,
    noise: float = 0.1,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> World:
    """Images of class c lie around +e_c; those of no class around -(e_1 + e_2 + ...), which for one class is -e_1.

    Image i shows class i % (len(classes) + 1), the last of which is none. Its one object fills exactly one region, and
    that region lies around +e_c; all other regions lie where images of no class lie. So global and local descriptors
    both separate every class linearly, as long as `noise` is small: a linear classifier must reach AP = 1.

    Args:
        images: size of the collection.
        dim: of the descriptors, at least `len(classes)`.
        classes: names.
        grid: rows and columns of the fixed regions; with `ragged`, the cells that an image's regions are drawn from.
        ragged: image i has 1 + i % m regions rather than all m cells.
        noise: deviation of each coordinate before normalisation.
        seed: of everything drawn.
        dtype: of the descriptors.
    """
    rng = torch.Generator().manual_seed(seed)
    cells = grid_boxes(*grid)
    kind = torch.arange(images) % (len(classes) + 1)
    centres = torch.cat(
        [torch.eye(dim, dtype=dtype)[: len(classes)], -torch.eye(dim, dtype=dtype)[: len(classes)].sum(0, keepdim=True)]
    )
    counts = 1 + torch.arange(images) % len(cells) if ragged else torch.full((images,), len(cells))
    slot = torch.tensor([int(torch.randint(int(c), (1,), generator=rng)) for c in counts])  # the object's region
    offsets = F.pad(counts.cumsum(0), (1, 0))
    picked = torch.cat([torch.randperm(len(cells), generator=rng)[: int(c)].sort().values for c in counts])
    local_kind = torch.full((len(picked),), len(classes))
    local_kind[offsets[:-1] + slot] = kind
    whole, local = centres[kind], centres[local_kind]
    regions = Regions(cells[picked], offsets) if ragged else Regions(cells, None)
    shown = kind < len(classes)
    descriptors = ArrayDescriptors(_shaken(whole, noise, rng), _shaken(local, noise, rng), regions)
    return World(
        descriptors, annotated(classes, shown.nonzero()[:, 0], kind[shown], cells[picked[offsets[:-1] + slot]][shown])
    )


def annotated(
    classes: Sequence[str], image: Int[Tensor, " o"], label: Int[Tensor, " o"], box: Float[Tensor, "o 4"]
) -> Annotations:
    """Annotations without crowds and difficult objects."""
    nothing = torch.zeros(len(image), dtype=torch.bool)
    return Annotations(tuple(classes), image, label, box, crowd=nothing, difficult=nothing)


def grid_boxes(rows: int, columns: int) -> Float[Tensor, "m 4"]:
    """The cells of a regular grid, row by row."""
    y, x = torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns, indexing="ij")
    corner = torch.stack([x, y], dim=-1).reshape(-1, 2)
    return box_geometry.clip(torch.cat([corner, corner + torch.tensor([1 / columns, 1 / rows])], dim=1))


def _shaken(rows: Float[Tensor, "r d"], noise: float, rng: torch.Generator) -> Float[Tensor, "r d"]:
    return rows + noise * torch.randn(rows.shape, generator=rng, dtype=rows.dtype)
