"""Training views of three kinds, each with what its tokens should say: photographs, thumbnails, digit scenes.

A batch of any kind is made from a generator alone, so that step 1,000 of a run is the same however one got there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from teacher import TeacherMaps
from torch import Tensor
from torch.nn import functional as F

from seekloop.images.generated.scenes import digit_split, photographs, render_scene

SIDE = 128  # pixels of a view
GRID = 16  # patches of a view, per side
WHOLE = 0.25  # share of views that show the whole photograph
BACKGROUND = 10  # the token label beside the ten digits
SCENE_SIZES = (128, 192)


@dataclass
class PhotographViews:
    """Pixels (x, 3, 128, 128) in [0, 1]; the teacher's third and fourth stage (x, 16, 16, k)."""

    pixels: Tensor
    third: Tensor
    fourth: Tensor


@dataclass
class LabelledViews:
    """Pixels (x, 3, 128, 128) in [0, 1]; a class per patch (x, 16, 16)."""

    pixels: Tensor
    patches: Tensor


def uniform(rng: torch.Generator, count: int, low: float, high: float) -> Tensor:
    """`count` numbers between low and high."""
    return low + (high - low) * torch.rand(count, generator=rng)


def random_crops(rng: torch.Generator, count: int) -> Tensor:
    """Corner, width and height (x, 4) as fractions: a quarter the whole picture, else 15 % to all of its area."""
    root, stretch = uniform(rng, count, 0.15, 1).sqrt(), (uniform(rng, count, -0.3, 0.3)).exp()
    size = torch.stack([root * stretch, root / stretch], 1).clamp(max=1)
    size[uniform(rng, count, 0, 1) < WHOLE] = 1
    corner = torch.rand(count, 2, generator=rng) * (1 - size)
    return torch.cat([corner, size], 1)


def sampling_grid(crops: Tensor, mirrored: Tensor, side: int) -> Tensor:
    """Where `grid_sample` must look for the crops' side x side cell centres: (x, side, side, 2) in [-1, 1]."""
    centres = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    columns = torch.where(mirrored[:, None, None], 1 - x, x)
    points = torch.stack([columns, y.expand(len(crops), -1, -1)], -1)
    return 2 * (crops[:, None, None, :2] + points * crops[:, None, None, 2:]) - 1


def sample(maps: Tensor, grid: Tensor) -> Tensor:
    """Bilinear values of (x, d, h, w) at the grid."""
    return F.grid_sample(maps.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def photograph_views(squares: Tensor, maps: TeacherMaps, count: int, rng: torch.Generator) -> PhotographViews:
    """Random crops, half of them mirrored, with jittered colours that the teacher did not see."""
    which = torch.randint(len(squares), (count,), generator=rng)
    crops, mirrored = random_crops(rng, count), uniform(rng, count, 0, 1) < 0.5
    # Twice the resolution, then averaged: large crops would alias otherwise.
    pixels = F.avg_pool2d(sample(squares[which], sampling_grid(crops, mirrored, 2 * SIDE)) / 255, 2)
    cells = sampling_grid(crops, mirrored, GRID)
    third, fourth = (
        sample(stage[which].permute(0, 3, 1, 2), cells).permute(0, 2, 3, 1) for stage in (maps.third, maps.fourth)
    )
    return PhotographViews(jittered(pixels, rng), third, fourth)


def jittered(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation changed at random; one view in ten turns grey."""
    x = len(pixels)
    gain, contrast, saturation = (uniform(rng, x, 0.7, 1.4)[:, None, None, None] for _ in range(3))
    saturation = torch.where(uniform(rng, x, 0, 1)[:, None, None, None] < 0.1, 0.0, saturation)
    grey = pixels.mean(1, keepdim=True)
    coloured = grey + saturation * (pixels - grey)
    middle = coloured.mean((1, 2, 3), keepdim=True)
    return (gain * (middle + contrast * (coloured - middle))).clamp(0, 1)


def read_thumbnails(folder: Path) -> tuple[Tensor, Tensor]:
    """CIFAR-10's training images from five sheets, one image a row: uint8 (n, 3, 32, 32), and their classes (n)."""
    Image.MAX_IMAGE_PIXELS = None  # the sheets are 1,024 x 10,000
    sheets = [np.asarray(Image.open(folder / f"data_batch_{number}.png").convert("RGB")) for number in range(1, 6)]
    labels = json.loads((folder / "train_lables.json").read_text())
    rows = torch.from_numpy(np.concatenate(sheets)).reshape(-1, 32, 32, 3)
    return rows.permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def thumbnail_views(thumbnails: Tensor, labels: Tensor, count: int, rng: torch.Generator) -> LabelledViews:
    """Square collages of 1, 4, 9 or 16 thumbnails, moved round by a random number of patches."""
    tiles = 1 + int(torch.randint(4, (1,), generator=rng))
    which = torch.randint(len(labels), (count, tiles * tiles), generator=rng)
    chosen = thumbnails[which].reshape(count, tiles, tiles, 3, 32, 32)
    mirrored = torch.rand(count, tiles, tiles, 1, 1, 1, generator=rng) < 0.5
    chosen = torch.where(mirrored, chosen.flip(-1), chosen)
    canvas = chosen.permute(0, 3, 1, 4, 2, 5).reshape(count, 3, 32 * tiles, 32 * tiles).float() / 255
    pixels = F.interpolate(canvas, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    nearest = (torch.arange(GRID) * 2 + 1) * tiles // (2 * GRID)
    patches = labels[which].reshape(count, tiles, tiles)[:, nearest][:, :, nearest]
    shift = torch.randint(GRID, (2,), generator=rng).tolist()
    pixels = pixels.roll([step * SIDE // GRID for step in shift], (2, 3))
    return LabelledViews(jittered(pixels, rng), patches.roll(shift, (1, 2)))


def scene_views(count: int, collages: float, rng: torch.Generator) -> LabelledViews:
    """Scenes of the training digits at one of two sizes, squashed to a view; a share of them collages of four."""
    source = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
    views = [
        collage(source) if collages > 0 and source.random() < collages else single_scene(source) for _ in range(count)
    ]
    pixels, patches = zip(*views, strict=True)
    return LabelledViews(jittered(torch.stack(pixels), rng), torch.stack(patches))


def single_scene(source: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pixels (3, 128, 128) and patch classes (16, 16) of one scene."""
    picture, labels, boxes = render_scene(
        digit_split("training"), photographs(), int(source.choice(SCENE_SIZES)), source
    )
    return as_pixels(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), patch_classes(labels, boxes, GRID)


def collage(source: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pixels and patch classes of four scenes of half the size, side by side: four times the digits for one view."""
    parts = [render_scene(digit_split("training"), photographs(), SIDE // 2, source) for _ in range(4)]
    pixels = [as_pixels(picture) for picture, _, _ in parts]
    patches = [patch_classes(labels, boxes, GRID // 2) for _, labels, boxes in parts]
    return two_by_two(pixels), two_by_two(patches)


def as_pixels(picture: Image.Image) -> Tensor:
    """(3, h, w) in [0, 1]."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


def two_by_two(parts: Sequence[Tensor]) -> Tensor:
    """Four maps (..., h, w) as one (..., 2 h, 2 w)."""
    return torch.cat([torch.cat(list(parts[:2]), -1), torch.cat(list(parts[2:]), -1)], -2)


def patch_classes(labels: Tensor, boxes: Tensor, grid: int) -> Tensor:
    """The digit in whose box each patch centre lies, the one in front where there are two: (grid, grid)."""
    centres = (torch.arange(grid) + 0.5) / grid
    patches = torch.full((grid, grid), BACKGROUND)
    for label, (left, top, right, bottom) in zip(labels, boxes, strict=True):
        rows, columns = (centres >= top) & (centres < bottom), (centres >= left) & (centres < right)
        patches[rows[:, None] & columns[None]] = label
    return patches
