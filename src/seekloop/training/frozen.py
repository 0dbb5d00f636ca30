"""A linear head on what a frozen backbone of the loop gives: active learning on features that are computed once."""

import hashlib
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Network
from seekloop.contracts.protocols import Backbone
from seekloop.contracts.records import Tokens
from seekloop.training.networks import Triple, drawn_from

TOKENS = ("auto", "cls", "mean", "both")
MOST = 2**18  # images whose features are remembered


class Frozen:
    """Builds linear heads on a backbone. Its networks share the backbone, and the features already computed.

    Args:
        backbone: of the loop (`conf/backbone/`).
        tokens: what of its tokens is the feature: the class token `cls`, the `mean` of the patches, `both` one after
            the other, or `auto`: the class token where there is one, else the mean.

    Raises:
        ConfigError: if there is no such choice, or the backbone has no class token.
    """

    def __init__(self, backbone: Backbone, tokens: str) -> None:
        if tokens not in TOKENS:
            raise ConfigError("model.tokens", tokens, "there is no such choice", f"Choose: {', '.join(TOKENS)}.")
        self.backbone, self.tokens = backbone, tokens
        self.name = f"frozen:{backbone.name}"
        self.mean: Triple | None = backbone.mean
        self.std: Triple | None = backbone.std
        self.memory = Memory({})

    def settings(self) -> dict[str, object]:
        """For recipes."""
        return {"backbone": self.backbone, "tokens": self.tokens}

    def build(self, classes: int, seed: int) -> Network:
        """A fresh head."""
        with drawn_from(seed):
            return FrozenNetwork(self.backbone, self.tokens, classes, self.memory)


@dataclass(frozen=True)
class Memory:
    """Features by the content of their images.

    Attributes:
        features: by hash.
    """

    features: dict[bytes, Tensor] = field(repr=False)

    def missing(self, keys: list[bytes]) -> list[int]:
        """Which of these images' features are not there; of equal images the first."""
        first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in self.features}
        return sorted(first.values())

    def keep(self, key: bytes, feature: Float[Tensor, " d"]) -> None:
        """Remember one more; the oldest goes where there are too many, such as of images moved at random."""
        if len(self.features) >= MOST:
            self.features.pop(next(iter(self.features)))
        self.features[key] = feature


class FrozenNetwork(Network):
    """Features of a backbone that does not learn, of unit length, under a linear head that does.

    The backbone is no part of the module: it is not saved with it, and follows the images to their device.

    Args:
        backbone: as in `Frozen`.
        tokens: as in `Frozen`.
        classes: outputs of the head.
        memory: of features.
    """

    def __init__(self, backbone: Backbone, tokens: str, classes: int, memory: Memory) -> None:
        super().__init__()
        self.frozen = True
        self._apart = (backbone,)  # in a tuple, where nn.Module does not find it
        self.tokens, self.memory = tokens, memory
        self.dim = backbone.dim * (2 if tokens == "both" else 1)
        self.head = nn.Linear(self.dim, classes)

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Unit vectors, computed in float32 for images not seen before, and remembered.

        Pixels are normalised as the backbone expects (`networks.seen_by`).
        """
        keys = [hashlib.blake2b(row, digest_size=16).digest() for row in _plain(pixels)]
        missing = self.memory.missing(keys)
        if missing:
            fresh = dict(zip((keys[place] for place in missing), self._computed(pixels[missing]), strict=True))
        else:
            fresh = {}
        found = torch.stack([fresh[key] if key in fresh else self.memory.features[key] for key in keys])
        for key, feature in fresh.items():
            self.memory.keep(key, feature)
        return found.to(pixels.device)

    def _computed(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        backbone = self._apart[0]
        if isinstance(backbone, nn.Module):
            backbone.to(pixels.device)
        # Remembered features serve training too, so they may not be inference tensors, whoever asks first.
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            tokens = backbone(self._resized(pixels.float().clone()))
            return F.normalize(taken(tokens, self.tokens), dim=1).cpu()

    def _resized(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 _ _"]:
        backbone = self._apart[0]
        if tuple(pixels.shape[-2:]) == tuple(backbone.image_size):
            return pixels
        return F.interpolate(
            pixels, backbone.image_size, mode=backbone.interpolation, antialias=True, align_corners=False
        )


def taken(tokens: Tokens, choice: str) -> Float[Tensor, "b d"]:
    """The part of the tokens that is the feature.

    Raises:
        ConfigError: if it needs a class token, and the backbone has none.
    """
    mean = tokens.patches.float().mean(dim=(1, 2))
    if choice == "mean" or (choice == "auto" and tokens.cls is None):
        return mean
    if tokens.cls is None:
        raise ConfigError("model.tokens", choice, "this backbone has no class token", "Use model.tokens=mean.")
    cls = tokens.cls.float()
    return torch.cat([F.normalize(cls, dim=1), F.normalize(mean, dim=1)], dim=1) if choice == "both" else cls


def _plain(pixels: Float[Tensor, "b 3 h w"]) -> list[bytes]:
    return [row.tobytes() for row in pixels.detach().float().cpu().numpy()]
