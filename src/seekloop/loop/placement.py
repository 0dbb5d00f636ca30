"""Where a loop computes and with how much memory: descriptors come there once if they fit, else block by block."""

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Literal

import psutil
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seekloop.contracts.declared import Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.contracts.records import FEW_QUERIES, ArrayBlock, Block

GIB = 2**30
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
BLOCK_BYTES = {"cpu": 2**25, "cuda": 2**30}  # a block on a CPU should stay in its caches until it is used up


@component
class Engine:
    """Settings of the computation; none of them changes what is computed but `precision`.

    Args:
        memory: GiB for descriptors, training rows and the work on them, or auto: half of what is free. The scores of
            all searches (q n numbers) and the rows of a single search come on top. Below 0.25, blocks become smaller,
            and with them the last bits of sums may change.
        device: where scores are computed: cpu, cuda, cuda:1, ...
        precision: of scores and training rows.
        together: whether the searches of a round are computed together or one after the other.

    Raises:
        ConfigError: if a setting cannot work here.
    """

    memory: Positive | Literal["auto"] = field(default="auto", metadata=NOT_IN_RECIPE)
    device: str = field(default="cpu", metadata=NOT_IN_RECIPE)
    precision: Literal["float32", "float64"] = "float32"
    together: bool = field(default=True, metadata=NOT_IN_RECIPE)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise ConfigError("device", self.device, "it must be cpu, cuda, cuda:1, ...", "Try cpu.", self)
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as missing:  # a torch without CUDA asserts
            reason = str(missing).splitlines()[0]
            why = f"torch cannot use it ({reason})"
            raise ConfigError("device", self.device, why, "Try cpu.", self) from missing

    @property
    def dtype(self) -> torch.dtype:
        """Of scores and training rows."""
        return PRECISIONS[self.precision]

    def bytes(self) -> int:
        """Of memory that may be taken."""
        return free_memory(self.device) // 2 if isinstance(self.memory, str) else int(self.memory * GIB)


def free_memory(device: str) -> int:
    """Bytes that can still be taken on a device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


class Placed:
    """Descriptors on the device of an engine, in its precision. Implements `Descriptors`.

    Half of the engine's memory may hold all of them; where that is not enough, they are read anew in every pass. On the
    CPU a few searches are served straight from what is given, which need not be copied for them.

    Args:
        descriptors: of the collection.
        engine: where to, and how much.
        local: whether local descriptors are ever needed.
        memory: bytes in all.
    """

    def __init__(self, descriptors: Descriptors, engine: Engine, *, local: bool, memory: int) -> None:
        self.source = descriptors
        self.images, self.dim = descriptors.images, descriptors.dim
        self.regions = descriptors.regions
        self.readable: Bool[Tensor, " n"] = descriptors.readable
        self.engine = engine
        self.local = local
        self._memory = memory
        self._held: Block | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether the engine computes on another device, to which every pass would move all descriptors again."""
        return torch.device(self.engine.device).type != "cpu"

    @property
    def rows(self) -> int:
        """Descriptors of all images together."""
        if not self.local:
            return self.images
        boxes = len(self.regions.boxes)
        return self.images + (boxes if self.regions.offsets is not None else boxes * self.images)

    def blocks(self, searches: int) -> Iterator[Int[Tensor, " b"]]:
        """All images, in order, as many at a time as should be worked on together."""
        return self.split(torch.arange(self.images), searches)

    def split(self, images: Int[Tensor, " k"], searches: int, *, products: bool = False) -> Iterator[Int[Tensor, " b"]]:
        """Some images, as many at a time as should be worked on together.

        Args:
            images: which.
            searches: for so many.
            products: whether nothing but products with descriptors is asked for. A few of them, made straight from
                files, take no memory but their own.
        """
        limit = min(BLOCK_BYTES[torch.device(self.engine.device).type], max(self._memory // 8, 1))
        streamed = products and searches <= FEW_QUERIES and self._streams and bool((images.diff() == 1).all())
        width = searches if streamed else self.dim + searches
        per_image = self.rows / max(self.images, 1) * width * self.engine.dtype.itemsize
        return iter(torch.split(images, max(1, int(limit / per_image))))

    @property
    def _streams(self) -> bool:
        """Whether reads of images that follow each other come straight from files."""
        if self._held is not None or self.elsewhere or self.engine.dtype != torch.float32:
            return False
        asked = getattr(self.source, "streams", None)
        return asked is not None and bool(asked(self.local))

    def hold(self) -> None:
        """Bring everything here once, if it fits."""
        dtype, device = self.engine.dtype, self.engine.device
        if self._held is not None or self.rows * self.dim * dtype.itemsize > self._memory // 2:
            return
        global_ = torch.empty(self.images, self.dim, dtype=dtype, device=device)
        local = torch.empty(self.rows - self.images, self.dim, dtype=dtype, device=device) if self.local else None
        ends = [torch.zeros(1, dtype=torch.long)]
        for images in self.blocks(0):
            block = self.source.read(images, self.local)
            global_[images[0] : images[-1] + 1] = block.global_
            if local is not None and block.local is not None and block.offsets is not None:
                first = ends[-1][-1]
                ends.append(first + block.offsets[1:])
                local[first : ends[-1][-1]] = block.local
        self._held = ArrayBlock(torch.arange(self.images), global_, local, torch.cat(ends) if self.local else None)

    def read(self, images: Int[Tensor, " b"], local: bool) -> Block:
        """The descriptors of these images, unit length, in this order; local ones only if asked for."""
        held = self._held
        if held is None or not len(images):
            return self._moved(self.source.read(images, local))
        if not local:
            return ArrayBlock(images, held.global_[_slice_or_rows(images)], None, None)
        if held.local is None or held.offsets is None:
            raise ValueError("local descriptors were not placed here")
        starts, ends = held.offsets[images], held.offsets[images + 1]
        offsets = torch.nn.functional.pad((ends - starts).cumsum(0), (1, 0))
        rows = torch.arange(int(offsets[-1])) + torch.repeat_interleave(starts - offsets[:-1], ends - starts)
        return ArrayBlock(images, held.global_[_slice_or_rows(images)], held.local[_slice_or_rows(rows)], offsets)

    def _moved(self, block: Block) -> Block:
        """The block where the engine computes; the same block where it is there already."""
        dtype, device = self.engine.dtype, torch.device(self.engine.device)
        if dtype == torch.float32 and device.type == "cpu":
            return block
        local = None if block.local is None else block.local.to(device, dtype)
        return ArrayBlock(block.image, block.global_.to(device, dtype), local, block.offsets)


def _slice_or_rows(positions: Int[Tensor, " k"]) -> slice | Tensor:
    """A slice where positions follow each other, which copies nothing."""
    if len(positions) and bool((positions.diff() == 1).all()):
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions
