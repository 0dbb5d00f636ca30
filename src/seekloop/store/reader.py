"""Reader of descriptors: those of any images from the memory-mapped shards, cells pooled as asked for, unit length."""

import itertools
from bisect import bisect_left, bisect_right
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.artifacts.shards import record_name
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.grids import Grid, check_not_finer, divides, grid_boxes, parse_grid, pool_cells, write_grid
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import FEW_QUERIES, ArrayBlock, Block, Regions
from seekloop.store import manifest, shards
from seekloop.store.half import unit_products, unit_rows
from seekloop.store.manifest import StoreManifest, read_manifest


class Store:
    """A collection's descriptors on disk. Implements `Descriptors`; made by `open_store`.

    Attributes:
        images: n.
        dim: d.
        regions: which part of the image each local descriptor comes from.
        readable: False for images whose descriptors are zero because the file could not be decoded.
        folder: where the files are.
        manifest: what they hold.
        grids: the grids that local descriptors are read as; None for ragged regions.
        collection: the images, where whoever opened the store knows them.
    """

    collection: Collection | None = None

    def __init__(self, folder: Path, described: StoreManifest, grids: tuple[Grid, ...] | None) -> None:
        self.folder, self.manifest, self.grids = folder, described, grids
        self.images, self.dim = described.images, described.dim
        if grids is not None:
            self.regions = Regions(grid_boxes(grids), None)
        else:
            paths = (folder / manifest.LEVELS, folder / manifest.KINDS)
            level, kind = (_load(path) if path.exists() else None for path in paths)
            self.regions = Regions(_load(folder / manifest.BOXES), _load(folder / manifest.OFFSETS), level, kind)
        self.readable: Bool[Tensor, " n"] = _load(folder / manifest.READABLE)
        expected = [shards.shapes(described, self.regions.offsets, shard) for shard in range(described.shards)]
        maps = [[_map(folder / name, shape) for name, shape in shapes.items()] for shapes in expected]
        self._global, self._local = [global_ for global_, _ in maps], [local for _, local in maps]
        self._starts = torch.tensor([described.span(s)[0] for s in range(described.shards)] + [self.images])

    @property
    def recipe(self) -> Recipe:
        """Recipe of the descriptors as they are read, with the grid."""
        grid = None if self.grids is None else write_grid(self.grids)
        return Recipe("grid", {"grid": grid}, (self.manifest.recipe,))

    def read(self, images: Int[Tensor, " b"], local: bool) -> Block:
        """The descriptors of these images, unit length, float32, in this order; local ones only if asked for.

        Raises:
            IndexError: if a position is outside the collection.
        """
        if len(images) and (int(images.min()) < 0 or int(images.max()) >= self.images):
            raise IndexError(f"image positions must lie in [0, {self.images}), got {int(images.min())}..{images.max()}")
        if self.streams(local) and len(images) and bool((images.diff() == 1).all()):
            return self._mapped(images, local)
        global_ = unit_length(_gather(self._global, self._starts, images))
        if not local:
            return ArrayBlock(images, global_, None, None)
        if self.regions.offsets is None:
            cells = self._cells(images)
            offsets = torch.arange(len(images) + 1) * cells.shape[1]
            return ArrayBlock(images, global_, cells.flatten(0, 1), offsets)
        rows, offsets = self._ragged(images, self.regions.offsets)
        return ArrayBlock(images, global_, unit_length(_gather(self._local, self._rows, rows)), offsets)

    def streams(self, local: bool) -> bool:
        """Whether products with images that follow each other are made straight from the files, without a copy."""
        return self.manifest.dtype == "float16" and (not local or self.grids == self.manifest.grids)

    def _mapped(self, images: Int[Tensor, " b"], local: bool) -> "MappedBlock":
        """Images that follow each other, as they are stored."""
        first, end = int(images[0]), int(images[-1]) + 1
        global_ = _slices(self._global, self._starts, first, end)
        if not local:
            return MappedBlock(images, global_, None, None)
        cells = _slices(self._local, self._rows, int(self._row(first)), int(self._row(end)))
        offsets = self._row(torch.arange(first, end + 1)) - self._row(first)
        return MappedBlock(images, global_, cells, offsets)

    def _row(self, image: Int[Tensor, "*b"] | int) -> Int[Tensor, "*b"]:
        """The first local descriptor of an image, all images counted through."""
        position = torch.as_tensor(image)
        return position * len(self.regions.boxes) if self.regions.offsets is None else self.regions.offsets[position]

    @property
    def _rows(self) -> Int[Tensor, " starts"]:
        """The first local descriptor of each shard, and the number of all."""
        return self._row(self._starts)

    def _cells(self, images: Int[Tensor, " b"]) -> Float[Tensor, "b m d"]:
        stored, asked = self.manifest.grids or (), self.grids or ()
        cells = _gather(self._local, self._starts, images)
        if asked == stored:
            return unit_length(cells)
        if self.manifest.poolable:
            fine = cells.float().reshape(len(images), *stored[0], self.dim)
            return torch.cat([unit_length(pool_cells(fine, grid)) for grid in asked], dim=1)
        ends = list(itertools.accumulate((rows * columns for rows, columns in stored), initial=0))
        positions = [stored.index(grid) for grid in asked]
        return unit_length(cells[:, torch.cat([torch.arange(ends[at], ends[at + 1]) for at in positions])])

    def stored_rows(self, images: Int[Tensor, " k"]) -> tuple[Float[Tensor, "k d"], Float[Tensor, "*r d"]]:
        """Global and local descriptors of these images as they are stored: not of unit length, of the finest grid."""
        global_, offsets = _gather(self._global, self._starts, images), self.regions.offsets
        if offsets is None:
            return global_, _gather(self._local, self._starts, images)
        return global_, _gather(self._local, self._rows, self._ragged(images, offsets)[0])

    @staticmethod
    def _ragged(
        images: Int[Tensor, " b"], offsets: Int[Tensor, " ends"]
    ) -> tuple[Int[Tensor, " r"], Int[Tensor, " b+1"]]:
        """The rows of these images' local descriptors, and where each image's begin among them."""
        counts = offsets[images + 1] - offsets[images]
        ends = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
        within = torch.arange(int(ends[-1])) - torch.repeat_interleave(ends[:-1], counts)
        return torch.repeat_interleave(offsets[images], counts) + within, ends


class MappedBlock(Block):
    """A block of images that follow each other in a half-precision store: nothing is read before it is asked for.

    For a few queries the products are made straight from the files; for many, a copy in float32 pays.
    """

    def __init__(
        self,
        image: Int[Tensor, " b"],
        global_: list[Tensor],
        local: list[Tensor] | None,
        offsets: Int[Tensor, " b+1"] | None,
    ) -> None:
        self.image, self.offsets = image, offsets
        self._global_parts, self._local_parts = global_, local

    @cached_property
    def global_(self) -> Float[Tensor, "b d"]:
        """Global descriptors."""
        return unit_rows(self._global_parts)

    @cached_property
    def local(self) -> Float[Tensor, "r d"] | None:
        """Local descriptors, one image after the other."""
        return None if self._local_parts is None else unit_rows(self._local_parts)

    def global_products(self, weights: Float[Tensor, "q d"]) -> Float[Tensor, "b q"]:
        """Inner products of every global descriptor with every query's weights."""
        few = len(weights) <= FEW_QUERIES
        return unit_products(self._global_parts, weights) if few else super().global_products(weights)

    def local_products(self, weights: Float[Tensor, "q d"]) -> Float[Tensor, "r q"]:
        """Inner products of every local descriptor with every query's weights."""
        if self._local_parts is None or len(weights) > FEW_QUERIES:
            return super().local_products(weights)
        return unit_products(self._local_parts, weights)


def unit_length(descriptors: Float[Tensor, "*k d"]) -> Float[Tensor, "*k d"]:
    """Divide by the Euclidean norm, in float32; zero stays zero."""
    if descriptors.dtype == torch.float16:
        return unit_rows([descriptors.flatten(0, -2)]).reshape(descriptors.shape)
    return F.normalize(descriptors, dim=-1, eps=torch.finfo(torch.float32).tiny)


def open_store(path: Path | str, grid: str | None) -> Store:
    """Open a finished store: headers, sizes and manifest are checked, contents are not read.

    Args:
        path: folder of the store.
        grid: grids to read, such as "1x1+2x2+4x4"; None for what is stored (always so for ragged regions).

    Raises:
        StoreError: if it is unfinished or damaged.
        ConfigError: if the store does not hold this grid.
    """
    folder = Path(path)
    described = read_manifest(folder)
    if not manifest.store_folder(folder).finished:
        raise StoreError(f"{folder} is not finished. Run the extraction again: it continues where it stopped.")
    if absent := shards.missing(folder, described):
        names = ", ".join(record_name(shard) for shard in absent[:3])
        raise StoreError(
            f"{folder} lacks {len(absent)} shards or they are cut short ({names}). Extract again to repair them."
        )
    stored = described.grids
    if grid is None:
        return Store(folder, described, stored)
    if stored is None:
        raise ConfigError("grid", grid, "this store holds drawn boxes, not cells", "Use regions=grid.")
    grids = parse_grid(grid)
    if described.tokens is not None:
        check_not_finer(grids, described.tokens)
    held = all(divides(g, stored[0]) for g in grids) if described.poolable else set(grids) <= set(stored)
    if not held:
        raise ConfigError("grid", grid, f"the store holds {write_grid(stored)}", "Extract with this grid first.")
    return Store(folder, described, grids)


def _load(path: Path) -> Tensor:
    try:
        return shards.map_array(path).clone()
    except (FileNotFoundError, ValueError) as error:
        raise StoreError(f"{path} is missing or damaged. Delete {path.parent} and extract again.") from error


def _map(path: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        found = shards.map_array(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged. Delete it and extract again.") from error
    if tuple(found.shape) != shape:
        raise StoreError(f"{path} has shape {tuple(found.shape)}, not {shape}. Delete it and extract again.")
    return found


def _slices(maps: list[Tensor], starts: Int[Tensor, " starts"], first: int, end: int) -> list[Tensor]:
    """Rows `first` to `end` of all shards counted through, as parts of the shards: no copy is made."""
    edges = starts.tolist()
    start = min(bisect_right(edges, first) - 1, len(maps) - 1)
    touched = range(start, max(bisect_left(edges, end), start + 1))  # one at least: an empty part has a width
    return [maps[s].flatten(0, -2)[max(first - edges[s], 0) : max(end - edges[s], 0)] for s in touched]


def _gather(maps: list[Tensor], starts: Int[Tensor, " starts"], rows: Int[Tensor, " k"]) -> Float[Tensor, "k *shape"]:
    """Rows of all shards counted through, in this order.

    Args:
        maps: one array per shard.
        starts: the first row of each shard, and the number of all rows.
        rows: which rows.
    """
    out = torch.empty(len(rows), *maps[0].shape[1:], dtype=maps[0].dtype)
    owner = torch.searchsorted(starts, rows, right=True) - 1
    for shard in set(owner.tolist()):
        here = owner == shard
        out[here] = maps[shard][rows[here] - starts[shard]]
    return out
