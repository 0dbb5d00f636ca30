"""A frozen network read out as tokens: what transformers and convolutional networks share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seekloop.backbones.preprocessing import Preprocessing
from seekloop.backbones.weights.checkpoints import weights_hash
from seekloop.contracts.records import Tokens

FEATURES = ("tokens", "queries", "keys", "values")  # the last three in the order that timm's networks stack them
PatchMap = Float[Tensor, "b rows columns d"]
FeatureMaps = dict[str, PatchMap]


class Readout(nn.Module, ABC):
    """A network that is already there, frozen (`contracts.protocols.Backbone`); nothing is loaded here.

    Args:
        trunk: the network. It is changed: frozen.
        name: for people.
        words: what outputs depend on and weights do not show; goes into the hash.
        expects: size, normalisation and interpolation of its input.

    Attributes:
        dim: d of the tokens.
        patch: pixels of a token, (height, width).
        any_size: whether images of any multiple of `patch` are taken.
        text_space: the space of texts that the tokens live in; None where they are aligned with no text.
    """

    dim: int
    patch: tuple[int, int]
    any_size: bool
    text_space: str | None = None

    def __init__(self, trunk: nn.Module, name: str, words: Sequence[str], expects: Preprocessing) -> None:
        super().__init__()
        self.name, self.weights_hash = name, weights_hash(trunk, name, *words)
        self.image_size, self.mean, self.std = expects.image_size, expects.mean, expects.std
        self.interpolation = expects.interpolation
        self.trunk = trunk.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """Tokens in float32, whatever the precision of the network.

        Raises:
            ValueError: if the images are not of `image_size`.
        """
        if tuple(pixels.shape[-2:]) != self.image_size:
            raise ValueError(f"pixels are {tuple(pixels.shape[-2:])}; {self.name} is set up for {self.image_size}")
        return self.tokens(pixels)

    @abstractmethod
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """As `forward`, for images of any size that is a multiple of `patch`, where `any_size` says so."""

    @abstractmethod
    def block(self, features: Sequence[str], layer: int | None) -> int:
        """Number of the block that a layer means, counted from 0; negative layers count from the last, None is it.

        Raises:
            ConfigError: about `feature` or `layer`, if the network has no such features or block.
        """

    @abstractmethod
    def maps(self, pixels: Float[Tensor, "b 3 h w"], features: Sequence[str], block: int) -> FeatureMaps:
        """Map of each of these `FEATURES` of a block, in one pass, for images of any multiple of `patch`."""
