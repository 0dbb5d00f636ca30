"""What a network expects of its input: size, normalisation, interpolation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seekloop.contracts.errors import ConfigError

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How an image in [0, 1] becomes input.

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
    """The model's own preprocessing where nothing else was asked for.

    Args:
        pretrained: timm's record of the weights (`model.pretrained_cfg` as an object).
        image_size: side of a square, or (height, width); None is the size of the weights' training.
        normalisation: `mean` and `std`; None is the model's own.
        multiple: what height and width must be divisible by (patch size or stride).
    """
    given = {"mean": pretrained.mean, "std": pretrained.std} if normalisation is None else normalisation
    return Preprocessing(
        fitting_size(pretrained.input_size[-2:] if image_size is None else image_size, multiple),
        _triple(given["mean"]),
        _triple(given["std"]),
        "bilinear" if pretrained.interpolation == "bilinear" else "bicubic",
    )


def fitting_size(image_size: int | Sequence[int], multiple: tuple[int, int]) -> tuple[int, int]:
    """Height and width, if both are multiples of what the network needs.

    Raises:
        ConfigError: if not; the message gives the nearest sizes that are.

    Example:
        >>> fitting_size([224, 280], (14, 14))
        (224, 280)
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2:
        raise ConfigError(
            "backbone.image_size", sides, "it needs one number or two", "Give a side, or [height, width]."
        )
    if any(side < step or side % step for side, step in zip(sides, multiple, strict=True)):
        near = [_nearest(side, step) for side, step in zip(sides, multiple, strict=True)]
        choices = " or ".join(dict.fromkeys(f"[{height}, {width}]" for height, width in zip(*near, strict=True)))
        raise ConfigError(
            "backbone.image_size",
            list(sides),
            f"height and width must be multiples of {multiple[0]} and {multiple[1]} (patch size or stride)",
            f"Nearest that fit: {choices}.",
        )
    return int(sides[0]), int(sides[1])


def _nearest(side: int, step: int) -> tuple[int, int]:
    """The multiples of `step` just below (or at) and just above (or at) `side`, at least one step."""
    below = max(side // step, 1) * step
    return below, below if side <= below else below + step


def _triple(values: Sequence[float | int]) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
