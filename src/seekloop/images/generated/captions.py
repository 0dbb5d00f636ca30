"""Captions of scenes: what words say about digits (class, colour, size, place), and which scenes show it.

A caption is a condition on one or two digits. It is right for every scene that shows such digits, whichever scene it
was drawn from.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from seekloop.images.generated.collage import extent
from seekloop.images.generated.scenes import Layer, Scenes, arrange, digit_split, paint, photographs, visible_masks

ATTRIBUTES = ("size", "colour", "digit", "row", "column")  # the order in which words name them
SIZE, COLOUR, DIGIT, ROW, COLUMN = range(len(ATTRIBUTES))
SIZES = ("small", "medium", "large")
COLOURS = ("white", "black", "red", "brown", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ROWS = ("top", "centre", "bottom")
COLUMNS = ("left", "centre", "right")
CENTRE = 1  # of a row or a column; a caption names the centre only where both are
ANY = -1  # in a condition: whatever it is; of a digit's colour: without a name
SIZE_LIMITS = (0.061, 0.23)  # share of the image's area, of the box of the visible part: medium from, large from
PLACE_LIMITS = (0.4, 0.6)  # share of height or width, of that box's centre: the centre lies between
GREY, COLOURED = 5.0, 7.0  # CIELAB chroma: white or black up to the first, a hue from the second
PALE, WHITE, BLACK = 55.0, 70.0, 40.0  # CIELAB lightness: pale from; white from; black up to
# Hue angles of CIELAB at which names end, in degrees, of pale and of dark colours. The last goes on with the first.
PALE_HUES = (
    (35, "pink"), (80, "orange"), (115, "yellow"), (165, "green"), (225, "cyan"), (300, "blue"), (330, "purple"),
    (360, "pink"),
)  # fmt: skip
DARK_HUES = ((40, "red"), (95, "brown"), (165, "green"), (225, "cyan"), (310, "blue"), (350, "purple"), (360, "red"))
MOST = 4  # digits of a scene
KINDS = {  # of captions: the attributes that they name, of one digit or of each of two
    "colour": ((COLOUR,),),
    "digit": ((DIGIT,),),
    "size, digit": ((SIZE, DIGIT),),
    "place, digit": ((DIGIT, ROW, COLUMN),),
    "colour, digit": ((COLOUR, DIGIT),),
    "size, colour, digit": ((SIZE, COLOUR, DIGIT),),
    "two digits": ((DIGIT,), (DIGIT,)),
    "two digits, sizes": ((SIZE, DIGIT), (SIZE, DIGIT)),
}
NAMES = (SIZES, COLOURS, DIGITS, ROWS, COLUMNS)
SAME = {  # words read as others; None: without a meaning of their own
    **{str(digit): name for digit, name in enumerate(DIGITS)},
    **dict.fromkeys(("tiny", "little"), "small"),
    **dict.fromkeys(("big", "huge"), "large"),
    **dict.fromkeys(("center", "middle"), "centre"),
    **{"upper": "top", "lower": "bottom", "turquoise": "cyan", "teal": "cyan", "violet": "purple"},
    **dict.fromkeys(("a", "an", "the", "digit", "number", "something", "in", "on", "at", "of", "side", "corner"), None),
}
WORDS = (*SIZES, *COLOURS, *DIGITS, *ROWS, "left", "right", "and")


def looks(picture: Image.Image, layers: Sequence[Layer]) -> tuple[Int[Tensor, "o 5"], Float[Tensor, "o 4"]]:
    """Look at the digits of a painted scene.

    Args:
        picture: the scene.
        layers: what was painted, from back to front.

    Returns:
        The `ATTRIBUTES` of every digit, from back to front, as positions among their names, and the boxes of the
        visible parts.
    """
    pixels = np.asarray(picture, dtype=np.float64)
    rows, boxes = [], []
    for layer, seen in zip(layers, visible_masks(layers), strict=True):
        if layer.label is None:
            continue
        x0, y0, x1, y1 = (side / len(seen) for side in extent(seen))
        size = int(np.searchsorted(SIZE_LIMITS, (x1 - x0) * (y1 - y0), side="right"))
        place = (int(np.searchsorted(PLACE_LIMITS, v, side="right")) for v in ((y0 + y1) / 2, (x0 + x1) / 2))
        name = colour_name(*pixels[seen].mean(axis=0).tolist())
        rows.append([size, ANY if name is None else COLOURS.index(name), layer.label, *place])
        boxes.append([x0, y0, x1, y1])
    return (
        torch.tensor(rows, dtype=torch.int64).reshape(-1, len(ATTRIBUTES)),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
    )


def looks_of(scenes: Scenes) -> Int[Tensor, "n 4 5"]:
    """The attributes of the digits of all scenes of a collection; where there are fewer than four, rows of `ANY`."""
    digits, found = digit_split("search"), torch.full((scenes.images, MOST, len(ATTRIBUTES)), ANY)
    for image in range(scenes.images):
        rng = scenes.rng(image)
        layers = arrange(digits, scenes.size, rng)
        attributes, _ = looks(paint(layers, photographs(), scenes.size, rng), layers)
        found[image, : len(attributes)] = attributes
    return found


def colour_name(red: float, green: float, blue: float) -> str | None:
    """Name a colour of sRGB, 0 to 255, by its CIELAB chroma, lightness and hue; None where no name is clear.

    Digits are pale or dark, never vivid: pale red is pink, dark orange is brown.

    Example:
        >>> colour_name(90, 20, 20), colour_name(240, 190, 190), colour_name(128, 128, 128)
        ('red', 'pink', None)
    """
    lightness, a, b = cielab(red, green, blue)
    chroma, hue = math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360
    if chroma <= GREY:
        return "white" if lightness >= WHITE else "black" if lightness <= BLACK else None
    if chroma < COLOURED:
        return None
    return next(name for end, name in (PALE_HUES if lightness >= PALE else DARK_HUES) if hue < end)


def cielab(red: float, green: float, blue: float) -> tuple[float, float, float]:
    """CIELAB of a colour of sRGB, 0 to 255, under the white D65 (IEC 61966-2-1; CIE 15)."""
    shares = [v / 255 for v in (red, green, blue)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in shares)
    x = (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047
    y = 0.2126729 * r + 0.7151522 * g + 0.0721750 * b
    z = (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883
    fx, fy, fz = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def shows(conditions: Int[Tensor, "*c 5"], attributes: Int[Tensor, "*o 5"]) -> Bool[Tensor, "..."]:
    """Whether each digit meets each condition: (o..., c...). A digit numbered `ANY` is none, and meets nothing."""
    seen = attributes[(..., *(None,) * (conditions.ndim - 1), slice(None))]
    return ((conditions == ANY) | (conditions == seen)).all(dim=-1) & (seen[..., DIGIT] != ANY)


def relevant(captions: Int[Tensor, "c 2 5"], attributes: Int[Tensor, "n o 5"]) -> Bool[Tensor, "n c"]:
    """Whether each scene shows the digits that each caption names.

    Args:
        captions: conditions on two digits; a second one that is `ANY` throughout is none.
        attributes: of the digits of each scene; where there are fewer, rows of `ANY`.
    """
    return shows(captions, attributes).any(dim=1).all(dim=-1)


def named(attributes: Int[Tensor, "k 5"], chosen: Bool[Tensor, "k 5"]) -> Int[Tensor, "k 5"]:
    """Conditions that name the chosen attributes of digits, as far as words can.

    A colour without a name is left out. A place is named by its row and its column where they are not the centre, and
    as the centre where both are and both are chosen.
    """
    middle = attributes[:, [ROW, COLUMN]] == CENTRE
    central = middle.all(dim=1) & chosen[:, [ROW, COLUMN]].all(dim=1)
    kept = torch.where(chosen, attributes, ANY)
    kept[:, [ROW, COLUMN]] = torch.where(middle & ~central[:, None], ANY, kept[:, [ROW, COLUMN]])
    return kept


def captions_of(kind: str, attributes: Int[Tensor, "n 4 5"], least: int) -> Int[Tensor, "c 2 5"]:
    """All captions of one of the `KINDS` that at least so many scenes show. Two digits are of different classes.

    Captions of a kind name all its attributes, but a place only as far as it is not the centre.
    """
    parts = [_conditions(attributes, of) for of in KINDS[kind]]
    if len(parts) == 1:
        drawn = torch.stack([parts[0], torch.full_like(parts[0], ANY)], dim=1)
    else:
        first, second = torch.cartesian_prod(*(torch.arange(len(part)) for part in parts)).unbind(dim=1)
        drawn = torch.stack([parts[0][first], parts[1][second]], dim=1)
        drawn = drawn[drawn[:, 0, DIGIT] < drawn[:, 1, DIGIT]]
    return drawn[relevant(drawn, attributes).sum(dim=0) >= least]


def _conditions(attributes: Int[Tensor, "n 4 5"], of: Sequence[int]) -> Int[Tensor, "c 5"]:
    """All different conditions that name these attributes of some digit."""
    there = attributes.flatten(0, 1)
    there = there[there[:, DIGIT] != ANY]
    chosen = torch.zeros(len(ATTRIBUTES), dtype=torch.bool)
    chosen[list(of)] = True
    conditions = named(there, chosen.expand(len(there), -1))
    said = conditions[:, [one for one in of if one not in (ROW, COLUMN)]]
    return torch.unique(conditions[(said != ANY).all(dim=1)], dim=0)


def sentence(caption: Int[Tensor, "2 5"]) -> str:
    """Words of a caption.

    Example:
        >>> sentence(torch.tensor([[0, 2, 7, 0, 0], [2, -1, 3, -1, -1]]))
        'a small red seven at the top left and a large three'
    """
    return " and ".join(phrase(condition.tolist()) for condition in caption if bool((condition != ANY).any()))


def phrase(condition: Sequence[int]) -> str:
    """Words of one condition."""
    size, colour, digit, row, column = (
        "" if value == ANY else names[value] for value, names in zip(condition, NAMES, strict=True)
    )
    noun = " ".join(word for word in (size, colour, digit or "digit") if word)
    place = " ".join(dict.fromkeys(word for word in (row, column) if word))
    preposition = "" if not place else "in the " if place == "centre" else "at the "
    article = "an" if noun[0] in "aeiou" and not noun.startswith("one") else "a"
    return f"{article} {noun} {preposition}{place}".strip()
