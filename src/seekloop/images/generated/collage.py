"""One picture of the pasted benchmark: an object cut from one photograph, pasted on another, perhaps partly covered."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from seekloop.images.generated.affine import (
    Corners,
    Ellipse,
    Map,
    about,
    apply,
    determinant,
    disc,
    radius,
    reach,
    warped,
)

EDGE = 0.9  # of the way from its middle to its outline an object is opaque, then it fades
COVER_EDGE = 0.94  # the same of a patch
COVER_OPAQUE = (1 + COVER_EDGE) / 2  # where it is half opaque
FITS = 0.48  # half an object's width and height are at most this share of the picture's
INSIDE = 0.75  # so much of half its width and height stays within the picture: at least 85 % of its area
HIDDEN = (0.15, 0.35)  # share of an object that a patch covers, from and to: at least half of it stays visible
COVER_SIZE = (0.8, 1.1)  # half width and half height of a patch, in radii of a disc of the object's area
POINTS = 400  # of an object, by which the share that is covered is told
HALVINGS = 12  # steps to the place of a patch that covers the share wanted


@dataclass(frozen=True)
class Ranges:
    """Ranges that copies are drawn from: degrees to either side, factors from and to, shear to either side."""

    rotation: float
    scale: tuple[float, float]
    shear: float
    brightness: tuple[float, float]


@dataclass(frozen=True)
class Cover:
    """A patch over an object: the photograph it is from, its ellipse there once that is fitted, its centre here."""

    photograph: int
    ellipse: Ellipse
    centre: tuple[float, float]

    @property
    def map(self) -> Map:
        """From pixels of the fitted photograph to pixels of the picture."""
        return about(self.ellipse.centre, 0.0, 1.0, 0.0, self.centre)


@dataclass(frozen=True)
class Paste:
    """Parts of one picture.

    Attributes:
        instance: which object.
        ellipse: where it is in its photograph, in pixels.
        background: the photograph it is pasted on.
        size: width and height of the picture.
        map: from pixels of the object's photograph to pixels of the picture.
        gain: factor on the object's brightness.
        cover: what hides a part of it, or None.
    """

    instance: int
    ellipse: Ellipse
    background: int
    size: tuple[int, int]
    map: Map
    gain: float
    cover: Cover | None


def draw_map(ellipse: Ellipse, unit: float, size: tuple[int, int], ranges: Ranges, rng: np.random.Generator) -> Map:
    """Draw how an object is turned, enlarged and sheared, and where it goes: nearly all of it is within the picture.

    Args:
        ellipse: the object in its photograph.
        unit: what a pixel of its photograph measures in the picture at a scale of 1.
        size: width and height of the picture.
        ranges: what is drawn from; the scale evenly in its logarithm.
        rng: source of all choices.
    """
    rotation, shear = (float(rng.uniform(-most, most)) for most in (ranges.rotation, ranges.shear))
    smallest, largest = ranges.scale
    scale = unit * smallest * float(largest / smallest) ** float(rng.uniform())
    half = reach(about(ellipse.centre, rotation, scale, shear, (0.0, 0.0)), ellipse)
    shrink = min(1.0, *(FITS * side / one for side, one in zip(size, half, strict=True)))
    margins = [INSIDE * shrink * one for one in half]
    x, y = (float(rng.uniform(margin, side - margin)) for margin, side in zip(margins, size, strict=True))
    return about(ellipse.centre, rotation, scale * shrink, shear, (x, y))


def draw_cover(
    map: Map,
    ellipse: Ellipse,
    size: tuple[int, int],
    photograph: int,
    fitted: tuple[int, int],
    rng: np.random.Generator,
) -> Cover:
    """Draw a patch that hides a part of an object, from a random direction.

    Args:
        map: of the object.
        ellipse: the object in its photograph.
        size: width and height of the picture.
        photograph: where the patch is from.
        fitted: width and height of that photograph, brought to the picture's size.
        rng: source of all choices.
    """
    size_of_disc = math.sqrt(abs(determinant(map)) * ellipse.radii[0] * ellipse.radii[1])
    radii = tuple(min(size_of_disc * float(rng.uniform(*COVER_SIZE)), FITS * side) for side in fitted)
    middle = tuple(float(rng.uniform(one, side - one)) for one, side in zip(radii, fitted, strict=True))
    direction, wanted = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(*HIDDEN))
    start = apply(map, ellipse.centre)
    points = np.stack(apply(map, tuple((disc(POINTS) * ellipse.radii + ellipse.centre).T)), axis=1)
    points = points[((points >= 0) & (points <= size)).all(axis=1)]
    near, far = 0.0, max(reach(map, ellipse)) + max(radii)

    def centre(distance: float) -> tuple[float, float]:
        return start[0] + distance * math.cos(direction), start[1] + distance * math.sin(direction)

    for _ in range(HALVINGS):
        half = (near + far) / 2
        out = (((points - centre(half)) / radii) ** 2).sum(axis=1)
        hides_more = np.count_nonzero(out < COVER_OPAQUE**2) > wanted * POINTS
        near, far = (half, far) if hides_more else (near, half)
    return Cover(photograph, Ellipse((middle[0], middle[1]), (radii[0], radii[1])), centre(far))


def visible(paste: Paste) -> Bool[np.ndarray, "h w"]:
    """The pixels where the object is not covered: a patch hides it where it is at least half opaque."""
    inside = radius(paste.map, paste.ellipse, paste.size) < 1
    if paste.cover is None:
        return inside
    return inside & ~(radius(paste.cover.map, paste.cover.ellipse, paste.size) < COVER_OPAQUE)


def extent(seen: Bool[np.ndarray, "h w"]) -> Corners:
    """The smallest box around the marked pixels, in pixels.

    Raises:
        ValueError: if none is marked.
    """
    if not seen.any():
        raise ValueError("nothing is visible, so there is no box around it")
    (top, bottom), (left, right) = (np.flatnonzero(seen.any(axis))[[0, -1]] for axis in (1, 0))
    return float(left), float(top), float(right + 1), float(bottom + 1)


def lay_object(picture: Image.Image, photograph: Image.Image, paste: Paste) -> None:
    """Paste the object on the picture."""
    thing = warped(photograph, corners_of(paste.ellipse), paste.map, paste.size)
    lit = thing.point([min(round(v * paste.gain), 255) for v in range(256)] * 3)
    picture.paste(lit, (0, 0), opacity(radius(paste.map, paste.ellipse, paste.size), EDGE))


def lay_cover(picture: Image.Image, photograph: Image.Image, cover: Cover) -> None:
    """Paste the patch on the picture."""
    patch = warped(photograph, corners_of(cover.ellipse), cover.map, picture.size)
    picture.paste(patch, (0, 0), opacity(radius(cover.map, cover.ellipse, picture.size), COVER_EDGE))


def opacity(out: Float[np.ndarray, "h w"], edge: float) -> Image.Image:
    """A mask that is opaque up to `edge` and fades to nothing at 1."""
    share = np.clip((1 - out) / (1 - edge), 0, 1)
    return Image.fromarray(np.rint(share * 255).astype(np.uint8))


def corners_of(ellipse: Ellipse) -> Corners:
    """The upright box around an ellipse."""
    (x, y), (rx, ry) = ellipse.centre, ellipse.radii
    return x - rx, y - ry, x + rx, y + ry


def fitted_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Width and height when the longest side is brought to `longest`."""
    factor = longest / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def fitted(picture: Image.Image, longest: int) -> Image.Image:
    """The picture resized so that its longer side has `longest` pixels."""
    return picture.resize(fitted_size(picture.size, longest), Image.Resampling.BICUBIC)
