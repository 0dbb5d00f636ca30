"""Shared by all backbones: the registers variant, and the input that a network expects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from seekloop.contracts.declared import Count
from seekloop.contracts.errors import ConfigError

Triple = tuple[float, float, float]
ImageSize: TypeAlias = Count | Sequence[Count] | None
Normalisation: TypeAlias = Mapping[str, Sequence[float]] | None


def choose(models: Mapping[str, str], registers: str) -> tuple[str, str]:
    """Choose the variant and the model of a backbone by its registers.

    `own` is the backbone's usual variant: without registers where there is such a one, else the first named.

    Raises:
        ConfigError: if the backbone has no such variant; the message lists those it has.

    Example:
        >>> choose({"none": "vit_a", "four": "vit_b"}, "own")
        ('none', 'vit_a')
    """
    usual = "none" if "none" in models else next(iter(models))
    wanted = usual if registers == "own" else registers
    if wanted not in models:
        fix = f"It has: own, {', '.join(models)}."
        raise ConfigError("registers", registers, "this backbone has no such variant", fix)
    return wanted, models[wanted]


@dataclass(frozen=True)
class Preprocessing:
    """Way of an image in [0, 1] to the network's input.

    Attributes:
        image_size: (height, width) that it is brought to.
        mean: subtracted, per channel.
        std: divided by, after that.
        interpolation: "bilinear" or "bicubic".
    """

    image_size: tuple[int, int]
    mean: Triple
    std: Triple
    interpolation: str


def preprocessing(
    pretrained: Any,  # noqa: ANN401 - timm's PretrainedCfg, untyped
    image_size: int | Sequence[int] | None,
    normalisation: Mapping[str, Sequence[float | int]] | None,
    multiple: tuple[int, int],
) -> Preprocessing:
    """Give the model's own preprocessing where nothing else was asked for.

    Args:
        pretrained: timm's record of the weights (`model.pretrained_cfg` as an object).
        image_size: side of a square, or (height, width); None is the size of the weights' training.
        normalisation: `mean` and `std`; None is the model's own.
        multiple: what height and width must be divisible by (patch size or stride).

    Raises:
        ConfigError: if the size does not fit; the message gives the nearest sizes that do.
    """
    given = {"mean": pretrained.mean, "std": pretrained.std} if normalisation is None else normalisation
    return Preprocessing(
        fitting_size(pretrained.input_size[-2:] if image_size is None else image_size, multiple),
        triple(given["mean"]),
        triple(given["std"]),
        "bilinear" if pretrained.interpolation == "bilinear" else "bicubic",
    )


def fitting_size(image_size: int | Sequence[int], multiple: tuple[int, int]) -> tuple[int, int]:
    """Give height and width, if both are multiples of what the network needs.

    Raises:
        ConfigError: if not; the message gives the nearest sizes that are.

    Example:
        >>> fitting_size([224, 280], (14, 14))
        (224, 280)
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2:
        raise ConfigError("image_size", list(sides), "it needs one number or two", "Give a side, or [height, width].")
    if any(side < step or side % step for side, step in zip(sides, multiple, strict=True)):
        below = [max(side // step, 1) * step for side, step in zip(sides, multiple, strict=True)]
        above = [b if side <= b else b + step for b, side, step in zip(below, sides, multiple, strict=True)]
        why = f"height and width must be multiples of {multiple[0]} and {multiple[1]} (patch size or stride)"
        choices = " or ".join(map(str, [below, above] if below != above else [below]))
        raise ConfigError("image_size", list(sides), why, f"Nearest that fit: {choices}.")
    return int(sides[0]), int(sides[1])


def triple(values: Sequence[float | int]) -> Triple:
    """Three numbers as floats."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
