"""From a picture to the normalised tensor that a backbone takes."""

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def to_pixels(
    image: Image.Image,
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    interpolation: str,
) -> Float[Tensor, "3 h w"]:
    """Squash an RGB picture to a size, keeping all of it and not its proportions, and normalise its channels.

    Boxes in fractions of the picture stay right. Shrinking averages over all pixels (Pillow's filters widen with the
    factor), so fine texture does not alias.

    Args:
        image: an RGB picture.
        size: (height, width) wanted.
        mean: per channel, of values in [0, 1].
        std: likewise.
        interpolation: "bilinear" or "bicubic".

    Raises:
        ValueError: if the interpolation is neither.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, not {interpolation!r}")
    squashed = image.resize((size[1], size[0]), INTERPOLATIONS[interpolation])
    values = torch.from_numpy(np.array(squashed)).permute(2, 0, 1).float().div_(255)
    return values.sub_(torch.tensor(mean)[:, None, None]).div_(torch.tensor(std)[:, None, None]).contiguous()
