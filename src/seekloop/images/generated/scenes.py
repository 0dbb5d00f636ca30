"""The built-in collection: handwritten digits pasted on photographs, rendered when read. Nothing is downloaded.

The parts are scikit-learn's 1,797 scanned digits (8 x 8) and its two sample photographs. Every random number is an
integer and every picture operation is Pillow's, so that the same numbers give the same pixels.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from seekloop.contracts.declared import Count, declared
from seekloop.contracts.problems import Problem
from seekloop.contracts.randomness import derived_seed
from seekloop.contracts.records import Annotations
from seekloop.images.generated.collage import extent

CLASSES = tuple(str(digit) for digit in range(10))
PARTS = ("training", "search")
SMALLEST_SIZE = 64  # below this a small digit has fewer pixels than its 8 x 8 scan
DIGITS_PER_SCENE = (1, 1, 2, 2, 3, 4)  # one of these, all equally likely
# Box area of a digit in thousandths of the image, from and to; one of these, all equally likely (small twice).
EXTENTS = ((16, 58), (16, 58), (64, 200), (64, 200), (260, 420))
KEPT = 0.75  # share of a digit's pixels that must stay visible
ATTEMPTS = 12  # places to try before an object is left out
INKED = [255 * (v >= 64) for v in range(256)]  # from ink to the pixels of the digit
SHARPEN = [min(max((v - 88) * 3, 0), 255) for v in range(256)]  # from enlarged ink to opacity
PROBES = 4  # scenes whose pixels go into the fingerprint


@dataclass(frozen=True)
class Digits:
    """Scanned digits: ink from 0 to 255, and their classes."""

    scans: UInt8[np.ndarray, "k 8 8"]
    labels: Int[np.ndarray, " k"]


@dataclass(frozen=True)
class Layer:
    """One thing pasted on the background: its opacity everywhere, and the digit it shows (None for clutter)."""

    mask: UInt8[np.ndarray, "s s"]
    label: int | None


@cache
def digit_split(part: str) -> Digits:
    """Half of scikit-learn's digits, stratified by class: "training" for networks, "search" for the collection.

    The scans are ordered by writer, and each class is cut in the middle: apart from the writer at the cut, nobody's
    handwriting is in both halves.

    Raises:
        ValueError: if `part` is neither.
    """
    if part not in PARTS:
        raise ValueError(f"the digits are split in {' and '.join(PARTS)}, there is no {part!r}")
    from sklearn.datasets import load_digits

    data = load_digits()
    rows = [np.flatnonzero(data.target == digit) for digit in range(10)]
    first = part == PARTS[0]
    halves = [some[: len(some) // 2] if first else some[len(some) // 2 :] for some in rows]
    chosen = np.sort(np.concatenate(halves))
    scans = np.minimum(data.images[chosen].astype(np.int64) * 16, 255).astype(np.uint8)
    return Digits(scans, data.target[chosen].astype(np.int64))


@cache
def photographs() -> tuple[Image.Image, ...]:
    """scikit-learn's two sample photographs, a temple and a flower."""
    from sklearn.datasets import load_sample_images

    data = load_sample_images()  # type: ignore[no-untyped-call]
    return tuple(Image.fromarray(pixels) for pixels in data.images)


def render_scene(
    digits: Digits, photographs: Sequence[Image.Image], size: int, rng: np.random.Generator
) -> tuple[Image.Image, Int[Tensor, " o"], Float[Tensor, "o 4"]]:
    """Render a square picture of digits among clutter on a crop of a photograph.

    Args:
        digits: to choose from.
        photographs: backgrounds to choose from, each at least 64 pixels high and wide.
        size: height and width of the picture.
        rng: source of all choices.

    Returns:
        The picture, the digits' classes (1 to 4 of them), and the boxes of their visible parts.
    """
    layers = arrange(digits, size, rng)
    return (paint(layers, photographs, size, rng), *visible_digits(layers))


def arrange(digits: Digits, size: int, rng: np.random.Generator) -> list[Layer]:
    """Draw the layers, from back to front: clutter, digits, then a little clutter over them."""
    layers = [Layer(clutter_mask(size, rng), None) for _ in range(rng.integers(2, 6))]
    wanted = DIGITS_PER_SCENE[int(rng.integers(len(DIGITS_PER_SCENE)))]
    for _ in range(wanted):
        layers = place_digit(layers, digits, size, rng)
    for _ in range(rng.integers(0, 3)):
        candidate = [*layers, Layer(clutter_mask(size, rng), None)]
        layers = candidate if all_kept(candidate) else layers
    return layers


def place_digit(layers: list[Layer], digits: Digits, size: int, rng: np.random.Generator) -> list[Layer]:
    """Add a digit where it hides no other one too much; the same layers where no such place was found."""
    which = rng.integers(len(digits.labels))
    stamp = digit_stamp(digits.scans[which], size, rng)
    slack_x, slack_y = stamp.width // 8, stamp.height // 8  # a little of it may stick out
    for _ in range(ATTEMPTS):
        x = rng.integers(-slack_x, max(size - stamp.width + slack_x, 1 - slack_x))
        y = rng.integers(-slack_y, max(size - stamp.height + slack_y, 1 - slack_y))
        picture = Image.new("L", (size, size))
        picture.paste(stamp, (int(x), int(y)))
        mask = np.asarray(picture)
        candidate = [*layers, Layer(mask, int(digits.labels[which]))]
        inside = np.count_nonzero(mask >= 128) >= 0.85 * np.count_nonzero(np.asarray(stamp) >= 128)
        if inside and all_kept(candidate):
            return candidate
    return layers


def digit_stamp(scan: UInt8[np.ndarray, "8 8"], size: int, rng: np.random.Generator) -> Image.Image:
    """One digit as an opacity mask that fits its ink: enlarged smoothly to a random extent, turned a little."""
    ink = Image.fromarray(scan)
    ink = ink.crop(ink.point(INKED).getbbox())
    margin = 2  # pixels of the scan: room for the stroke's soft edge, and for turning
    padded = Image.new("L", (ink.width + 2 * margin, ink.height + 2 * margin))
    padded.paste(ink, (margin, margin))
    low, high = EXTENTS[int(rng.integers(len(EXTENTS)))]
    area = int(rng.integers(low, high)) * size * size / 1000
    aspect = ink.width / ink.height * int(rng.integers(85, 130)) / 100
    width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
    shrink = min(1.0, 0.94 * size / max(width, height))  # not beyond the picture
    width, height = width * shrink, height * shrink
    enlarged = round(padded.width * width / ink.width), round(padded.height * height / ink.height)
    large = padded.resize(enlarged, Image.Resampling.BICUBIC)
    turned = large.rotate(int(rng.integers(-14, 15)), Image.Resampling.BILINEAR)  # smooth already
    sharp = turned.point(SHARPEN)
    return sharp.crop(sharp.getbbox())


def clutter_mask(size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "s s"]:
    """A bent stroke or a blob, drawn at twice the size and reduced for smooth edges."""
    canvas = Image.new("L", (2 * size, 2 * size))
    draw = ImageDraw.Draw(canvas)
    x, y = (int(v) for v in rng.integers(-size // 4, 2 * size, 2))
    w, h = (int(v) for v in rng.integers(size // 6, size, 2))
    match rng.integers(4):
        case 0:
            draw.ellipse((x, y, x + w // 2, y + h // 2), fill=255)
        case 1:
            start = int(rng.integers(0, 360))
            stop = start + int(rng.integers(60, 250))
            draw.arc((x, y, x + w, y + h), start, stop, fill=255, width=int(rng.integers(size // 40, size // 12)))
        case _:
            steps = rng.integers(-size // 2, size // 2, (int(rng.integers(1, 4)), 2)).cumsum(0)
            points = [(x, y), *((x + int(dx), y + int(dy)) for dx, dy in steps)]
            draw.line(points, fill=255, width=int(rng.integers(size // 40, size // 10)), joint="curve")
    return np.asarray(canvas.reduce(2))


def visible_masks(layers: Sequence[Layer]) -> list[Bool[np.ndarray, "s s"]]:
    """For every layer, the pixels where nothing covers it."""
    covered = np.zeros(layers[0].mask.shape, dtype=bool)
    seen = []
    for layer in reversed(layers):
        opaque = layer.mask >= 128
        seen.append(opaque & ~covered)
        covered |= opaque
    return seen[::-1]


def all_kept(layers: Sequence[Layer]) -> bool:
    """Whether enough of every digit is visible."""
    return all(
        np.count_nonzero(seen) >= KEPT * np.count_nonzero(layer.mask >= 128)
        for layer, seen in zip(layers, visible_masks(layers), strict=True)
        if layer.label is not None
    )


def visible_digits(layers: Sequence[Layer]) -> tuple[Int[Tensor, " o"], Float[Tensor, "o 4"]]:
    """Class and box of every digit, from back to front; the box fits the part that nothing covers."""
    digits = [
        (layer.label, [side / len(seen) for side in extent(seen)])
        for layer, seen in zip(layers, visible_masks(layers), strict=True)
        if layer.label is not None
    ]
    labels = torch.tensor([label for label, _ in digits], dtype=torch.int64)
    return labels, torch.tensor([box for _, box in digits], dtype=torch.float32).reshape(-1, 4)


def paint(
    layers: Sequence[Layer], photographs: Sequence[Image.Image], size: int, rng: np.random.Generator
) -> Image.Image:
    """Colour the layers and lay them over a crop of a photograph."""
    picture = background(photographs[int(rng.integers(len(photographs)))], size, rng)
    for layer in layers:
        mask = Image.fromarray(layer.mask)
        box = mask.getbbox()
        if box is not None:  # clutter may lie wholly outside
            paint_layer(picture, mask.crop(box), box, layer.label is not None, rng)
    return picture


def paint_layer(
    picture: Image.Image, mask: Image.Image, box: tuple[int, int, int, int], readable: bool, rng: np.random.Generator
) -> None:
    """Lay one thing on the picture, in two colours that blend from top to bottom.

    Where it must be readable, the colours' brightness differs from that of the ground.
    """
    below = np.asarray(picture.resize((1, 1), Image.Resampling.BOX, box=box))[0, 0].tolist()
    luma = (299 * below[0] + 587 * below[1] + 114 * below[2]) // 1000  # by the weights of ITU-R BT.601
    sheets = []
    for _ in range(2):
        colour = [int(v) for v in rng.integers(0, 256, 3)]
        if readable:
            share = int(rng.integers(55, 90))  # how far, in hundredths, towards white or black
            colour = [(v * (100 - share) + (255 if luma < 120 else 0) * share) // 100 for v in colour]
        sheets.append(Image.new("RGB", mask.size, (colour[0], colour[1], colour[2])))
    blend = Image.linear_gradient("L").resize(mask.size, Image.Resampling.BILINEAR)
    opacity = int(rng.integers(220, 256))
    picture.paste(
        Image.composite(sheets[0], sheets[1], blend), box, mask.point([v * opacity // 255 for v in range(256)])
    )


def background(photograph: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """A square crop, perhaps mirrored, of more or less contrast."""
    shorter = min(photograph.size)
    side = int(rng.integers(shorter // 3, shorter + 1))
    x, y = int(rng.integers(photograph.width - side + 1)), int(rng.integers(photograph.height - side + 1))
    crop = photograph.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
    if rng.integers(2):
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gain, lift = int(rng.integers(45, 101)), int(rng.integers(0, 60))
    return crop.point([min(v * gain // 100 + lift, 255) for v in range(256)] * 3)


class Scenes:
    """Digits among clutter on photographs; class = digit. Uses only digits that the `tiny` backbone never saw.

    Args:
        images: how many.
        size: height and width in pixels.
        seed: other numbers, other scenes.

    Raises:
        ConfigError: if there are no images, or they are too small for digits (64 pixels).
    """

    @declared
    def __init__(self, images: Count = 600, size: Annotated[int, Ge(SMALLEST_SIZE)] = 256, seed: int = 0) -> None:
        self.name = "scenes"
        self.images, self.size, self.seed = images, size, seed
        self.paths = tuple(f"scene_{image:06d}.png" for image in range(images))
        self.problems: tuple[Problem, ...] = ()

    def rng(self, image: int) -> np.random.Generator:
        """The generator of one scene; it depends on the seed and the position, not on how many scenes there are."""
        return np.random.Generator(np.random.PCG64(derived_seed(self.seed, "scenes", image)))

    def read(self, image: int) -> Image.Image:
        """Render one scene."""
        return render_scene(digit_split("search"), photographs(), self.size, self.rng(image))[0]

    @cached_property
    def annotations(self) -> Annotations:
        """Class and visible box of every digit. Needs the places of all layers, but paints nothing."""
        digits = digit_split("search")
        scenes = [visible_digits(arrange(digits, self.size, self.rng(i))) for i in range(self.images)]
        counts = torch.tensor([len(labels) for labels, _ in scenes])
        label = torch.cat([labels for labels, _ in scenes])
        none = torch.zeros(len(label), dtype=torch.bool)
        image = torch.repeat_interleave(torch.arange(self.images), counts)
        return Annotations(CLASSES, image, label, torch.cat([boxes for _, boxes in scenes]), none, none)

    def fingerprint(self) -> str:
        """Hash of the arguments and of the first scenes' pixels: another Pillow or other digits show in those."""
        digest = hashlib.blake2b(repr((self.name, self.images, self.size, self.seed)).encode(), digest_size=16)
        for image in range(min(PROBES, self.images)):
            digest.update(self.read(image).tobytes())
        return digest.hexdigest()
