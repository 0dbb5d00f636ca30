"""Affine maps and the ellipses they warp, in pixels counted from an image's left and top edge.

A map is ((a, b, c), (d, e, f)): (x, y) goes to (a x + b y + c, d x + e y + f). The middle of the first pixel is
(0.5, 0.5).
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from PIL import Image

Row = tuple[float, float, float]
Map = tuple[Row, Row]
Point = tuple[float, float]
Corners = tuple[float, float, float, float]


Number = TypeVar("Number", float, np.ndarray)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse with upright axes: its centre, and half its width and height."""

    centre: Point
    radii: Point


def inscribed(corners: Corners) -> Ellipse:
    """The ellipse that touches all four sides of a box."""
    x0, y0, x1, y1 = corners
    return Ellipse(((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2))


def about(centre: Point, rotation: float, scale: float, shear: float, target: Point) -> Map:
    r"""Shear along x, enlarge, turn, and bring `centre` to `target`; nothing is mirrored.

    .. math:: A = s \begin{pmatrix} \cos\theta & -\sin\theta \\ \sin\theta & \cos\theta \end{pmatrix}
              \begin{pmatrix} 1 & k \\ 0 & 1 \end{pmatrix}

    Args:
        centre: what goes to `target`.
        rotation: in degrees; positive is clockwise as one sees it, since y points down.
        scale: the factor s.
        shear: the factor k: what is one lower moves that much to the right.
        target: where `centre` goes.
    """
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    a, b, d, e = scale * cos, scale * (cos * shear - sin), scale * sin, scale * (sin * shear + cos)
    x, y = centre
    return (a, b, target[0] - a * x - b * y), (d, e, target[1] - d * x - e * y)


def apply(map: Map, point: tuple[Number, Number]) -> tuple[Number, Number]:
    """Map a point, or many."""
    (a, b, c), (d, e, f) = map
    x, y = point
    return a * x + b * y + c, d * x + e * y + f


def inverse(map: Map) -> Map:
    """Invert a map.

    Raises:
        ValueError: if there is none, because the map flattens the plane.
    """
    (a, b, c), (d, e, f) = map
    area = determinant(map)
    if area == 0:
        raise ValueError("a map that flattens the plane has no inverse")
    back = (e / area, -b / area), (-d / area, a / area)
    first, second = ((p, q, -p * c - q * f) for p, q in back)
    return first, second


def determinant(map: Map) -> float:
    """Factor by which areas grow; negative if the map mirrors."""
    (a, b, _), (d, e, _) = map
    return a * e - b * d


def reach(map: Map, ellipse: Ellipse) -> Point:
    """Half the width and height of the upright box around the warped ellipse."""
    (a, b, _), (d, e, _) = map
    rx, ry = ellipse.radii
    return math.hypot(a * rx, b * ry), math.hypot(d * rx, e * ry)


def radius(map: Map, ellipse: Ellipse, size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Distance of every pixel's middle from that of the warped ellipse: 1 on the outline, in any direction.

    Args:
        map: from where the ellipse is to where the pixels are.
        ellipse: what is warped.
        size: width and height of the picture.
    """
    (a, b, c), (d, e, f) = inverse(map)
    (cx, cy), (rx, ry) = ellipse.centre, ellipse.radii
    x, y = np.arange(size[0])[None, :] + 0.5, np.arange(size[1])[:, None] + 0.5
    across = (a * x + (c - cx)) / rx + b * y / rx
    down = (d * x + (f - cy)) / ry + e * y / ry
    return np.sqrt(across * across + down * down)


def disc(points: int) -> Float[np.ndarray, "{points} 2"]:
    """Points spread evenly over the disc of radius 1: a spiral whose steps are the golden angle."""
    number = np.arange(points)
    out, turn = np.sqrt((number + 0.5) / points), number * math.pi * (3 - math.sqrt(5))
    return np.stack([out * np.cos(turn), out * np.sin(turn)], axis=1)


def warped(picture: Image.Image, corners: Corners, map: Map, size: tuple[int, int]) -> Image.Image:
    """Warp the part of a picture inside a box; black where it does not reach.

    The part is first brought to about its final size with a filter that looks at every pixel, then moved.

    Args:
        picture: the source.
        corners: the box, in pixels of the source.
        map: from pixels of the source to pixels of the result.
        size: width and height of the result.
    """
    x0, y0, x1, y1 = corners
    scale = math.sqrt(abs(determinant(map)))
    width, height = (max(1, round(scale * side)) for side in (x1 - x0, y1 - y0))
    part = picture.resize((width, height), Image.Resampling.BICUBIC, box=corners)
    (a, b, c), (d, e, f) = inverse(map)
    wide, high = width / (x1 - x0), height / (y1 - y0)
    back = (a * wide, b * wide, (c - x0) * wide, d * high, e * high, (f - y0) * high)
    return part.transform(size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
