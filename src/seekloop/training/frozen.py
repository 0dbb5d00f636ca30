"""Linear heads on a frozen backbone: active learning on features that are computed once."""

import hashlib
from dataclasses import field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.contracts.declared import component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Network, Triple
from seekloop.contracts.protocols import Backbone
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.contracts.records import Tokens
from seekloop.training.networks import drawn_from, resized

MOST = 2**18  # images whose features are remembered


@component
class Frozen:
    """Source of linear heads on a backbone. Its networks share the backbone, and the features already computed.

    Args:
        backbone: of the loop (`conf/backbone/`).
        tokens: the part of its tokens that is the feature: the class token `cls`, the `mean` of the patches, `both` one
            after the other, or `auto`: the class token where there is one, else the mean.

    Attributes:
        memory: features by the hash of their image.

    Raises:
        ConfigError: if there is no such choice; when features are taken, if the backbone has no class token.
    """

    backbone: Backbone
    tokens: Literal["auto", "cls", "mean", "both"] = "auto"
    memory: dict[bytes, Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False, metadata=NOT_IN_RECIPE
    )

    @property
    def name(self) -> str:
        """For people."""
        return f"frozen:{self.backbone.name}"

    @property
    def mean(self) -> Triple | None:
        """Mean of the images that the backbone was trained on."""
        return self.backbone.mean

    @property
    def std(self) -> Triple | None:
        """Deviation of the images that the backbone was trained on."""
        return self.backbone.std

    def build(self, classes: int, seed: int) -> Network:
        """Build a fresh head."""
        with drawn_from(seed):
            return FrozenNetwork(self, classes)

    def feature(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """Take the part of the tokens that is the feature."""
        mean = tokens.patches.float().mean(dim=(1, 2))
        if self.tokens == "mean" or (self.tokens == "auto" and tokens.cls is None):
            return mean
        if tokens.cls is None:
            raise ConfigError("tokens", self.tokens, "this backbone has no class token", "Use tokens=mean.", self)
        cls = tokens.cls.float()
        return torch.cat([F.normalize(cls, dim=1), F.normalize(mean, dim=1)], dim=1) if self.tokens == "both" else cls


class FrozenNetwork(Network):
    """Features of a backbone that does not learn, of unit length, under a linear head that does.

    The backbone is no part of the module: it is not saved with it, and follows the images to their device.

    Args:
        source: with the backbone and the features already computed.
        classes: outputs of the head.
    """

    def __init__(self, source: Frozen, classes: int) -> None:
        super().__init__()
        self.frozen, self.source = True, source
        self.dim = source.backbone.dim * (2 if source.tokens == "both" else 1)
        self.head = nn.Linear(self.dim, classes)

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Unit vectors, computed in float32 for images not seen before, and remembered by content.

        Pixels are normalised as the backbone expects (`networks.seen_by`). Where too many are remembered, such as of
        images moved at random, the oldest go.
        """
        memory = self.source.memory
        keys = [hashlib.blake2b(row, digest_size=16).digest() for row in pixels.detach().float().cpu().numpy()]
        missing = {key: position for position, key in reversed(list(enumerate(keys))) if key not in memory}
        new = sorted(missing.values())  # of equal images the first
        fresh = dict(zip((keys[position] for position in new), self._computed(pixels[new]) if new else [], strict=True))
        features = torch.stack([fresh[key] if key in fresh else memory[key] for key in keys])
        for key, feature in fresh.items():
            if len(memory) >= MOST:
                del memory[next(iter(memory))]
            memory[key] = feature
        return features.to(pixels.device)

    def _computed(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        backbone: Any = self.source.backbone  # a module, says the protocol
        backbone.to(pixels.device)
        # Remembered features serve training too, so they may not be inference tensors, whoever asks first.
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            tokens = backbone(resized(pixels.float().clone(), backbone.image_size, backbone.interpolation))
            return F.normalize(self.source.feature(tokens), dim=1).cpu()
