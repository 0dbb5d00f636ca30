"""Maps of an image, of whatever size the image asks for: patch tokens, or what a block's attention compares."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from seekloop.backbones.cnn import MapTokens
from seekloop.backbones.vit import PatchTokens
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Backbone

FEATURES = ("tokens", "queries", "keys", "values")  # the last three in the order that timm's networks stack them


class Maps(nn.Module):
    """A backbone read out as maps, at any size that is a multiple of its patches (or stride).

    Backbones bring all images to one size; region methods want maps as fine and as wide as the image is.

    Args:
        backbone: a transformer or convolutional network of ours.
        features: any of `tokens` (after the final norm), and the `queries`, `keys` and `values` of a block's attention,
            all heads side by side. Convolutional networks have tokens only.
        layer: block, counted from 0, negative from the last; None: the last. Tokens of an earlier block are normed too.

    Attributes:
        patch: pixels of a token, (height, width).

    Raises:
        ConfigError: if the backbone does not take images of any size, or lacks a feature or the block.
    """

    def __init__(self, backbone: Backbone, features: Sequence[str], layer: int | None) -> None:
        super().__init__()
        self.backbone = _flexible(backbone)
        for feature in features:
            if feature not in FEATURES:
                raise ConfigError("regions.feature", feature, "it is unknown", f"Valid: {', '.join(FEATURES)}.")
        self.features, self.layer = tuple(features), layer
        if isinstance(self.backbone, MapTokens):
            self._refuse_blocks()
        self.block = self._block() if isinstance(self.backbone, PatchTokens) else None
        self.patch = self._patch()
        self.name, self.weights_hash = backbone.name, backbone.weights_hash
        self.mean, self.std, self.interpolation = backbone.mean, backbone.std, backbone.interpolation

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b rows columns d"]]:
        """The map of each feature, of some images of one size, in float32; one pass for all.

        Raises:
            ValueError: if the size is no multiple of `patch`.
        """
        rows, columns = (side // step for side, step in zip(pixels.shape[2:], self.patch, strict=True))
        if (rows * self.patch[0], columns * self.patch[1]) != tuple(pixels.shape[2:]):
            raise ValueError(f"pixels are {tuple(pixels.shape[2:])}, no multiple of {self.patch}")
        if isinstance(self.backbone, MapTokens):
            return {"tokens": self.backbone.tokens(pixels).patches}
        sequences = self._sequences(self.backbone, pixels)
        prefix = self.backbone.prefix
        return {
            name: found.float()[:, prefix:].reshape(len(found), rows, columns, -1) for name, found in sequences.items()
        }

    def _sequences(self, vit: PatchTokens, pixels: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b t d"]]:
        """Every feature's whole sequence, caught on its way through the network."""
        network: Any = vit.trunk  # whose attributes no type knows
        block = network.blocks[self.block]
        caught: dict[str, Tensor] = {}
        watched = {"block": block, "qkv": getattr(block.attn, "qkv", None)}
        watched |= {name: getattr(block.attn, f"{name[0]}_proj", None) for name in FEATURES[1:]}
        handles = [_watch(module, name, caught) for name, module in watched.items() if module is not None]
        try:
            last = vit.normed(pixels)
        finally:
            for handle in handles:
                handle.remove()
        if "qkv" in caught:
            caught |= dict(zip(FEATURES[1:], caught["qkv"].chunk(3, dim=-1), strict=True))
        caught["tokens"] = last if block is network.blocks[-1] else vit.late_norm(network.norm(caught["block"]))
        for feature in self.features:
            if feature not in caught:
                why = f"the attention of {self.name} does not show its {feature}"
                raise ConfigError("regions.feature", feature, why, "Use regions.feature=tokens.")
        return {feature: caught[feature] for feature in self.features}

    def _refuse_blocks(self) -> None:
        """A convolutional network has no attention."""
        other = next((feature for feature in self.features if feature != "tokens"), None)
        if other is None and self.layer is None:
            return
        key, value = ("layer", self.layer) if other is None else ("feature", other)
        why = f"{self.backbone.name} is a convolutional network"
        raise ConfigError(f"regions.{key}", value, why, "Use feature=tokens and layer=null; see backbone.layer.")

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


def _watch(module: nn.Module, name: str, caught: dict[str, Tensor]) -> RemovableHandle:
    """Keep what a module gives, under a name."""
    return module.register_forward_hook(lambda _module, _inputs, output: caught.update({name: output}))


def _flexible(backbone: Backbone) -> PatchTokens | MapTokens:
    if isinstance(backbone, MapTokens) or (isinstance(backbone, PatchTokens) and backbone.any_size):
        return backbone
    raise ConfigError(
        "regions.backbone",
        backbone.name,
        "it takes images of one size only, and regions are found at each image's own",
        "Choose a ViT of timm's VisionTransformer or Eva classes (DINO, DINOv2, DINOv3, SigLIP), or a CNN.",
    )
