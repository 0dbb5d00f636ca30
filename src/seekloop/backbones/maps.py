"""Maps of an image, of whatever size the image asks for: patch tokens, or the queries, keys and values of a block."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seekloop.backbones.readout import FEATURES, FeatureMaps, Readout
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Backbone


class Maps(nn.Module):
    """A backbone read out as maps, at any size that is a multiple of its patches (or stride).

    Backbones bring all images to one size; region methods want maps as fine and as wide as the image is.

    Args:
        backbone: a transformer or convolutional network of ours.
        features: any of `tokens` (after the final norm), and the `queries`, `keys` and `values` of a block's attention,
            all heads side by side. Convolutional networks have tokens only.
        layer: block, counted from 0, negative from the last; None: the last. Tokens of an earlier block are normed too.
        any_size: whether images have sizes of their own; else all have the backbone's.

    Attributes:
        patch: pixels of a token, (height, width).

    Raises:
        ConfigError: about `backbone`, `feature` or `layer`, if the backbone does not take images of any size, or lacks
            a feature or the block.
    """

    def __init__(self, backbone: Backbone, features: Sequence[str], layer: int | None, any_size: bool = True) -> None:
        super().__init__()
        if not isinstance(backbone, Readout) or (any_size and not backbone.any_size):
            why = "it takes images of one size only, and detectors need each image's own"
            fix = "Choose a ViT of timm's VisionTransformer or Eva classes (DINO, DINOv2, DINOv3, SigLIP), or a CNN."
            if isinstance(backbone, Readout):
                fix = f"Use shape=backbone, which squashes all images to its size. {fix}"
            raise ConfigError("backbone", backbone.name, why, fix)
        for feature in features:
            if feature not in FEATURES:
                raise ConfigError("feature", feature, "it is unknown", f"Valid: {', '.join(FEATURES)}.")
        self.backbone, self.features, self.layer, self.any_size = backbone, tuple(features), layer, any_size
        self.block, self.patch = backbone.block(features, layer), backbone.patch
        self.name, self.weights_hash = backbone.name, backbone.weights_hash
        self.mean, self.std, self.interpolation = backbone.mean, backbone.std, backbone.interpolation

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> FeatureMaps:
        """Map of each feature, of some images of one size, in float32; one pass for all.

        Raises:
            ValueError: if the size is no multiple of `patch`.
        """
        if self.any_size and any(side % step for side, step in zip(pixels.shape[2:], self.patch, strict=True)):
            raise ValueError(f"pixels are {tuple(pixels.shape[2:])}, no multiple of {self.patch}")
        return self.backbone.maps(pixels, self.features, self.block)
