"""Heat map of one image for a search: which of its tokens score high, as a picture to lay over it."""

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from seekloop.contracts.protocols import Backbone
from seekloop.extraction.images import transform_of
from seekloop.loop.heat import token_scores
from seekloop.loop.session import Session

LONGEST = 512  # pixels along the larger side
OPAQUE = 190  # of 255, where the score is farthest from 0: the picture stays visible
ABOVE, BELOW = np.array([[214, 39, 40], [31, 78, 180]], np.uint8)


@torch.no_grad()
def heat(session: Session, backbone: Backbone, picture: Image.Image, image: int) -> Float[Tensor, "h w"]:
    """Decision value of every token of one image, by one forward pass.

    Args:
        session: the search.
        backbone: that described the collection.
        picture: the image's pixels.
        image: its position among the descriptors of the search.

    Raises:
        ConfigError: if the classifier knows whole images only.
        ValueError: if the backbone is another one.
    """
    pixels = transform_of(backbone)(picture)[None]
    weights = next(backbone.parameters(), None) if isinstance(backbone, nn.Module) else None
    tokens = backbone(pixels if weights is None else pixels.to(weights))
    return token_scores(session.loop, session.state, tokens, image)


def render(heat: Float[Tensor, "h w"], size: tuple[int, int]) -> bytes:
    """Draw a heat map as a PNG: red above 0, blue below, more opaque the farther from 0, transparent at 0.

    Args:
        heat: score of every token.
        size: width and height of the picture that it is laid over; its proportions are those of the PNG.
    """
    scale = LONGEST / max(size)
    width, height = (max(1, round(side * scale)) for side in size)
    values = heat.float().cpu().numpy()
    shares = values / max(float(np.abs(values).max()), np.finfo(np.float32).tiny)
    smooth = np.asarray(Image.fromarray(shares).resize((width, height), Image.Resampling.BICUBIC))
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., :3] = np.where(smooth[..., None] > 0, ABOVE, BELOW)
    pixels[..., 3] = np.rint(np.abs(smooth).clip(max=1) * OPAQUE)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
