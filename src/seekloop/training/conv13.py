"""Network of 13 layers, the usual one for semi-supervised learning on small images."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from seekloop.contracts.declared import component
from seekloop.contracts.learning import Network
from seekloop.training.networks import drawn_from, entrance

Divisor = Literal[1, 2, 4, 8, 16, 32, 64, 128]  # of the 128 channels of the narrowest layers


@component
class Conv13:
    """Source of 13-layer networks.

    Args:
        divisor: all channels are divided by it; 1 is the published network.
        dropout: share of the values set to 0 after each of the two max-poolings, in training.
        sobel: whether the network sees edges instead of colours.

    Raises:
        ConfigError: if an argument is out of its range.
    """

    divisor: Divisor = 1
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    sobel: bool = False
    name = "conv13"
    mean = std = None

    def build(self, classes: int, seed: int) -> Network:
        """Build a fresh network."""
        with drawn_from(seed):
            return Conv13Network(classes, self.divisor, self.dropout, self.sobel)


class Conv13Network(Network):
    """Three blocks of three convolutions; features are the means of the last maps, of unit length.

    Every convolution has its weights normalised, and is followed by batch normalisation and a leaky ReLU of slope 0.1;
    so has the head, which is followed by nothing. Images of 32 pixels are meant: the last 3x3 convolution is not
    padded, and leaves maps of 6x6.

    Args:
        classes: outputs of the head.
        divisor: as in `Conv13`.
        dropout: as in `Conv13`.
        sobel: as in `Conv13`.

    Reference:
        Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017, appendix B.1; without its noise.
    """

    def __init__(self, classes: int, divisor: int, dropout: float, sobel: bool) -> None:
        super().__init__()
        self.frozen = False
        self.entrance, channels = entrance(sobel)
        narrow, middle, wide = (width // divisor for width in (128, 256, 512))
        self.dim = narrow
        self.blocks = nn.Sequential(
            *_convolutions(channels, (narrow,) * 3, (3, 3, 3), (1, 1, 1)),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            *_convolutions(narrow, (middle,) * 3, (3, 3, 3), (1, 1, 1)),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            *_convolutions(middle, (wide, middle, narrow), (3, 1, 1), (0, 0, 0)),
        )
        self.head = weight_norm(nn.Linear(self.dim, classes))

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Means of the last maps, of unit length."""
        maps = self.blocks(self.entrance(pixels))
        return F.normalize(maps.mean(dim=(2, 3)), dim=1)


def _convolutions(
    channels: int, widths: Sequence[int], sides: Sequence[int], paddings: Sequence[int]
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width, side, padding in zip(widths, sides, paddings, strict=True):
        convolution = weight_norm(nn.Conv2d(channels, width, side, padding=padding))
        layers += [convolution, nn.BatchNorm2d(width), nn.LeakyReLU(0.1)]
        channels = width
    return layers
