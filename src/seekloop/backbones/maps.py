"""One map per image, of whatever size the image asks for: patch tokens, or what a block's attention compares."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seekloop.backbones.cnn import MapTokens
from seekloop.backbones.vit import PatchTokens
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Backbone

FEATURES = ("tokens", "queries", "keys", "values")  # the last three in the order that timm's networks stack them


class Maps(nn.Module):
    """A backbone read out as a map, at any size that is a multiple of its patches (or stride).

    Backbones bring all images to one size; region methods want maps as fine and as wide as the image is.

    Args:
        backbone: a transformer or convolutional network of ours.
        feature: `tokens` (after the final norm), or the `keys`, `queries` or `values` of a block's attention, all heads
            side by side. Convolutional networks have tokens only.
        layer: block, counted from 0, negative from the last; None: the last. Tokens of an earlier block are normed too.

    Attributes:
        patch: pixels of a token, (height, width).

    Raises:
        ConfigError: if the backbone does not take images of any size, or lacks the feature or the block.
    """

    def __init__(self, backbone: Backbone, feature: str, layer: int | None) -> None:
        super().__init__()
        self.backbone = _flexible(backbone)
        if feature not in FEATURES:
            raise ConfigError("regions.feature", feature, "it is unknown", f"Valid: {', '.join(FEATURES)}.")
        self.feature, self.layer = feature, layer
        self.block = self._block() if isinstance(self.backbone, PatchTokens) else None
        if self.block is None and (feature != "tokens" or layer is not None):
            key, value = ("feature", feature) if feature != "tokens" else ("layer", layer)
            why = f"{backbone.name} is a convolutional network"
            raise ConfigError(f"regions.{key}", value, why, "Use feature=tokens and layer=null; see backbone.layer.")
        self.patch = self._patch()
        self.name, self.weights_hash = backbone.name, backbone.weights_hash
        self.mean, self.std, self.interpolation = backbone.mean, backbone.std, backbone.interpolation

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b rows columns d"]:
        """The maps of some images of one size, in float32.

        Raises:
            ValueError: if the size is no multiple of `patch`.
        """
        rows, columns = (side // step for side, step in zip(pixels.shape[2:], self.patch, strict=True))
        if (rows * self.patch[0], columns * self.patch[1]) != tuple(pixels.shape[2:]):
            raise ValueError(f"pixels are {tuple(pixels.shape[2:])}, no multiple of {self.patch}")
        if self.feature == "tokens" and self.layer is None:
            return self.backbone.tokens(pixels).patches
        network: Any = self.backbone.trunk  # whose attributes no type knows
        pixels = pixels.to(next(network.parameters()).dtype)
        if self.feature == "tokens":
            (found,) = network.forward_intermediates(
                pixels, indices=[self.block], norm=True, intermediates_only=True, output_fmt="NLC"
            )
        else:
            found = self._compared(network, pixels)[:, network.num_prefix_tokens :]
        return found.float().reshape(len(pixels), rows, columns, -1)

    def _compared(self, network: Any, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t d"]:  # noqa: ANN401
        """What the block's attention compares, caught on its way through."""
        attention = network.blocks[self.block].attn
        stacked = getattr(attention, "qkv", None)
        layer = stacked if stacked is not None else getattr(attention, f"{self.feature[0]}_proj", None)
        caught: list[Tensor] = []
        handle = None if layer is None else layer.register_forward_hook(lambda _, __, output: caught.append(output))
        try:
            network.forward_features(pixels)
        finally:
            if handle is not None:
                handle.remove()
        if not caught:
            why = f"the attention of {self.name} does not show its {self.feature}"
            raise ConfigError("regions.feature", self.feature, why, "Use regions.feature=tokens.")
        place = FEATURES.index(self.feature) - 1
        return caught[0] if stacked is None else caught[0].chunk(3, dim=-1)[place]

    def _block(self) -> int:
        network: Any = self.backbone.trunk
        blocks = len(network.blocks)
        asked = blocks - 1 if self.layer is None else self.layer
        if not -blocks <= asked < blocks:
            why = f"{self.backbone.name} has blocks 0 to {blocks - 1}"
            raise ConfigError("regions.layer", self.layer, why, "Count from 0, or from the last with -1, -2, ...")
        return asked % blocks

    def _patch(self) -> tuple[int, int]:
        if isinstance(self.backbone, PatchTokens):
            return self.backbone.patch
        height, width = self.backbone.image_size
        _, rows, columns, _ = self.backbone.tokens(torch.zeros(1, 3, height, width)).patches.shape
        return height // rows, width // columns


def _flexible(backbone: Backbone) -> PatchTokens | MapTokens:
    if isinstance(backbone, MapTokens) or (isinstance(backbone, PatchTokens) and backbone.any_size):
        return backbone
    raise ConfigError(
        "regions.backbone",
        backbone.name,
        "it takes images of one size only, and regions are found at each image's own",
        "Choose a ViT of timm's VisionTransformer or Eva classes (DINO, DINOv2, DINOv3, SigLIP), or a CNN.",
    )
